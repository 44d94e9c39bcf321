"""An OData v4 service in small, as Dynamics 365 or S/4HANA serve it: `value`, `@odata.nextLink`, `@odata.deltaLink`."""

from __future__ import annotations

import base64
import json
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit


def made(house: Any) -> type[Any]:
    """The rig's class; `house` is the conftest, whose rows and servers all rigs share."""
    answer_of, user, password = house.Answer, house.USER, house.PASSWORD

    class ODataV4System(house.HttpSystem):  # type: ignore[name-defined,misc]
        """The server."""

        types: ClassVar[dict[str, str]] = {
            "Id": 'Type="Edm.String" Nullable="false" MaxLength="10"',
            "Name": 'Type="Edm.String"',
            "Amount": 'Type="Edm.Decimal" Precision="13" Scale="3"',
            "DueOn": 'Type="Edm.Date"',
            "Active": 'Type="Edm.Boolean"',
            "ChangedAt": 'Type="Edm.DateTimeOffset" Precision="6"',
        }

        def __init__(self) -> None:
            super().__init__()
            self.types = dict(type(self).types)
            self.epoch = 1
            self.removed = "@removed"
            """How a delta tells a delete: `@removed` (4.01), `address` (4.0) or `bare` (the key alone, Dynamics)."""
            self.sparse = False
            """A delta holds the changed fields of a changed row only."""
            self.tracks = True
            self.internal_host = ""
            self.counts = self.aggregates = True
            """It has `$count`, and `$apply`."""

        def answer(self, path: str, headers: dict[str, str]) -> Any:  # noqa: PLR0911 one way out per kind of request
            expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
            if headers.get("Authorization") != expected:
                return answer_of(b'{"error":{"code":"401","message":"Unauthorized"}}', 401)
            parts = urlsplit(path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if parts.path.endswith("$metadata"):
                return answer_of(self.metadata(), headers={"Content-Type": "application/xml"})
            if "$deltatoken" in query:
                return self._delta(query["$deltatoken"])
            rows = self.store.sorted()
            if parts.path.endswith("/$count") or "$apply" in query:
                return self._totals(parts.path, query, rows)
            wanted = re.findall(r"Id eq '([^']*)'", query.get("$filter", ""))
            rows = [row for row in rows if row["Id"] in wanted] if wanted else _within(query.get("$filter", ""), rows)
            fields = query["$select"].split(",") if "$select" in query else None
            if not self.counts and "$count" in query:
                return answer_of(b'{"error":{"code":"x","message":"$count is not supported"}}', 400)
            counted = {"@odata.count": len(rows)} if query.get("$count") == "true" else {}
            start, size = int(query.get("$skiptoken", 0)), len(rows) if wanted else self.page_size
            page = [self._row(row, fields) for row in rows[start : start + size]]
            if start + size < len(rows):
                kept = parts.query.split("&$skiptoken")[0].split("$skiptoken")[0]
                following = {"@odata.nextLink": self._link(f"{kept}&$skiptoken={start + size}")}
                return self._value(page, counted | following)
            tracked = self.tracks and "track-changes" in headers.get("Prefer", "")
            return self._value(page, counted | self._token() if tracked else counted)

        def _totals(self, path: str, query: dict[str, str], rows: list[dict[str, Any]]) -> Any:
            """`$count`, or an `$apply` of a filter and an aggregate."""
            applied = re.fullmatch(r"(?:filter\((.*)\)/)?aggregate\((.*)\)", query.get("$apply", ""))
            if not (self.aggregates if applied else self.counts):
                return answer_of(b'{"error":{"code":"501","message":"not implemented"}}', 501)
            if not applied:
                return answer_of(str(len(_within(query.get("$filter", ""), rows))).encode())
            kept = _within(applied[1] or "", rows)
            told: dict[str, Any] = {}
            for part in applied[2].split(","):
                what, _, name = part.partition(" as ")
                field = what.removesuffix(" with sum")
                told[name] = len(kept) if what == "$count" else sum((row[field] for row in kept), Decimal(0))
            return self._value([self._encoded(told)], {})

        def metadata(self) -> bytes:
            fields = "".join(f'<Property Name="{name}" {text}/>' for name, text in self.types.items())
            return (
                '<?xml version="1.0"?><edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">'
                '<edmx:DataServices><Schema Namespace="api" xmlns="http://docs.oasis-open.org/odata/ns/edm">'
                f'<EntityType Name="thing"><Key><PropertyRef Name="Id"/></Key>{fields}'
                '<NavigationProperty Name="parts" Type="Collection(api.part)"/></EntityType>'
                '<EntityType Name="part"><Key><PropertyRef Name="No"/></Key>'
                '<Property Name="No" Type="Edm.Int32" Nullable="false"/></EntityType>'
                '<EntityType Name="company"><Key><PropertyRef Name="id"/></Key>'
                '<Property Name="id" Type="Edm.Guid" Nullable="false"/>'
                '<NavigationProperty Name="things" Type="Collection(api.thing)"/></EntityType>'
                '<EntityContainer Name="C"><EntitySet Name="Things" EntityType="api.thing"/>'
                '<EntitySet Name="companies" EntityType="api.company"/></EntityContainer>'
                "</Schema></edmx:DataServices></edmx:Edmx>"
            ).encode()

        def _link(self, query: str) -> str:
            return f"{self.internal_host or self.address}/v4/Things?{query.lstrip('&')}"

        def _token(self) -> dict[str, str]:
            return {"@odata.deltaLink": self._link(f"$deltatoken=E{self.epoch}_{len(self.store.changes):06d}")}

        def _delta(self, token: str) -> Any:
            epoch, _, seen = token.partition("_")
            if epoch != f"E{self.epoch}":
                return answer_of(b'{"error":{"code":"0x80060888","message":"The link has expired"}}', 410)
            last: dict[str, str] = {}
            for key, change in self.store.changes[int(seen) :]:
                last[key] = change
            rows: list[dict[str, Any]] = []
            for key, change in last.items():
                if change == "D":
                    rows.append(self._tombstone(key))
                elif self.sparse and change == "U":
                    rows.append(self._row(self.store.rows[key], ["Id", "Name"]))
                else:
                    rows.append(self._row(self.store.rows[key], None))
            return self._value(rows, self._token())

        def _tombstone(self, key: str) -> dict[str, Any]:
            if self.removed == "@removed":
                return {"@removed": {"reason": "deleted"}, "@id": f"Things('{key}')"}
            context = f"{self.address}/v4/$metadata#Things/$deletedEntity"
            return {
                "@odata.context": context,
                "id": key if self.removed == "bare" else f"{self.address}/v4/Things('{key}')",
                "reason": "deleted",
            }

        def _row(self, row: dict[str, Any], fields: list[str] | None) -> dict[str, Any]:
            names = fields or list({**self.types, **row})
            return {"@odata.etag": f'W/"{row["Id"]}"', **self._encoded({name: row.get(name) for name in names})}

        def _encoded(self, row: dict[str, Any]) -> dict[str, Any]:
            def encode(value: Any) -> Any:
                if isinstance(value, datetime):
                    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
                if isinstance(value, date):
                    return value.isoformat()
                return f"number:{value}" if isinstance(value, Decimal) else value

            return {name: encode(value) for name, value in row.items()}

        def _value(self, rows: list[dict[str, Any]], tail: dict[str, str]) -> Any:
            head = {"@odata.context": f"{self.address}/v4/$metadata#Things"}
            text = json.dumps({**head, "value": rows, **tail}, ensure_ascii=False)
            return answer_of(re.sub(r'"number:([^"]*)"', r"\1", text).encode())

    def _within(condition: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows that `ChangedAt ge …`, `lt …`, `eq null` and `ne null`, joined by and, let through."""
        for name, bound in re.findall(r"ChangedAt (ge|lt|eq|ne) ([^\s()]+)", condition):
            if bound == "null":
                rows = [row for row in rows if (row["ChangedAt"] is None) == (name == "eq")]
                continue
            moment = datetime.fromisoformat(bound)
            rows = [
                row for row in rows if row["ChangedAt"] is not None and (row["ChangedAt"] >= moment) == (name == "ge")
            ]
        return rows

    class ODataV4Rig(house.Rig):  # type: ignore[name-defined,misc]
        """OData v4."""

        protocol, incremental = "odata_v4", "delta_token"

        def __init__(self, _: Any) -> None:
            super().__init__()
            self.http = self.server = ODataV4System()

        def connection(self) -> dict[str, Any]:
            return {"base_url": f"{self.server.address}/v4", "user": user, "password": password}

        def entity(self) -> dict[str, Any]:
            return {"source": "Things"}

        def put(self, *rows: dict[str, Any]) -> None:
            self.server.store.put(*rows)

        def remove(self, *ids: str) -> None:
            self.server.store.remove(*ids)

        def stop(self) -> None:
            self.server.stop()

    return ODataV4Rig
