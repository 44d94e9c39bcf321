"""The shape of a JSON API, from one answer: where its rows are, and how it hands out the next page.

A JSON API tells nothing of itself, so its first answer is looked at: the longest list of objects in it are the rows,
and a link, a cursor or a count beside them is the paging. Only what is there is proposed; what is not stays as it was.
From an answer to a part of the connection, and remarks for the person who decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

import httpx
from datong_platform.errors import DatongError

from datong_ingestion.http import HttpClient, UnreadableBodyError
from datong_ingestion.source import connect
from datong_ingestion.systems_config import parse_system

_DEPTH = 4
_NEXT = re.compile(r"next|continuation|skip_?token", re.IGNORECASE)
_CURSOR_PARAMS = {
    "nextpagetoken": "pageToken",
    "next_page_token": "page_token",
    "continuationtoken": "continuationToken",
}
_TOTAL = re.compile(r"^(total|count|totalCount|total_count|totalResults|totalSize|size|rowCount)$", re.IGNORECASE)
_PAGE = re.compile(r"^(page|current|current_?page|page_?(no|num|number|index))$", re.IGNORECASE)
_OFFSET = re.compile(r"^(offset|skip|start|start_?(index|row))$", re.IGNORECASE)
_SIZE = re.compile(r"^(size|limit|per_?page|page_?size|page_?limit)$", re.IGNORECASE)


def shape(content: Mapping[str, Any], address: str) -> tuple[dict[str, Any], list[str]]:
    """What the connection of a JSON API should say of its answers, and remarks. Empty where that was decided already.

    `content` are the system's attributes without entities. Raises what the request raises.
    """
    connection = content["connection"]
    if {"data_path", "paging", "profile", "request"} & connection.keys():
        return {}, []
    entity = {"name": "any", "source": address}
    source = connect(parse_system({**content, "entities": [entity]}))
    try:
        http = getattr(source, "http", None)
        if not isinstance(http, HttpClient):
            return {}, []

        def asked(params: Mapping[str, str]) -> tuple[Any, bool]:
            thing = f"{content['system']} ({address})"
            return http.fetch(_parsed, "GET", http.below(address), thing=thing, params=params, headers=_ACCEPT)

        answer, link = asked({})
        found, remarks = of_answer(answer, link=link)
        if "paging" not in found and (paging := counted(answer, found)):
            with suppress(DatongError):
                if _goes_on(answer, asked(_second(paging))[0], found):
                    told = f"Pages go by {paging.get('page_param') or paging.get('offset_param')}: the second one came."
                    found, remarks = found | {"paging": paging}, [told]
        return found, remarks
    except DatongError:
        # why it does not answer is told when its entities are looked at
        return {}, []
    finally:
        source.close()


_ACCEPT = {"Accept": "application/json"}


def _parsed(response: httpx.Response) -> tuple[Any, bool]:
    try:
        return json.loads(response.content), "next" in response.links
    except (ValueError, RecursionError) as error:
        raise UnreadableBodyError(f"it is not JSON ({error})") from error


def of_answer(answer: Any, *, link: bool = False) -> tuple[dict[str, Any], list[str]]:
    """The same, from an answer and whether it came with a Link header to the next page."""
    lists = sorted(_lists(answer, ()), key=lambda item: (-item[1], len(item[0])))
    if not lists:
        return {}, ["No list of objects was found in its first answer: say data_path yourself."]
    path, rows = lists[0]
    found: dict[str, Any] = {"data_path": ".".join(path)} if path else {}
    remarks: list[str] = []
    if link:
        return found | {"paging": {"style": "link_header"}}, remarks
    beside = [(names, value) for names, value in _values(answer, ()) if names[: len(path)] != path or not path]
    for names, value in beside:
        if _NEXT.search(names[-1]) and (value is None or isinstance(value, str)):
            if isinstance(value, str) and re.match(r"https?://|/|\?", value):
                return found | {"paging": {"style": "next_link", "next_path": ".".join(names)}}, remarks
            param = _CURSOR_PARAMS.get(names[-1].lower(), "cursor")
            remarks.append(
                f"Pages go by {'.'.join(names)}, sent back as the query parameter {param}, which its documents must "
                "confirm (cursor_param)."
            )
            paging = {"style": "next_cursor", "next_path": ".".join(names)}
            return found | {"paging": paging | ({"cursor_param": param} if param != "cursor" else {})}, remarks
    for names, value in beside:
        if _TOTAL.match(names[-1]) and isinstance(value, int) and not isinstance(value, bool) and value > rows:
            remarks.append(
                f"It counts {value:,} rows at {'.'.join(names)} and sent {rows:,}: say how it is asked for the next "
                f"page (paging: style page or offset, total_path {'.'.join(names)})."
            )
    return found, remarks


def counted(answer: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """How pages may be counted, where an answer repeats the page or the offset that it holds; to be tried."""
    path = tuple(str(found.get("data_path", "")).split(".")) if found.get("data_path") else ()
    rows = _at(answer, path)
    beside = [(names, value) for names, value in _values(answer, ()) if _is_number(value)]
    sizes = [names for names, value in beside if _SIZE.match(names[-1]) and value == len(rows)]
    if not path or not rows or not sizes:
        return {}
    total = [names for names, value in beside if _TOTAL.match(names[-1]) and value > len(rows)]
    shared = {"limit_param": sizes[0][-1], "limit": len(rows)} | ({"total_path": ".".join(total[0])} if total else {})
    for names, value in beside:
        if _PAGE.match(names[-1]) and value in {0, 1}:
            return {"style": "page", "page_param": names[-1], "first_page": value} | shared
        if _OFFSET.match(names[-1]) and value == 0:
            return {"style": "offset", "offset_param": names[-1]} | shared
    return {}


def _second(paging: Mapping[str, Any]) -> dict[str, str]:
    """What asks for the second page."""
    if paging["style"] == "page":
        asked = {paging["page_param"]: str(paging["first_page"] + 1)}
    else:
        asked = {paging["offset_param"]: str(paging["limit"])}
    return asked | {paging["limit_param"]: str(paging["limit"])}


def _goes_on(first: Any, second: Any, found: Mapping[str, Any]) -> bool:
    """Whether another answer holds other rows than the first."""
    path = tuple(str(found["data_path"]).split("."))
    rows = _at(second, path)
    return bool(rows) and all(row not in _at(first, path) for row in rows)


def _at(value: Any, path: tuple[str, ...]) -> list[Any]:
    for name in path:
        value = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
    return cast("list[Any]", value) if isinstance(value, list) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _lists(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every list of objects with its place and length; one inside a row is part of the row."""
    if isinstance(value, list):
        if all(isinstance(item, dict) for item in cast("list[Any]", value)):
            yield path, len(value)
    elif isinstance(value, dict) and len(path) < _DEPTH:
        for name, inner in cast("dict[str, Any]", value).items():
            yield from _lists(inner, (*path, str(name)))


def _values(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every single value of the envelope with its place."""
    if isinstance(value, dict) and len(path) < _DEPTH:
        for name, inner in cast("dict[str, Any]", value).items():
            yield from _values(inner, (*path, str(name)))
    elif path and not isinstance(value, list | dict) and not any("." in name for name in path):
        # a path is written with dots, so a name that has one cannot be said
        yield path, value
