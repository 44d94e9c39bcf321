"""The contract that every protocol keeps: the same promises for OData, REST and SQL."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from datong_ingestion.run import IngestOutcome, IngestResult, ingest_entity, ingest_system
from datong_ingestion.source import connect
from datong_platform.errors import AuthenticationError, ConfigurationError, DatongError, SchemaError, TransientError
from datong_platform.lake import history, landing, load, storage
from kills import STEPS, Killed, killed_at

Make = Callable[..., dict[str, Any]]
TYPES = {
    "Id": pa.string(),
    "Name": pa.string(),
    "Amount": pa.decimal128(13, 3),
    "DueOn": pa.date32(),
    "Active": pa.bool_(),
    "ChangedAt": pa.timestamp("us", "UTC"),
}


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in TYPES} for row in rows]


def test_discovery_names_the_entity(rig: Any) -> None:
    source = connect(rig.system())
    assert any(address.endswith(("Things", "things", f"{rig.name}.thing")) for address in source.entities())
    source.close()


def test_schema_and_keys_come_with_exact_types(rig: Any) -> None:
    system = rig.system()
    source = connect(system)
    found = source.describe(system.entity("thing"))
    assert {name: found.schema.field(name).type for name in TYPES} == TYPES
    assert found.keys == (("_id",) if rig.protocol == "mongodb" else ("Id",))
    assert "ChangedAt" in found.cursors
    source.close()


def test_full_read_lands_every_row_exactly(rig: Any, row: Make) -> None:
    rows = [row(i) for i in range(1, 11)] + [row(99, Name=None, Amount=None, DueOn=None, Active=None)]
    rig.put(*rows)
    result = rig.ingest("full")
    found = rig.bronze()
    assert plain(found) == rows
    assert {r["_datong_operation"] for r in found} == {"snapshot"}
    assert {r["_datong_batch_id"] for r in found} == {"000000000001"}
    assert {r["_datong_rescued"] for r in found} == {None}
    assert abs(found[0]["_datong_ingested_at"] - datetime.now(UTC)) < timedelta(minutes=5)
    assert (result.rows, result.total_rows, result.batches, result.new_table) == (11, 11, ["000000000001"], True)


def test_full_read_of_the_same_content_makes_no_commit(rig: Any, row: Make) -> None:
    rig.put(*[row(i) for i in range(5)])
    first = rig.ingest("full")
    again = rig.ingest("full")
    assert (again.rows, again.batches, again.delta_version) == (0, [], first.delta_version)
    rig.put(row(2, Name="changed"))
    rig.remove("00003")
    changed = rig.ingest("full")
    assert changed.batches == ["000000000002"]
    assert [r["Id"] for r in rig.bronze()] == ["00000", "00001", "00002", "00004"]
    assert rig.bronze()[2]["Name"] == "changed"


def test_an_empty_entity_still_gets_its_table(rig: Any, row: Make) -> None:
    result = rig.ingest()
    assert (result.rows, result.total_rows, result.new_table) == (0, 0, True)
    assert {name: result.schema.field(name).type for name in TYPES} == TYPES
    version = rig.ingest().delta_version
    assert rig.ingest().delta_version == version
    rig.put(row(1))
    assert rig.ingest().rows == 1


def test_incremental_read_appends_only_what_changed(rig: Any, row: Make) -> None:
    rig.put(*[row(i) for i in range(8)])
    assert rig.ingest().rows == 8
    later = {"ChangedAt": row(500)["ChangedAt"]}
    rig.put(row(3, Name="second", **later), row(20, **later))
    result = rig.ingest()
    assert result.rows == 2
    added = [r for r in rig.bronze() if r["_datong_batch_id"] == result.batches[-1]]
    assert [r["Id"] for r in added] == ["00003", "00020"]
    assert {r["_datong_operation"] for r in added} <= {"insert", "update"}
    idle = rig.ingest()
    assert (idle.rows, idle.deletes, idle.batches, idle.delta_version) == (0, 0, [], result.delta_version)


def test_deletes_are_carried_through(rig: Any, row: Make) -> None:
    mode = "full" if rig.protocol in {"rest", "soap"} else None
    rig.put(*[row(i) for i in range(6)])
    rig.ingest(mode)
    rig.remove("00002", "00004")
    result = rig.ingest(mode)
    assert [r["Id"] for r in rig.current()] == ["00000", "00001", "00003", "00005"]
    if mode is None:
        assert (result.rows, result.deletes) == (0, 2)
        assert rig.ingest().batches == []


def test_a_deleted_key_may_come_back(rig: Any, row: Make) -> None:
    if rig.protocol in {"rest", "soap"}:
        pytest.skip("a plain service tells no deletes")
    rig.put(row(1), row(2))
    rig.ingest()
    rig.remove("00001")
    rig.ingest()
    rig.put(row(1))
    rig.ingest()
    assert [r["Id"] for r in rig.current()] == ["00001", "00002"]


def test_bronze_follows_the_source_through_any_changes(rig: Any, row: Make) -> None:
    dice = random.Random(7)
    known: dict[str, dict[str, Any]] = {}
    clock = 1000
    for _ in range(6):
        for number in dice.sample(range(30), 8):
            clock += 1
            changed = row(number, Name=f"at {clock}", ChangedAt=row(clock)["ChangedAt"])
            rig.put(changed)
            known[changed["Id"]] = changed
        if rig.protocol not in {"rest", "soap"}:
            for key in dice.sample(sorted(known), 2):
                rig.remove(key)
                del known[key]
        rig.ingest()
        assert rig.current() == [known[key] for key in sorted(known)]


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_and_a_new_run_give_the_same_table(rig: Any, row: Make, step: str) -> None:
    rows = [row(i) for i in range(7)]
    rig.put(*rows)
    with killed_at(STEPS[step]):
        rig.ingest()
    rig.ingest()
    assert plain(rig.bronze()) == rows
    later = {"ChangedAt": row(800)["ChangedAt"]}
    rig.put(row(3, Name="later", **later), row(40, **later))
    with killed_at(STEPS[step]):
        rig.ingest()
    rig.ingest()
    assert len(rig.bronze()) == 9
    assert [r["Name"] for r in rig.current() if r["Id"] in {"00003", "00040"}] == ["later", "部件 40"]


def test_two_runs_at_once_load_every_row_once(rig: Any, row: Make) -> None:
    rows = [row(i) for i in range(12)]
    rig.put(*rows)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: rig.ingest(), range(4)))
    assert plain(rig.bronze()) == rows
    assert all(result.total_rows == 12 for result in results)


def test_a_deleted_table_comes_back(rig: Any, row: Make) -> None:
    for number in range(1, 5):
        rig.put(row(number, ChangedAt=row(number * 100)["ChangedAt"]))
        rig.ingest(retention={"landed_batches": 2})
    for key in list(storage.keys(f"{rig.table.path}/")):
        storage.delete(key)
    result = rig.ingest()
    assert (result.batches, result.new_table) == (["000000000005"], True)
    assert [r["Id"] for r in rig.bronze()] == ["00001", "00002", "00003", "00004"]


def test_a_value_that_does_not_fit_is_rescued_and_its_row_kept(rig: Any, row: Make) -> None:
    if rig.protocol == "soap":
        pytest.skip("a service that types its answers cannot send it; test_soap changes them on the wire")
    if rig.protocol == "sql":
        rig.put(row(1))
        bad = rig.spoil()
    else:
        rig.put(row(1) | {"Amount": "a lot", "DueOn": "soon"})
        bad = {"Amount", "DueOn"}
    rig.put(row(2))
    result = rig.ingest("full")
    first, second = rig.bronze()
    assert result.rescued == 1
    assert all(first[name] is None for name in bad)
    assert set(json.loads(first["_datong_rescued"])) == bad
    assert first["Name"] == row(1)["Name"]
    assert plain([second]) == [row(2)]
    assert second["_datong_rescued"] is None


def test_a_decimal_with_too_many_digits_is_rescued_not_rounded(rig: Any, row: Make) -> None:
    if rig.protocol == "sql":
        pytest.skip("the database itself refuses it")
    rig.put(row(1, Amount=Decimal("1.23456")), row(2, Amount=Decimal("12345678901.5")))
    rig.ingest("full")
    rescued = [json.loads(r["_datong_rescued"])["Amount"] for r in rig.bronze()]
    assert [str(value) for value in rescued] == ["1.23456", "12345678901.5"]
    assert {r["Amount"] for r in rig.bronze()} == {None}


def test_a_field_nobody_described_is_reported_and_nothing_of_it_lost(rig: Any, row: Make) -> None:
    if rig.protocol == "soap":
        pytest.skip("a service that types its answers cannot send it; test_soap changes them on the wire")
    rig.put(row(1))
    rig.ingest("full")
    if rig.protocol == "sql":
        rig.add_text("Extra")
    rig.put(row(2) | {"Extra": "new"})
    result = rig.ingest("full")
    assert result.new_columns == ["Extra"]
    second = rig.bronze()[1]
    if rig.protocol in {"sql", "mongodb"}:
        assert second["Extra"] == "new"
    else:
        assert json.loads(second["_datong_rescued"]) == {"Extra": "new"}
        assert result.rescued == 1


def test_a_changed_type_stops_with_field_old_new_and_next_step(rig: Any, row: Make) -> None:
    rig.put(row(1))
    rig.ingest("full")
    version = len(history.loads(rig.table))
    fields: dict[str, Any] = {}
    if rig.protocol.startswith("odata"):
        rig.server.types["Amount"] = 'Type="Edm.Boolean"'
    elif rig.protocol in {"rest", "files", "mongodb", "soap", "xml"}:
        fields = {"fields": rig.entity()["fields"] | {"Amount": "boolean"}}
    else:
        rig.retype("Amount", "boolean")
    with pytest.raises(SchemaError) as caught:
        rig.ingest("full", **fields)
    text = str(caught.value)
    assert f"{rig.table}.Amount" in text
    assert "decimal(13,3)" in text
    assert "boolean" in text
    assert "--rebuild" in text
    assert len(history.loads(rig.table)) == version
    ingest_entity(rig.system("full", **fields), "thing", rebuild=True)
    assert history.open_table(rig.table) is not None
    assert rig.ingest("full", **fields).schema.field("Amount").type == pa.bool_()


def test_a_wider_type_widens_the_table_and_keeps_its_history(rig: Any, row: Make) -> None:
    rig.put(row(1), row(2))
    rig.ingest()
    fields: dict[str, Any] = {}
    if rig.protocol.startswith("odata"):
        rig.server.types["Amount"] = 'Type="Edm.Decimal" Precision="20" Scale="5"'
    elif rig.protocol in {"rest", "files", "mongodb", "soap", "xml"}:
        fields = {"fields": rig.entity()["fields"] | {"Amount": "decimal(20,5)"}}
    else:
        rig.retype("Amount", "numeric(20,5)")
    rig.put(row(3, Amount=Decimal("123456789012345.12345"), ChangedAt=row(900)["ChangedAt"]))
    result = rig.ingest(**fields)
    assert result.widened_columns == ["Amount"]
    assert result.schema.field("Amount").type == pa.decimal128(20, 5)
    amounts = {r["Id"]: r["Amount"] for r in rig.current()}
    assert amounts == {
        "00001": Decimal("1.125"),
        "00002": Decimal("2.125"),
        "00003": Decimal("123456789012345.12345"),
    }
    assert rig.ingest(**fields).rows == 0


def test_a_wrong_password_names_system_entity_and_next_step(rig: Any, row: Make) -> None:
    wrong = {"url": rig.url.replace(rig.secret, "wrong")} if hasattr(rig, "url") else {}
    wrong |= {"password": "wrong"} if rig.protocol.startswith(("odata", "files", "soap", "xml")) else {}
    wrong |= {"token": "wrong"} if rig.protocol == "rest" else {}
    with pytest.raises(AuthenticationError) as caught:
        rig.ingest(connection=wrong)
    assert f"{rig.name}.thing" in str(caught.value)
    assert caught.value.next_step
    assert "wrong" not in str(caught.value).replace("wrong user", "")


def test_an_unreachable_host_names_itself_and_does_not_stop_the_others(rig: Any, no_waiting: list[float]) -> None:
    nowhere = {"url": f"{urlsplit(getattr(rig, 'url', '')).scheme}://someone:hidden-1@127.0.0.1:9/x"}
    nowhere = nowhere if hasattr(rig, "url") else {"base_url": "http://127.0.0.1:9/api"}
    nowhere = (
        {"location": "sftp://127.0.0.1:9/", "password": "hidden-1"} if rig.protocol in {"files", "xml"} else nowhere
    )
    heard: list[IngestOutcome] = []
    system = rig.system(connection=nowhere)
    outcomes = ingest_system(system, on_done=heard.append)
    assert heard == outcomes
    error = outcomes[0].result
    assert isinstance(error, TransientError)
    assert f"{rig.name}.thing" in str(error)
    assert "127.0.0.1:9" in str(error)
    assert "hidden-1" not in str(error)
    assert error.next_step
    if rig.protocol != "mongodb":  # whose driver tries again by itself, within a time
        assert len(no_waiting) == 2, "three attempts, with a pause before each further one"


def test_what_was_landed_is_loaded_even_when_the_source_is_away(
    rig: Any, row: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.put(row(1))
    with monkeypatch.context() as patch:
        patch.setattr(load, "load", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            rig.ingest()
    away = {"base_url": "http://127.0.0.1:9"}
    if hasattr(rig, "url"):
        away = {"url": f"{urlsplit(rig.url).scheme}://a:b@127.0.0.1:9/x"}
    if rig.protocol in {"files", "xml"}:
        away = {"location": "sftp://127.0.0.1:9/"}
    with pytest.raises(TransientError):
        rig.ingest(connection=away | {"attempts": 1})
    assert plain(rig.bronze()) == [row(1)]


def test_a_field_that_is_named_and_missing_is_a_configuration_error(rig: Any, row: Make) -> None:
    rig.put(row(1))
    named = {"soft_delete": {"column": "Nope"}} if rig.incremental == "stream" else {"mode": "cursor", "cursor": "Nope"}
    with pytest.raises(ConfigurationError, match="Nope") as caught:
        rig.ingest(**named)
    assert "ChangedAt" in caught.value.next_step or "Nope" in caught.value.reason


def test_no_secret_is_written_anywhere(rig: Any, row: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.DEBUG)
    rig.put(*[row(i) for i in range(4)])
    result = rig.ingest()
    errors: list[DatongError] = []
    if rig.http:
        rig.http.every = lambda answer: type(answer)(f'{{"error": "bad {rig.secret}"}}'.encode(), 400)
        for outcome in ingest_system(rig.system()):
            assert isinstance(outcome.result, DatongError)
            errors.append(outcome.result)
    manifest = landing.read_manifest(rig.name, "thing", 1)
    assert manifest
    commits = [storage.get(key) or b"" for key in storage.keys(f"{rig.table.path}/_delta_log/")]
    written = [caplog.text, str(result), repr(errors), manifest.to_json().decode(), repr(rig.system())]
    written += [body.decode(errors="replace") for body in commits]
    for text in written:
        assert rig.secret not in text


def test_the_tables_own_log_tells_every_load(rig: Any, row: Make) -> None:
    rig.put(row(1))
    rig.ingest()
    rig.put(row(2, ChangedAt=row(700)["ChangedAt"]))
    result = rig.ingest()
    newest, oldest = history.loads(rig.table)
    assert (newest.batch_id, newest.rows, newest.kind) == ("000000000002", 1, "changes")
    first = "changes" if rig.incremental == "stream" else "baseline"
    assert (oldest.batch_id, oldest.rows, oldest.kind) == ("000000000001", 1, first)
    assert newest.position == result.position
    assert newest.version == result.delta_version


def test_rows_received_are_rows_landed_superseded_or_known(rig: Any, row: Make) -> None:
    rig.put(*[row(i) for i in range(9)])
    rig.ingest()
    rig.put(row(4, ChangedAt=row(600)["ChangedAt"]))
    rig.ingest()
    for sequence in (1, 2):
        found = landing.read_manifest(rig.name, "thing", sequence)
        assert found
        assert found.received_rows == found.row_count + found.superseded_rows + found.unchanged_rows


def test_a_baseline_on_request_keeps_history_and_finds_deletes(rig: Any, row: Make) -> None:
    rig.put(*[row(i) for i in range(5)])
    rig.ingest()
    rig.remove("00001")
    result = ingest_entity(rig.system(), "thing", baseline=True)
    assert isinstance(result, IngestResult)
    assert (result.rows, result.deletes) == (4, 1)
    assert [r["Id"] for r in rig.current()] == ["00000", "00002", "00003", "00004"]
    assert len(rig.bronze()) == 10
