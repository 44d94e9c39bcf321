"""What is particular to JSON APIs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion.systems_config import SystemConfig
from datong_platform.errors import ProtocolError, TransientError

Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("style", ["next_cursor", "page", "offset", "link_header", "next_link"])
def test_every_way_of_paging_reads_every_row_once(rest: Any, row: Make, style: str) -> None:
    rest.server.style = style
    rest.put(*[row(i) for i in range(9)])
    paging = {"style": style}
    if style == "next_link":
        paging["next_path"] = "next"
    if style == "offset":
        paging["total_path"] = "total"
    result = rest.ingest("full", connection={"paging": paging})
    assert [r["Id"] for r in rest.bronze()] == [row(i)["Id"] for i in range(9)]
    assert result.rows == 9


def test_a_server_that_cuts_the_page_size_loses_no_row(rest: Any, row: Make) -> None:
    rest.server.style, rest.server.page_size = "page", 2
    rest.put(*[row(i) for i in range(7)])
    rest.ingest("full", connection={"paging": {"style": "page", "limit": 500}})
    assert len(rest.bronze()) == 7


def deleted_between(system: Any, key: str, after: int = 1) -> list[str]:
    """Let a row be deleted once, after so many answers; the answers until then."""
    answers: list[str] = []

    def change(answer: Any) -> Any:
        answers.append("answered")
        if len(answers) == after:
            system.store.remove(key)
        return answer

    system.every = change
    return answers


@pytest.mark.parametrize("mode", ["cursor", "full"])
@pytest.mark.parametrize("style", ["offset", "page"])
def test_a_row_deleted_between_two_pages_hides_no_other(rest: Any, row: Make, style: str, mode: str) -> None:
    rest.server.style = "offset"
    rest.put(*[row(i) for i in range(8)])
    deleted_between(rest.server, row(1)["Id"])
    rest.ingest(mode, connection={"paging": {"style": style, "total_path": "total"}})
    assert {r["Id"] for r in rest.bronze()} >= {row(i)["Id"] for i in range(8)} - {row(1)["Id"]}


@pytest.mark.parametrize("style", ["offset", "page"])
def test_a_row_changed_between_two_pages_hides_no_other(rest: Any, row: Make, style: str) -> None:
    rest.server.style = "offset"
    rest.put(*[row(i) for i in range(8)])
    answers: list[int] = []

    def change(answer: Any) -> Any:
        answers.append(1)
        if len(answers) == 1:
            # sorted by its time of change it moves behind all others, and the rows after it move up
            rest.server.store.put(row(1, Name="later", ChangedAt=row(900)["ChangedAt"]))
        return answer

    rest.server.every = change
    rest.ingest("cursor", connection={"paging": {"style": style, "total_path": "total"}})
    assert {r["Id"]: r["Name"] for r in rest.current()} == {
        row(i)["Id"]: "later" if i == 1 else row(i)["Name"] for i in range(8)
    }


def test_rows_that_never_keep_still_end_in_an_error_that_says_how_to_ask(rest: Any, row: Make) -> None:
    rest.server.style = "offset"
    rest.put(*[row(i) for i in range(60)])

    def change(answer: Any) -> Any:
        rest.server.store.remove(min(rest.server.store.rows))
        return answer

    rest.server.every = change
    with pytest.raises(TransientError, match="moved while it was read") as caught:
        rest.ingest("cursor", connection={"paging": {"style": "offset"}})
    assert "after_key" in caught.value.next_step
    assert rest.bronze() == []


def test_a_server_that_gives_one_row_at_a_time_is_read_to_its_end(rest: Any, row: Make) -> None:
    rest.server.style, rest.server.page_size = "offset", 1
    rest.put(*[row(i) for i in range(4)])
    rest.ingest("full", connection={"paging": {"style": "offset"}})
    assert len(rest.bronze()) == 4


def test_fewer_rows_than_counted_is_a_protocol_error(rest: Any, row: Make) -> None:
    rest.server.style = "offset"
    rest.put(*[row(i) for i in range(5)])
    rest.server.every = lambda answer: type(answer)(answer.body.replace(b'"total": 5', b'"total": 50'))
    with pytest.raises(ProtocolError, match="5 of the 50"):
        rest.ingest("full", connection={"paging": {"style": "offset", "total_path": "total"}})


def test_times_with_any_offset_are_the_same_instant(rest: Any, row: Make) -> None:
    rest.put(row(1) | {"ChangedAt": "2026-03-01T16:01:00+08:00"}, row(2) | {"ChangedAt": "2026-03-01T08:02:00.250Z"})
    rest.put(row(3) | {"ChangedAt": "2026-03-01T08:03:00"})
    rest.ingest("full")
    found = [r["ChangedAt"] for r in rest.bronze()]
    assert found == [
        datetime(2026, 3, 1, 8, 1, tzinfo=UTC),
        datetime(2026, 3, 1, 8, 2, 0, 250000, tzinfo=UTC),
        None,
    ]
    assert "ChangedAt" in json.loads(rest.bronze()[2]["_datong_rescued"]), "without a zone nobody knows when it was"


def test_events_sent_twice_stay_twice_and_are_read_again_only_once(rest: Any, row: Make) -> None:
    twice = [row(1), row(1) | {"ChangedAt": row(30)["ChangedAt"]}]
    rest.put(twice[0], row(2))
    # the same event, recorded a second time
    rest.server.store.rows["again"] = twice[1]
    rest.ingest(events=True)
    assert [r["Id"] for r in rest.bronze()] == ["00001", "00001", "00002"]
    for _ in range(3):
        result = rest.ingest(events=True, overlap_seconds=86400)
        assert (result.rows, result.unchanged_rows) == (0, 3)
    assert {r["_datong_operation"] for r in rest.bronze()} == {"snapshot"}
    rest.put(row(60))
    rest.ingest(events=True)
    assert rest.bronze()[-1]["_datong_operation"] == "insert"


def test_undeclared_fields_are_guessed_once_and_then_kept(rest: Any, row: Make) -> None:
    rest.put(row(1) | {"Count": 3, "Deep": {"a": [1, 2.50]}})
    result = rest.ingest("full", fields={})
    kinds = {item.name: item.type for item in result.schema}
    assert kinds["Count"] == pa.int64()
    assert kinds["Amount"] == pa.decimal128(38, 9)
    assert kinds["Active"] == pa.bool_()
    assert kinds["Deep"] == pa.string()
    first = rest.bronze()[0]
    assert (first["Count"], first["Amount"]) == (3, Decimal("1.125"))
    assert json.loads(first["Deep"]) == {"a": [1, 2.50]}
    rest.put(row(1) | {"Count": "three"}, row(2) | {"Count": 4})
    result = rest.ingest("full", fields={})
    assert {item.name: item.type for item in result.schema} == kinds
    assert json.loads(rest.bronze()[0]["_datong_rescued"]) == {"Count": "three"}


def test_an_error_in_a_field_of_its_own_is_an_error(rest: Any, row: Make) -> None:
    rest.put(row(1))
    rest.server.every = lambda answer: type(answer)(b'{"data": [], "code": 5001, "message": "no license"}')
    with pytest.raises(ProtocolError, match="no license"):
        rest.ingest("full", connection={"success_path": "code", "success_values": [0]})


def test_a_key_in_the_query_is_sent_and_never_shown(rest: Any, row: Make) -> None:
    seen: list[str] = rest.server.requests
    rest.put(row(1))
    system: SystemConfig = rest.system(
        "full", connection={"auth": "api_key", "token": "k-53cr3t", "api_key_in": "query", "api_key_name": "key"}
    )
    from datong_ingestion.run import ingest_entity

    with pytest.raises(Exception, match="refused who we are") as caught:
        ingest_entity(system, "thing")
    assert any("key=k-53cr3t" in path for path in seen)
    assert "k-53cr3t" not in str(caught.value)
