"""Schemas of what is sent: JSON Schema (2020-12) and XML Schema (1.0) of each write-back flow's payload.

From a flow's `payload` and the contract of its serve table to `dbt_project/standard/outbound/<flow>.schema.json` and
`<flow>.xsd`, which the target's people can hold their side to. The JSON Schema describes what `PayloadBuilder` makes,
in the dialect of the target (OData v2 writes decimals as text and times as `/Date(ms)/`); the XML Schema describes the
same record for a target, or a middleware, that takes XML: ISO 8601, plain decimals, a list's items as elements.

`datong standard compile` writes them; both name the contract and its version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from datong_platform.errors import ConfigurationError
from datong_platform.standard.contract import Contract, Field, contracts

from datong_ingestion.systems_config import load_system
from datong_ingestion.write_back.config import ColumnValue, ConstantValue, FlowConfig, Kind, load_flows
from datong_ingestion.write_back.payload import Dialect

OUTBOUND = Path("standard/outbound")
_NAMESPACE = "urn:datong:outbound:"
_KINDS: dict[str, Kind] = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "datetime",
}
_XSD = {
    "text": "xs:string",
    "integer": "xs:integer",
    "number": "xs:decimal",
    "boolean": "xs:boolean",
    "date": "xs:date",
    "datetime": "xs:dateTime",
}
_Leaf = ColumnValue | ConstantValue


def generated() -> dict[Path, str]:
    """The schemas of every flow, by their path in the dbt project."""
    made: dict[Path, str] = {}
    for name, flow in load_flows().items():
        of = _contract(flow)
        made[OUTBOUND / f"{name}.schema.json"] = (
            json.dumps(json_schema(flow, of, dialect(flow)), indent=2, ensure_ascii=False) + "\n"
        )
        made[OUTBOUND / f"{name}.xsd"] = xsd(flow, of)
    return made


def of_flow(flow: FlowConfig) -> dict[str, Any]:
    """The JSON Schema of a flow's payload. ConfigurationError when it does not fit the contract of its serve table."""
    return json_schema(flow, _contract(flow), dialect(flow))


def json_schema(flow: FlowConfig, of: Contract, dialect: str) -> dict[str, Any]:
    """The JSON Schema of one payload. ConfigurationError when the flow names a field that the contract lacks."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{_NAMESPACE}{flow.flow}:{of.version}",
        "title": flow.title or flow.flow,
        "description": f"What is sent to {flow.target.resource} of {flow.target.system} ({dialect}). {_note(of)}",
        **_object(flow.payload, flow, of, dialect),
    }


def _object(payload: Mapping[str, Any], flow: FlowConfig, of: Contract, dialect: str) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    needed: list[str] = []
    for name, value in payload.items():
        if isinstance(value, list):
            items = [_object(item, flow, of, dialect) for item in value]
            properties[name] = {
                "type": "array",
                "minItems": len(items),
                "maxItems": len(items),
                **({"items": items[0]} if len(items) == 1 else {"prefixItems": items}),
            }
            needed.append(name)
            continue
        properties[name] = _json_leaf(value, flow, of, dialect)
        if _is_always_there(value, flow, of):
            needed.append(name)
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


def _json_leaf(value: _Leaf, flow: FlowConfig, of: Contract, dialect: str) -> dict[str, Any]:
    if isinstance(value, ConstantValue):
        return {"const": value.value}
    field = _field(value, flow, of)
    kind = _kind(value, field)
    found: dict[str, Any] = {"title": field.title, "description": f"{field.title_zh}. {field.description}"}
    is_text = dialect in {"odata_v2", "sql", "xml"}
    if kind == "text":
        found |= {"type": "string"}
        found |= {"minLength": field.min_length} if field.min_length is not None else {}
        found |= {"maxLength": field.max_length} if field.max_length is not None else {}
        found |= {"pattern": field.pattern} if field.pattern is not None else {}
    elif kind == "number" and is_text:
        found |= {"type": "string", "pattern": _decimal_pattern(field)}
    elif kind == "number":
        found |= {"type": "number", **_bounds(field)}
    elif kind in {"date", "datetime"} and dialect == "odata_v2":
        found |= {"type": "string", "pattern": r"^/Date\(-?\d+" + (r"\+0000" if kind == "datetime" else "") + r"\)/$"}
    elif kind in {"date", "datetime"}:
        found |= {"type": "string", "format": "date" if kind == "date" else "date-time"}
    else:
        found |= {"type": kind, **(_bounds(field) if kind == "integer" else {})}
    if field.examples and kind in {"text", "integer"}:
        found["examples"] = [int(each) if kind == "integer" else each for each in field.examples]
    if value.send_null:
        found["type"] = [found["type"], "null"]
    return found


def _decimal_pattern(field: Field) -> str:
    whole = (field.precision or 38) - (field.scale or 0)
    sign = "" if field.minimum == "0" or field.exclusive_minimum is not None else "-?"
    return rf"^{sign}\d{{1,{whole}}}" + (rf"(\.\d{{1,{field.scale}}})?$" if field.scale else "$")


def _bounds(field: Field) -> dict[str, float | int]:
    named = {
        "minimum": field.minimum,
        "maximum": field.maximum,
        "exclusiveMinimum": field.exclusive_minimum,
        "exclusiveMaximum": field.exclusive_maximum,
    }
    return {key: float(text) if "." in text else int(text) for key, text in named.items() if text is not None}


def xsd(flow: FlowConfig, of: Contract) -> str:
    """The XML Schema of one payload. ConfigurationError when the flow names a field that the contract lacks."""
    root = flow.target.resource.rstrip("/").rsplit("/", 1)[-1]
    namespace = f"{_NAMESPACE}{flow.flow}"
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="{namespace}" targetNamespace="{namespace}"'
        f' elementFormDefault="qualified" version="{of.version}">',
        "  <xs:annotation><xs:documentation>"
        + escape(f"{flow.title or flow.flow}: what is sent to {flow.target.system}. {_note(of)}")
        + "</xs:documentation></xs:annotation>",
        f"  <xs:element name={quoteattr(root)}>",
        *_complex(flow.payload, flow, of, "    "),
        "  </xs:element>",
        "</xs:schema>",
    ]
    return "\n".join(lines) + "\n"


def _complex(payload: Mapping[str, Any], flow: FlowConfig, of: Contract, indent: str) -> Iterator[str]:
    yield f"{indent}<xs:complexType>"
    yield f"{indent}  <xs:sequence>"
    for name, value in payload.items():
        if isinstance(value, list):
            count = len(value)
            yield f'{indent}    <xs:element name={quoteattr(name)} minOccurs="{count}" maxOccurs="{count}">'
            yield from _complex(_merged(value), flow, of, f"{indent}      ")
            yield f"{indent}    </xs:element>"
        else:
            yield from _element(name, value, flow, of, f"{indent}    ")
    yield f"{indent}  </xs:sequence>"
    yield f"{indent}</xs:complexType>"


def _merged(items: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of all items of a list: XML Schema describes repeated elements once."""
    return {name: value for item in items for name, value in item.items()}


