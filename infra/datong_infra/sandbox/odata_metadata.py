"""$metadata and the service document of an OData v2 service, as SAP Gateway writes them (EDMX 1.0, CSDL 2.0)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from xml.sax.saxutils import quoteattr

from datong_infra.sandbox.model import ENTITY_SETS, SERVICES, EntitySet, Field


def _label(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ")


def _property(entity: EntitySet, field: Field, retyped: frozenset[str]) -> str:
    edm = "Edm.String" if field.name in retyped else field.edm
    parts = [f"<Property Name={quoteattr(field.name)} Type={quoteattr(edm)}"]
    if field.name in entity.keys:
        parts.append('Nullable="false"')
    if edm == "Edm.String":
        parts.append(f'MaxLength="{field.length or 40}"')
    elif field.kind == "N":
        parts.append(f'Precision="{field.length}" Scale="{field.scale}"')
    elif field.kind in "DO":
        parts.append(f'Precision="{0 if field.kind == "D" else 7}"')
    elif field.kind == "T":
        parts.append('Precision="0"')
    if field.kind == "D":
        parts.append('sap:display-format="Date"')
    elif edm == "Edm.String" and field.length <= 20:
        parts.append('sap:display-format="UpperCase"')
    unit = _unit_of(entity, field)
    if unit:
        parts.append(f"sap:unit={quoteattr(unit)}")
    if entity.etag == field.name:
        parts.append('ConcurrencyMode="Fixed"')
    creatable = str(entity.creatable or any(e.creatable for e in SERVICES[entity.service])).lower()
    parts.append(f"sap:label={quoteattr(_label(field.name))}")
    parts.append(f'sap:creatable="{creatable}" sap:updatable="{str(field.name in entity.updatable).lower()}"')
    return " ".join(parts) + "/>"


def _unit_of(entity: EntitySet, field: Field) -> str:
    if field.kind != "N":
        return ""
    wanted = ("Currency",) if "Amount" in field.name or "Price" in field.name else ("Unit",)
    if field.name == "PriceUnitQty":
        return ""
    return next((n for n in entity.fields if n.endswith(wanted)), "")


def _entity_type(entity: EntitySet, retyped: frozenset[str]) -> str:
    keys = "".join(f'<PropertyRef Name="{k}"/>' for k in entity.keys)
    properties = "".join(_property(entity, f, retyped) for f in entity.fields.values())
    if entity.delta:
        properties += (
            '<Property Name="ODQ_CHANGEMODE" Type="Edm.String" MaxLength="1" sap:label="Change Mode"'
            ' sap:creatable="false" sap:updatable="false" sap:filterable="false" sap:sortable="false"/>'
        )
    navigations = "".join(
        f'<NavigationProperty Name="{n.name}" Relationship="{entity.service}.{_association(entity, n.name)}"'
        f' FromRole="FromRole" ToRole="ToRole"/>'
        for n in entity.navigations
    )
    return (
        f'<EntityType Name="{entity.type_name}" sap:label="{_label(entity.name)}" sap:content-version="1">'
        f"<Key>{keys}</Key>{properties}{navigations}</EntityType>"
    )


def _association(entity: EntitySet, navigation: str) -> str:
    return f"assoc_{entity.name}_{navigation}"


@cache
def _metadata(service: str, retyped: frozenset[tuple[str, str]]) -> bytes:
    entities = SERVICES[service]
    types: list[str] = []
    associations: list[str] = []
    sets: list[str] = []
    links: list[str] = []
    for entity in entities:
        changed = frozenset(field for name, field in retyped if name == entity.name)
        types.append(_entity_type(entity, changed))
        sets.append(
            f'<EntitySet Name="{entity.name}" EntityType="{service}.{entity.type_name}"'
            f' sap:creatable="{str(entity.creatable).lower()}" sap:updatable="{str(bool(entity.updatable)).lower()}"'
            f' sap:deletable="false"{" sap:change-tracking=" + chr(34) + "true" + chr(34) if entity.delta else ""}'
            f' sap:content-version="1"/>'
        )
        for navigation in entity.navigations:
            name, target = _association(entity, navigation.name), ENTITY_SETS[navigation.target]
            many = "*" if navigation.many else "1"
            associations.append(
                f'<Association Name="{name}" sap:content-version="1">'
                f'<End Type="{service}.{entity.type_name}" Multiplicity="{"1" if navigation.many else "*"}"'
                f' Role="FromRole"/>'
                f'<End Type="{service}.{target.type_name}" Multiplicity="{many}" Role="ToRole"/></Association>'
            )
            links.append(
                f'<AssociationSet Name="{name}Set" Association="{service}.{name}" sap:creatable="false"'
                f' sap:updatable="false" sap:deletable="false" sap:content-version="1">'
                f'<End EntitySet="{entity.name}" Role="FromRole"/><End EntitySet="{target.name}" Role="ToRole"/>'
                f"</AssociationSet>"
            )
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx"'
        ' xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"'
        ' xmlns:sap="http://www.sap.com/Protocols/SAPData">'
        '<edmx:DataServices m:DataServiceVersion="2.0">'
        f'<Schema Namespace="{service}" xml:lang="en" sap:schema-version="1"'
        ' xmlns="http://schemas.microsoft.com/ado/2008/09/edm">'
        + "".join(types)
        + "".join(associations)
        + f'<EntityContainer Name="{service}_Entities" m:IsDefaultEntityContainer="true"'
        + ' sap:supported-formats="atom json xlsx">'
        + "".join(sets)
        + "".join(links)
        + "</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"
    ).encode()


def metadata(service: str, changes: Mapping[str, Mapping[str, str]]) -> bytes:
    """The EDMX of a service. Fields of `changes` (a fault on request) are declared as text."""
    retyped = frozenset(
        (entity, field)
        for entity, fields in changes.items()
        for field in fields
        if entity in ENTITY_SETS and field in ENTITY_SETS[entity].fields
    )
    return _metadata(service, retyped)
