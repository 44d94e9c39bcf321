"""What is particular to SOAP."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from datong_ingestion.source import connect
from datong_platform.errors import (
    AuthenticationError,
    ConfigurationError,
    ProtocolError,
    TerminalError,
    TransientError,
)
from datong_platform.lake import history

Make = Callable[..., dict[str, Any]]


def fault(text: str, code: str = "soap11env:Server", status: int = 500) -> Callable[[Any], Any]:
    body = (
        '<soap11env:Envelope xmlns:soap11env="http://schemas.xmlsoap.org/soap/envelope/"><soap11env:Body>'
        f"<soap11env:Fault><faultcode>{code}</faultcode><faultstring>{text}</faultstring>"
        "<detail><code>JBO-27122</code></detail></soap11env:Fault></soap11env:Body></soap11env:Envelope>"
    )
    return lambda answer: type(answer)(body.encode(), status, {"Content-Type": "text/xml"})


def changed(old: str, new: str) -> Callable[[Any], Any]:
    def change(answer: Any) -> Any:
        assert old.encode() in answer.body
        return type(answer)(answer.body.replace(old.encode(), new.encode()), 200, answer.headers)

    return change


def test_fields_and_types_come_from_the_wsdl(soap: Any) -> None:
    system = soap.system(fields={})
    source = connect(system)
    found = source.describe(system.entity("thing"))
    assert {item.name: item.type for item in found.schema} == {
        "Id": pa.string(),
        "Name": pa.string(),
        "Amount": pa.decimal128(38, 18),
        "DueOn": pa.date32(),
        "Active": pa.bool_(),
        "ChangedAt": pa.timestamp("us", "UTC"),
    }
    assert {"findThings", "logIn"} <= set(source.entities())
    source.close()


@pytest.mark.parametrize("kind", ["digest", "text"])
def test_every_message_bears_a_token_of_its_own(soap: Any, row: Make, kind: str) -> None:
    soap.server.guard = kind
    rows = [row(i) for i in range(8)]
    soap.put(*rows)
    result = soap.ingest("full", connection={"ws_security": {"kind": kind, "timestamp_seconds": 60}})
    assert result.rows == 8
    assert soap.current() == rows
    assert len(soap.server.nonces) == (3 if kind == "digest" else 0)


def test_a_message_that_is_sent_again_bears_a_new_nonce(soap: Any, row: Make, no_waiting: list[float]) -> None:
    soap.put(*[row(i) for i in range(4)])
    soap.server.faults = [lambda answer: type(answer)(b"busy", 503), lambda answer: type(answer)(b"<html>", 500)]
    assert soap.ingest("full").rows == 4
    assert len(soap.server.nonces) == 4


@pytest.mark.parametrize(
    "paging",
    [
        {"style": "offset", "limit": 2},
        {"style": "offset", "limit": 2, "more_path": "findThingsResult.HasMore"},
        {"style": "next_cursor", "next_path": "findThingsResult.Next"},
    ],
)
def test_every_way_of_paging_reads_every_row_once(soap: Any, row: Make, paging: dict[str, Any]) -> None:
    soap.put(*[row(i) for i in range(7)])
    start = {} if paging["style"] == "next_cursor" else {"start": "{offset}", "count": "{limit}"}
    options = {"rows_path": "findThingsResult.Thing", "arguments": {**start, "after": "{next}" if not start else ""}}
    soap.ingest("full", connection={"paging": paging}, options=options)
    assert [r["Id"] for r in soap.bronze()] == [row(i)["Id"] for i in range(7)]


def test_only_what_changed_since_the_cursor_is_asked_for(soap: Any, row: Make) -> None:
    soap.put(*[row(i) for i in range(20)])
    soap.ingest()
    soap.put(row(3, Name="second", ChangedAt=row(90)["ChangedAt"]))
    result = soap.ingest(overlap_seconds=60)
    assert (result.rows, result.unchanged_rows) == (1, 2)


@pytest.mark.parametrize("carried", ["header", "argument"])
def test_a_session_is_opened_carried_and_renewed_when_it_ends(soap: Any, row: Make, carried: str) -> None:
    soap.server.guard = "session"
    soap.put(*[row(i) for i in range(8)])
    log_in = {
        "operation": "logIn",
        "arguments": {"user_name": "{user}", "pass_word": "{password}"},
        "session_path": "logInResult",
        "expired_texts": ["session is invalid"],
        "log_out": "logOut",
        "log_out_arguments": {"session_id": "{session}"},
    }
    arguments = {"start": "{offset}", "count": "{limit}"}
    if carried == "header":
        log_in |= {"header": "SessionId", "header_namespace": "http://login.webservice.bos.kingdee.com"}
    else:
        arguments["session_id"] = "{session}"

    def forget(answer: Any) -> Any:
        soap.server.sessions.clear()
        return answer

    # the log-in, the first page, and then the session is gone
    soap.server.faults = [lambda answer: answer, forget]
    options = {"rows_path": "findThingsResult.Thing", "arguments": arguments}
    result = soap.ingest("full", connection={"ws_security": None, "log_in": log_in}, options=options)
    assert result.rows == 8
    assert soap.server.log_ins == 2
    assert soap.server.sessions == set(), "a session costs a licence"


def test_a_business_fault_that_speaks_of_security_is_no_refusal(soap: Any, row: Make) -> None:
    soap.put(row(1))
    soap.server.every = fault("The security deposit of the supplier is missing")
    with pytest.raises(TerminalError, match="security deposit") as caught:
        soap.ingest("full")
    assert not isinstance(caught.value, AuthenticationError)


def test_a_document_in_a_text_is_read_with_its_attributes(soap: Any, row: Make) -> None:
    soap.put(*[row(i) for i in range(5)])
    result = soap.ingest(
        "full",
        source="exportThings",
        keys=["id"],
        fields={"id": "string", "name": "string", "amount": "decimal(13,3)", "changed": "timestamp"},
        options={"rows_path": "thing", "payload": "xml_in_text"},
        connection={
            "success_path": "@succeed",
            "success_values": [0],
            "message_path": "@dsc",
            "paging": {"style": "none"},
        },
    )
    assert (result.rows, result.rescued) == (5, 0)
    delta = history.open_table(soap.table)
    assert delta
    found = sorted(delta.to_pyarrow_table().to_pylist(), key=lambda r: r["id"])
    assert [(r["id"], r["amount"], r["changed"]) for r in found] == [
        (row(i)["Id"], row(i)["Amount"], row(i)["ChangedAt"]) for i in range(5)
    ]


def test_a_failure_told_in_a_good_answer_is_an_error(soap: Any, row: Make) -> None:
    soap.put(row(1))
    soap.server.document = lambda _since: '<ufinterface succeed="1" dsc="单据不存在"></ufinterface>'
    with pytest.raises(ProtocolError, match="单据不存在"):
        soap.ingest(
            "full",
            source="exportThings",
            keys=["id"],
            fields={"id": "string"},
            options={"rows_path": "thing", "payload": "xml_in_text"},
            connection={
                "success_path": "@succeed",
                "success_values": [0],
                "message_path": "@dsc",
                "paging": {"style": "none"},
            },
        )


def test_a_fault_is_an_error_with_the_business_reason(soap: Any, row: Make) -> None:
    soap.put(row(1))
    soap.server.every = fault("The purchase order is locked by another user")
    with pytest.raises(TerminalError, match=r"locked by another user JBO-27122") as caught:
        soap.ingest("full")
    assert f"{soap.name}.thing" in caught.value.thing
    assert history.open_table(soap.table) is None


def test_a_fault_that_passes_is_tried_again(soap: Any, row: Make, no_waiting: list[float]) -> None:
    soap.put(row(1))
    soap.server.faults = [fault("ORA-00054 resource busy")]
    assert soap.ingest("full", connection={"passing_texts": ["resource busy"]}).rows == 1
    assert len(no_waiting) == 1
    soap.server.every = fault("ORA-00054 resource busy")
    with pytest.raises(TransientError, match="resource busy"):
        soap.ingest("full", connection={"passing_texts": ["resource busy"]})


def test_a_wrong_password_is_told_without_it(soap: Any, row: Make) -> None:
    soap.put(row(1))
    with pytest.raises(AuthenticationError, match="FailedAuthentication") as caught:
        soap.ingest("full", connection={"password": "wrong-pass-5"})
    assert "wrong-pass-5" not in str(caught.value)
    assert caught.value.next_step


def test_values_that_misfit_are_rescued_and_unknown_fields_kept(soap: Any, row: Make) -> None:
    soap.put(row(1), row(2))
    soap.server.faults = [
        lambda answer: changed("2.125", "a lot")(
            changed("部件 1", "x</tns:Name><tns:Extra>new</tns:Extra><tns:Name>y")(answer)
        )
    ]
    result = soap.ingest("full")
    first, second = soap.bronze()
    assert result.rescued == 2
    assert json.loads(first["_datong_rescued"]) == {"Extra": "new", "Name": ["x", "y"]}
    assert json.loads(second["_datong_rescued"]) == {"Amount": "a lot"}
    assert second["Amount"] is None
    assert result.new_columns == ["Extra"]


def test_nothing_is_null_and_empty_is_empty(soap: Any, row: Make) -> None:
    soap.put(row(1, Name=None, Amount=None, DueOn=None, Active=None), row(2, Name=""))
    soap.ingest("full")
    assert soap.current() == [row(1, Name=None, Amount=None, DueOn=None, Active=None), row(2, Name="")]


def test_the_values_of_axis_are_found_where_they_are_referred_to(soap: Any, row: Make) -> None:
    soap.put(row(1))
    answer = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><findThingsResponse>'
        '<findThingsResult href="#id0"/></findThingsResponse>'
        '<multiRef id="id0"><Thing href="#id1"/></multiRef>'
        '<multiRef id="id1"><Id>00001</Id><Amount href="#id2"/></multiRef><multiRef id="id2">7.5</multiRef>'
        "</e:Body></e:Envelope>"
    )
    soap.server.every = lambda old: type(old)(answer.encode(), 200, {"Content-Type": "text/xml"})
    soap.ingest("full", connection={"paging": {"style": "none"}})
    assert [(r["Id"], r["Amount"]) for r in soap.bronze()] == [("00001", Decimal("7.500"))]


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
XXE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("poison", [LAUGHS, XXE])
@pytest.mark.parametrize("where", ["answer", "text in an answer"])
def test_a_document_type_is_refused(soap: Any, row: Make, poison: str, where: str) -> None:
    soap.put(row(1))
    changes: dict[str, Any] = {}
    if where == "answer":
        soap.server.every = lambda old: type(old)(poison.encode() + old.body.partition(b"?>")[2], 200, old.headers)
    else:
        soap.server.document = lambda _since: f"{poison}<ufinterface>&a;</ufinterface>"
        changes = {
            "source": "exportThings",
            "keys": ["id"],
            "fields": {"id": "string"},
            "options": {"rows_path": "thing", "payload": "xml_in_text"},
            "connection": {"paging": {"style": "none"}},
        }
    with pytest.raises(ProtocolError, match="document type or entities"):
        soap.ingest("full", **changes)


def test_deep_nesting_is_refused(soap: Any, row: Make, no_waiting: list[float]) -> None:
    soap.put(row(1))
    deep = b"<a>" * 100_000 + b"</a>" * 100_000
    soap.server.every = lambda old: type(old)(deep, 200, old.headers)
    with pytest.raises(ProtocolError, match="not XML"):
        soap.ingest("full")


def test_a_wsdl_that_refers_to_a_file_is_refused(soap: Any, tmp_path: Any) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "secret.xsd").write_text("<x/>", encoding="utf-8")
    wsdl = tmp_path / "own" / "service.wsdl"
    wsdl.write_text(
        '<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" targetNamespace="urn:a">'
        f'<import namespace="urn:b" location="file://{tmp_path}/secret.xsd"/></definitions>',
        encoding="utf-8",
    )
    with pytest.raises(ProtocolError, match="refers to"):
        soap.ingest("full", connection={"wsdl": str(wsdl)})


def test_an_unknown_operation_lists_those_there_are(soap: Any) -> None:
    with pytest.raises(ConfigurationError, match="no operation findNothing") as caught:
        soap.ingest("full", source="findNothing")
    assert "findThings" in caught.value.next_step


def test_a_wrong_argument_names_what_the_operation_takes(soap: Any) -> None:
    options = {"rows_path": "findThingsResult.Thing", "arguments": {"begin": "1"}}
    with pytest.raises(ConfigurationError, match="begin") as caught:
        soap.ingest("full", options=options)
    assert "start" in caught.value.next_step


def test_an_answer_that_never_ends_is_an_error(soap: Any, row: Make) -> None:
    soap.put(*[row(i) for i in range(3)])
    pages: list[Any] = []

    def again(answer: Any) -> Any:
        pages.append(answer)
        return changed("<tns:HasMore>false", "<tns:HasMore>true")(pages[0])

    soap.server.every = again
    with pytest.raises(ProtocolError, match="never ends"):
        soap.ingest("full")
    assert len(pages) == 2


def test_a_proxy_whose_token_expires_in_the_middle_is_asked_for_a_new_one(soap: Any, row: Make) -> None:
    soap.server.guard = "token"
    soap.put(*[row(i) for i in range(8)])

    def expire(answer: Any) -> Any:
        soap.server.tokens.clear()
        return answer

    soap.server.faults = [expire]
    connection = {
        "profile": "yonyou_u8",
        "auth": "session",
        "ws_security": None,
        "variables": {"app_key": "k", "from_account": "001"},
        # the answers of this service are no documents of EAI
        "success_path": "",
        "success_values": [],
    }
    assert soap.ingest("full", connection=connection).rows == 8
    asked = [text for text in soap.server.requests if "/system/token" in text]
    assert len(asked) == 2
    with pytest.raises(AuthenticationError, match="app_secret错误") as caught:
        soap.ingest("full", connection=connection | {"password": "wrong-secret-3"})
    assert "wrong-secret-3" not in str(caught.value)


def test_a_condition_on_the_cursor_is_added_only_when_there_is_one(soap: Any, row: Make) -> None:
    soap.put(*[row(i) for i in range(20)])
    options = {
        "rows_path": "findThingsResult.Thing",
        "arguments": {"start": "{offset}", "count": "{limit}"},
        "since_arguments": {"changed_since": "{since}"},
    }
    assert soap.ingest(options=options).rows == 20
    soap.put(row(4, Name="second", ChangedAt=row(95)["ChangedAt"]))
    result = soap.ingest(options=options, overlap_seconds=0)
    assert (result.rows, result.unchanged_rows) == (1, 1)