def _element(name: str, value: _Leaf, flow: FlowConfig, of: Contract, indent: str) -> Iterator[str]:
    occurs = "" if _is_always_there(value, flow, of) else ' minOccurs="0"'
    if isinstance(value, ConstantValue):
        kind = "boolean" if isinstance(value.value, bool) else "integer" if isinstance(value.value, int) else "text"
        text = str(value.value).lower() if kind == "boolean" else str(value.value)
        yield f"{indent}<xs:element name={quoteattr(name)} type={quoteattr(_XSD[kind])} fixed={quoteattr(text)}/>"
        return
    field = _field(value, flow, of)
    kind = _kind(value, field)
    nillable = ' nillable="true"' if value.send_null else ""
    facets = list(_facets(field, kind))
    words = escape(f"{field.title_zh}. {field.description}")
    yield f"{indent}<xs:element name={quoteattr(name)}{occurs}{nillable}" + (
        ">" if facets else f" type={quoteattr(_XSD[kind])}>"
    )
    yield f"{indent}  <xs:annotation><xs:documentation>{words}</xs:documentation></xs:annotation>"
    if facets:
        yield f"{indent}  <xs:simpleType>"
        yield f"{indent}    <xs:restriction base={quoteattr(_XSD[kind])}>"
        yield from (f"{indent}      <xs:{facet} value={quoteattr(str(text))}/>" for facet, text in facets)
        yield f"{indent}    </xs:restriction>"
        yield f"{indent}  </xs:simpleType>"
    yield f"{indent}</xs:element>"


def _facets(field: Field, kind: Kind) -> Iterator[tuple[str, Any]]:
    if kind == "text":
        if field.min_length is not None:
            yield "minLength", field.min_length
        if field.max_length is not None:
            yield "maxLength", field.max_length
        return
    if kind == "number" and field.precision is not None:
        yield "totalDigits", field.precision
        yield "fractionDigits", field.scale
    if kind in {"number", "integer"}:
        for facet, text in (
            ("minInclusive", field.minimum),
            ("maxInclusive", field.maximum),
            ("minExclusive", field.exclusive_minimum),
            ("maxExclusive", field.exclusive_maximum),
        ):
            if text is not None:
                yield facet, text


def _is_always_there(value: _Leaf, flow: FlowConfig, of: Contract) -> bool:
    return isinstance(value, ConstantValue) or value.send_null or _field(value, flow, of).is_required


def _kind(value: ColumnValue, field: Field) -> Kind:
    # a 64-bit integer goes out as a number, as PayloadBuilder has it
    return value.kind or ("number" if field.physical_type == "bigint" else _KINDS[field.logical_type])


def _field(value: ColumnValue, flow: FlowConfig, of: Contract) -> Field:
    if value.column not in of.fields_by_name:
        raise ConfigurationError(
            f"write-back flow {flow.flow}",
            f"sends {value.column}, which is not in {of.path.name}.",
            "name a field of the contract in the flow's payload, or add the field to the contract.",
        )
    return of.field(value.column)


def contract_of(flow: FlowConfig) -> Contract | None:
    """The contract of a flow's serve table; None when it has none."""
    return contracts("serve").get(flow.table.name)


def _contract(flow: FlowConfig) -> Contract:
    of = contract_of(flow)
    if of is None:
        raise ConfigurationError(
            f"write-back flow {flow.flow}",
            f"reads {flow.source}, which has no contract.",
            f"write dbt_project/standard/contracts/serve__{flow.table.name}.odcs.yaml.",
        )
    return of


def dialect(flow: FlowConfig) -> Dialect:
    """How a flow's target is written to, by the protocol of its system."""
    protocol = load_system(flow.target.system).protocol
    if protocol in ("soap", "edi"):
        return "xml"
    return protocol if protocol in ("odata_v2", "odata_v4", "sql") else "rest"


def _note(of: Contract) -> str:
    return f"Made from the contract {of.table} {of.version} by `datong standard compile`."
