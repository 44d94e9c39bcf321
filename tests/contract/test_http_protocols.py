"""What reading over HTTP must survive, and what it must refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from datong_platform.errors import AuthenticationError, ConfigurationError, ProtocolError, TransientError
from datong_platform.lake import history

Make = Callable[..., dict[str, Any]]


NONSENSE = [b"<html>Please log in</html>", b'{"data": 5}', b"[1, 2]", b"\xff\xfe", b"[" * 100000]


def _names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _cut(answer: Any) -> Any:
    answer.cut = True
    return answer


def _status(code: int, **headers: str) -> Callable[[Any], Any]:
    def fault(answer: Any) -> Any:
        return type(answer)(
            b'{"error":{"message":"later"}}', code, {k.replace("_", "-"): v for k, v in headers.items()}
        )

    return fault


def _body(body: bytes, **headers: str) -> Callable[[Any], Any]:
    return lambda answer: type(answer)(body, 200, _names(headers))


@pytest.mark.parametrize("mode", ["cursor", "full"])
@pytest.mark.parametrize("kind", ["odata_v2", "odata_v4"])
def test_a_row_deleted_between_two_pages_of_odata_hides_no_other(
    made_rig: Callable[[str], Any], row: Make, kind: str, mode: str
) -> None:
    rig = made_rig(kind)
    rig.put(*[row(i) for i in range(8)])
    answers: list[int] = []

    def change(answer: Any) -> Any:
        answers.append(1)
        if len(answers) == 1:
            rig.server.store.remove(row(1)["Id"])
        return answer

    rig.server.every = change
    rig.ingest(mode)
    assert {r["Id"] for r in rig.bronze()} >= {row(i)["Id"] for i in range(8)} - {row(1)["Id"]}


@pytest.mark.parametrize("kind", ["odata_v2", "odata_v4"])
def test_a_service_that_refuses_to_count_is_read_all_the_same_and_asked_once(
    made_rig: Callable[[str], Any], row: Make, kind: str
) -> None:
    rig = made_rig(kind)
    rig.server.counts = None
    rig.put(*[row(i) for i in range(8)])
    rig.ingest("full")
    assert len(rig.bronze()) == 8
    counted = [path for path in rig.server.requests if "inlinecount" in path or "count=true" in path]
    assert len(counted) == 1


PASSING = {
    "503": _status(503),
    "502": _status(502),
    "429 with seconds": _status(429, Retry_After="1"),
    "429 with a date": _status(429, Retry_After=format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)),
    "a dropped connection": lambda _answer: None,
    "a body cut off": _cut,
    "half a JSON text": lambda answer: type(answer)(answer.body[: len(answer.body) // 2]),
    "gzip that is none": _body(b"not gzip", Content_Encoding="gzip"),
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault_costs_a_retry_and_no_row(
    http_rig: Any, row: Make, fault: str, no_waiting: list[float]
) -> None:
    rows = [row(i) for i in range(8)]
    http_rig.put(*rows)
    http_rig.http.faults = [PASSING[fault], lambda answer: answer, PASSING[fault], PASSING[fault]]
    http_rig.ingest("full")
    assert [r["Id"] for r in http_rig.bronze()] == [r["Id"] for r in rows]
    assert len(no_waiting) == 3
    if "429" in fault:
        assert no_waiting == [0.3] * 3, "as long as the system asks, and no longer than the definition allows"


def test_a_fault_that_stays_ends_in_an_error_with_system_entity_and_next_step(
    http_rig: Any, row: Make, no_waiting: list[float]
) -> None:
    http_rig.put(row(1))
    http_rig.http.every = _status(503)
    with pytest.raises(TransientError, match="503") as caught:
        http_rig.ingest("full")
    assert f"{http_rig.name}.thing" in caught.value.thing
    assert caught.value.next_step
    assert history.open_table(http_rig.table) is None


@pytest.mark.parametrize(
    "nonsense", [b"<html>Please log in</html>", b'{"data": 5}', b"[1, 2]", b"\xff\xfe", b"[" * 100000]
)
def test_an_answer_that_makes_no_sense_is_a_protocol_error(
    http_rig: Any, row: Make, nonsense: bytes, no_waiting: list[float]
) -> None:
    http_rig.put(row(1))
    http_rig.http.every = _body(nonsense)
    with pytest.raises(ProtocolError) as caught:
        http_rig.ingest("full")
    assert f"{http_rig.name}.thing" in caught.value.thing


def test_an_error_with_status_200_is_an_error(http_rig: Any, row: Make) -> None:
    http_rig.put(row(1))
    http_rig.http.every = _body(b'{"error": {"code": "E7", "message": "database is being moved"}}')
    with pytest.raises(ProtocolError, match="database is being moved"):
        http_rig.ingest("full")


def test_a_failure_in_the_middle_leaves_the_table_as_it_was(http_rig: Any, row: Make, no_waiting: list[float]) -> None:
    http_rig.put(*[row(i) for i in range(4)])
    version = http_rig.ingest("full").delta_version
    http_rig.put(*[row(i) for i in range(4, 12)])
    good: Callable[[Any], Any] = lambda answer: answer  # noqa: E731
    http_rig.http.faults = [good, good, _status(503), _status(503), _status(503)]
    with pytest.raises(TransientError):
        http_rig.ingest("full")
    assert len(http_rig.bronze()) == 4
    again = http_rig.ingest("full")
    assert again.delta_version == version + 1
    assert len(http_rig.bronze()) == 12


@pytest.mark.parametrize("what", ["link", "content"])
def test_a_page_that_never_ends_is_a_protocol_error(http_rig: Any, row: Make, what: str) -> None:
    http_rig.put(*[row(i) for i in range(9)])
    first: list[bytes] = []
    count = iter(range(1, 10**6))

    def endless(answer: Any) -> Any:
        first.append(answer.body)
        text = (first[0] if what == "content" else answer.body).decode()
        if what == "content":
            text = re.sub(r"skiptoken=\d+", f"skiptoken={next(count)}", text)
            text = re.sub(r'"next_cursor": "\d+"', f'"next_cursor": "{next(count)}"', text)
        else:
            text = re.sub(r"skiptoken=\d+", "skiptoken=3", text)
            text = re.sub(r'"next_cursor": "\d+"', '"next_cursor": "3"', text)
        return type(answer)(text.encode())

    http_rig.http.every = endless
    with pytest.raises(ProtocolError, match="never ends"):
        http_rig.ingest("full")
    assert len(http_rig.http.requests) < 10
    assert history.open_table(http_rig.table) is None


def test_a_forbidden_entity_says_what_to_check(http_rig: Any, row: Make) -> None:
    http_rig.http.every = _status(403)
    with pytest.raises(AuthenticationError, match="authorizations"):
        http_rig.ingest("full")


def test_an_address_that_leads_elsewhere_is_a_configuration_error(http_rig: Any, row: Make) -> None:
    http_rig.http.every = _status(302, Location="https://login.example.com/?token=1")
    with pytest.raises(ConfigurationError, match=r"login\.example\.com") as caught:
        http_rig.ingest("full")
    assert "token=1" not in str(caught.value)


def test_a_row_that_a_shifting_page_sends_twice_is_kept_once(http_rig: Any, row: Make) -> None:
    http_rig.put(*[row(i) for i in range(6)])

    def twice(answer: Any) -> Any:
        page = json.loads(answer.body)
        rows = page["d"]["results"] if "d" in page else page.get("value", page.get("data"))
        rows.append(dict(rows[0]))
        return type(answer)(json.dumps(page).encode())

    http_rig.http.faults = [twice]
    result = http_rig.ingest("full")
    assert [r["Id"] for r in http_rig.bronze()] == [row(i)["Id"] for i in range(6)]
    assert result.total_rows == 6
