"""Rows of the store as OData v2 JSON. SQLite writes the properties itself: a page of 5,000 rows takes milliseconds."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from datong_infra.sandbox.model import ENTITY_SETS, EntitySet, Field
from datong_infra.sandbox.odata_query import ODataError, selection
from datong_infra.sandbox.store import utc


def _expression(field: Field) -> str:
    column = f't."{field.name}"'
    if field.kind == "S":
        return f"json_quote({column})"
    if field.kind == "B":
        return f"case {column} when 1 then 'true' when 0 then 'false' else 'null' end"
    if field.kind == "N":
        text = f"case when {column} < 0 then '-' else '' end || (abs({column}) / 1000)"
        if field.scale:
            text += f" || printf('.%03d', abs({column}) % 1000) || '{'0' * (field.scale - 3)}'"
    elif field.kind == "D":
        text = f"'/Date(' || {column} || ')/'"
    elif field.kind == "O":
        text = f"'/Date(' || {column} || '+0000)/'"
    else:
        text = f"printf('PT%02dH%02dM%02dS', {column} / 3600, {column} / 60 % 60, {column} % 60)"
    return f"coalesce('\"' || {text} || '\"', 'null')"


def _body(fields: Sequence[Field], change: Mapping[str, str]) -> str:
    parts = [f"""'"{f.name}":' || {change.get(f.name) or _expression(f)}""" for f in fields]
    extra = [f"""'"{name}":' || {sql}""" for name, sql in change.items() if name not in {f.name for f in fields}]
    return " || ',' || ".join([*parts, *extra]) or "''"


def _predicate(entity: EntitySet) -> str:
    if len(entity.keys) == 1:
        return f"""'''' || t."{entity.keys[0]}" || ''''"""
    return " || ',' || ".join(f"""'{k}=''' || t."{k}" || ''''""" for k in entity.keys)


def _etag(entity: EntitySet) -> str:
    if not entity.etag:
        return "null"
    column = f't."{entity.etag}"'
    return f"strftime('%Y-%m-%dT%H%%3A%M%%3A%S', {column} / 1000, 'unixepoch') || printf('.%03d0000Z', {column} % 1000)"


def etag_of(ms: int) -> str:
    """The ETag of a row that changed last at this time."""
    return f"W/\"datetimeoffset'{utc(ms):%Y-%m-%dT%H%%3A%M%%3A%S}.{ms % 1000:03d}0000Z'\""


class Page:
    """Reads rows of one entity set with the same $select and $expand, as JSON texts."""

    def __init__(
        self,
        entity: EntitySet,
        root: str,
        *,
        select: str | None = None,
        expand: str | None = None,
        changes: Mapping[str, Mapping[str, str]] | None = None,
        link: Sequence[str] = (),
    ) -> None:
        self.entity = entity
        self.root = root
        self.fields, within = selection(entity, select)
        self.changes = changes or {}
        self.expanded: dict[str, Page] = {}
        for path in filter(None, (expand or "").split(",")):
            name, _, deeper = path.strip().partition("/")
            navigation = entity.navigation(name)
            if navigation is None:
                raise ODataError(
                    400, "/IWBEP/CM_MGW_RT/022", f"Navigation property {name} not found in {entity.type_name}"
                )
            inner = None if within is None else ",".join(within.get(name, [])) or None
            self.expanded[name] = Page(
                ENTITY_SETS[navigation.target],
                root,
                select=inner,
                expand=deeper or None,
                changes=changes,
                link=navigation.link,
            )
        self.deferred = [
            n for n in entity.navigations if n.name not in self.expanded and (within is None or n.name in within)
        ]
        self.link = tuple(link)
        self.marked = entity.delta and not select
        keys = "".join(f', t."{k}"' for k in (*entity.keys, *self.link))
        body = _body(self.fields, self.changes.get(entity.name, {}))
        self.columns = f"{_predicate(entity)}, {_etag(entity)}, {body}{keys}, t._seq, t._created"

    def read(
        self, db: sqlite3.Connection, condition: str, values: Sequence[Any], *, since: int | None = None
    ) -> list[tuple[str, tuple[Any, ...]]]:
        """JSON text and (keys…, link…, seq, created) of the rows that `condition` (after WHERE) gives."""
        rows = db.execute(
            f'select {self.columns} from "{self.entity.table}" t where {condition}', list(values)
        ).fetchall()
        return self.render(db, rows, since=since)

    def render(
        self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], *, since: int | None = None
    ) -> list[tuple[str, tuple[Any, ...]]]:
        """The same for rows that were read with `columns`; `since` marks a delta, with ODQ_CHANGEMODE filled."""
        base = f"{self.root}/{self.entity.service}/{self.entity.name}("
        kind = f"{self.entity.service}.{self.entity.type_name}"
        related = self._related(db, rows)
        marked = self.entity.delta and (self.marked or since is not None)
        result: list[tuple[str, tuple[Any, ...]]] = []
        for row in rows:
            uri = f"{base}{row[0]})"
            etag = f""","etag":"W/\\"datetimeoffset'{row[1]}'\\"\"""" if row[1] else ""
            text = f'{{"__metadata":{{"id":"{uri}","uri":"{uri}","type":"{kind}"{etag}}}'
            if row[2]:
                text += "," + row[2]
            if marked:
                change = "" if since is None else "C" if row[-1] > since else "U"
                text += f',"ODQ_CHANGEMODE":"{change}"'
            for navigation in self.deferred:
                text += f',"{navigation.name}":{{"__deferred":{{"uri":"{uri}/{navigation.name}"}}}}'
            for navigation in related:
                text += f',"{navigation}":{related[navigation](row)}'
            result.append((text + "}", row[3:]))
        return result

    def _related(self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, page in self.expanded.items():
            navigation = self.entity.navigation(name)
            if navigation is None:
                continue
            places = [3 + self.entity.keys.index(k) for k in navigation.link]
            links = [tuple(row[p] for p in places) for row in rows]
            first_link = len(page.entity.keys)
            groups: dict[tuple[Any, ...], list[str]] = {}
            unique = list(dict.fromkeys(links))
            for first in range(0, len(unique), 500):
                some = unique[first : first + 500]
                marks = ", ".join(["(" + ", ".join("?" * len(places)) + ")"] * len(some))
                columns = ", ".join(f't."{k}"' for k in navigation.link)
                condition = f"({columns}) in (values {marks}) order by " + ", ".join(
                    f't."{k}"' for k in page.entity.keys
                )
                for text, keys in page.read(db, condition, [v for link in some for v in link]):
                    groups.setdefault(tuple(keys[first_link:-2]), []).append(text)

            def text_of(
                row: tuple[Any, ...],
                groups: dict[tuple[Any, ...], list[str]] = groups,
                places: list[int] = places,
                many: bool = navigation.many,
            ) -> str:
                texts = groups.get(tuple(row[p] for p in places), [])
                if many:
                    return '{"results":[' + ",".join(texts) + "]}"
                return texts[0] if texts else "null"

            found[name] = text_of
        return found
