"""Dirty answers of HTTP systems, each of a class with known truth: every value right or rescued as it was sent, and an
answer that is none an error, of which nothing arrives."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import dirty_answers
import pytest
from datong_platform.errors import DatongError
from dirty_answers import BODIES, KINDS, ROWS, Sent


def answers(rig: Any, kind: str, found: list[list[Sent]]) -> None:
    """Let the system answer the next reads with these pages, each leading to the next one."""
    where = {"odata_v2": "/odata/API/Things?$skiptoken={}", "odata_v4": "/v4/Things?$skiptoken={}", "rest": "{}"}[kind]

    def answer(rows: list[Sent], number: int) -> Callable[[Any], Any]:
        more = where.format(number) if number < len(found) else ""
        more = f"{rig.server.address}{more}" if more.startswith("/") else more
        text = dirty_answers.body(kind, [row.text for row in rows], more)
        return lambda usual: type(usual)(text.encode("utf-8", "surrogateescape"))

    rig.server.faults = [answer(rows, number) for number, rows in enumerate(found, 1)]


def wrong_in(rig: Any, sent: list[Sent]) -> list[str]:
    """What differs between the rows that were sent and those that are in bronze."""
    rows = {row["Id"]: row for row in rig.bronze()}
    assert len(rows) == len(sent), f"{len(sent)} rows were sent, {len(rows)} are there"
    wrong: list[str] = []
    for one in sent:
        row = rows[one.values["Id"]]
        told = {name: row[name] for name, value in one.values.items() if row[name] != value}
        rescued = json.loads(row["_datong_rescued"] or "{}")
        if told or rescued != one.rescued:
            wrong.append(f"{one.dirt}: {told}, rescued {rescued}, not {one.values} and {one.rescued}")
    return wrong


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_of_dirty_answers_is_right_or_rescued(kind: str, made_rig: Callable[[str], Any]) -> None:
    rig = made_rig(kind)
    found = list(dirty_answers.pages(kind, 9, 7))
    answers(rig, kind, found)
    rig.ingest("full")
    wrong = wrong_in(rig, [row for page in found for row in page])
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:60])
    assert dirty_answers.classes() >= 60


def test_every_value_of_a_dirty_soap_answer_is_right_or_rescued(soap: Any) -> None:
    text, sent = dirty_answers.envelope()
    soap.server.every = lambda usual: type(usual)(text, 200, {"Content-Type": "text/xml"})
    soap.ingest("full", connection={"paging": {"style": "none"}})
    wrong = wrong_in(soap, sent)
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_written_strangely_are_right_or_rescued(kind: str, made_rig: Callable[[str], Any]) -> None:
    rig = made_rig(kind)
    first, *_ = dirty_answers.pages(kind, 1, 7)
    pages = [first]
    for number, (name, strange) in enumerate(ROWS.items(), 90000):
        one = dirty_answers.row_of(kind, number)
        one.text, values, rescued = strange(one.text)
        one.values |= values
        one.rescued |= rescued
        one.dirt = f"{kind}: {name}"
        pages.append([one, dirty_answers.row_of(kind, number + 500)])
    answers(rig, kind, pages)
    rig.ingest("full")
    wrong = wrong_in(rig, [row for page in pages for row in page])
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_none_is_an_error_and_nothing_of_it_arrives(
    kind: str, made_rig: Callable[[str], Any], no_waiting: list[float]
) -> None:
    rig = made_rig(kind)
    first, second, *_ = dirty_answers.pages(kind, 1, 7)
    wrong: list[str] = []
    for name, broken in BODIES.items():
        # a first page that is right, and then one that is not: neither may arrive
        answers(rig, kind, [first, second])
        right = rig.server.faults[0]
        text = broken(kind, [row.text for row in second])
        rig.server.faults = [right, *[lambda usual, text=text: type(usual)(text)] * 5]
        try:
            result = rig.ingest("full")
        except DatongError as error:
            if not (error.thing and error.reason and error.next_step):
                wrong.append(f"{name}: {error}")
        else:
            wrong.append(f"{name}: taken, {result.rows} rows")
        if rig.bronze():
            wrong.append(f"{name}: {len(rig.bronze())} rows arrived")
    rig.server.faults = []
    assert not wrong, "\n".join(wrong)
    answers(rig, kind, [first])
    assert rig.ingest("full").rows == len(first)
