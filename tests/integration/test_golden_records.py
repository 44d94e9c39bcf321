"""Golden records in a real store: ids stay, what people decide holds, what was undone stays undone, nothing is lost."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import golden_corpus
import pyarrow as pa
import pytest
from datong_infra.cli.app import app
from datong_platform.errors import ConfigurationError, SchemaError
from datong_platform.lake import history
from datong_platform.names import TableName
from datong_platform.standard import decisions
from datong_platform.standard.decisions import DecidedOtherwiseError
from datong_platform.standard.matching import queue, run, store
from typer.testing import CliRunner

FIELDS = ("party_name", "credit_code", "erp_number", "city", "street", "phone", "email")
ERP = ("erp", "1", {"party_name": "上海恒通水务有限公司", "credit_code": "91350100M000100Y43", "city": "上海"})
CRM = ("crm", "7", {"party_name": "恆通水務（上海）股份有限公司", "city": "上海市"})
SHORT = ("crm", "8", {"party_name": "恒通水务"})
OTHER = ("erp", "2", {"party_name": "苏州鑫达化工有限公司", "city": "苏州", "credit_code": "91350100M000100Y51"})

Row = tuple[str, str, dict[str, Any]]


@pytest.fixture(autouse=True)
def lake_of_its_own(own_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lake of the test's own, which the engine need not know."""
    monkeypatch.setattr("datong_platform.lake.catalog.register", lambda _tables: None)


def match(*rows: Row) -> run.Outcome:
    named = [{"source_system": system, "source_key": key, **dict.fromkeys(FIELDS), **row} for system, key, row in rows]
    schema = pa.schema([(name, pa.string()) for name in ("source_system", "source_key", *FIELDS)])
    return run.match("customer", pa.Table.from_pylist(named, schema=schema))


def ids() -> dict[str, str]:
    delta = history.open_table(store.golden("customer"))
    assert delta is not None
    rows = delta.to_pyarrow_table().to_pylist()
    return {f"{row['source_system']}/{row['source_key']}": row["golden_id"] for row in rows}


def partition(given: Mapping[str, str]) -> set[frozenset[str]]:
    groups: dict[str, set[str]] = defaultdict(set)
    for record, golden_id in given.items():
        groups[golden_id].add(record)
    return {frozenset(group) for group in groups.values()}


def versions() -> list[int]:
    tables = [store.golden("customer"), store.records("customer"), store.pairs_of("customer"), store.HISTORY]
    return [delta.version() for table in tables if (delta := history.open_table(table))]


def told(kind: str) -> list[dict[str, Any]]:
    return [event for event in queue.events("customer") if event["event"] == kind]


def test_a_repeated_run_changes_nothing_and_commits_nothing() -> None:
    match(ERP, CRM, OTHER)
    before, committed = ids(), versions()
    assert before["erp/1"] == before["crm/7"] != before["erp/2"]
    outcome = match(OTHER, CRM, ERP)
    assert (outcome.fresh, outcome.gone, outcome.golden) == (0, 0, 2)
    assert (ids(), versions()) == (before, committed)


def test_ids_stay_when_records_come_change_go_and_return() -> None:
    match(ERP, OTHER)
    before = ids()
    match(ERP, OTHER, CRM)
    assert ids() == {**before, "crm/7": before["erp/1"]}
    match(OTHER, CRM)
    assert ids() == {"erp/2": before["erp/2"], "crm/7": before["erp/1"]}
    match(ERP, (*OTHER[:2], {**OTHER[2], "phone": "+8651287654321"}), CRM)
    assert ids() == {**before, "crm/7": before["erp/1"]}
    match(ERP)
    match(ERP, OTHER, CRM)
    assert ids() == {**before, "crm/7": before["erp/1"]}
    assert [event["golden_id"] for event in told("returned")].count(before["erp/2"]) == 1


def test_a_pair_between_the_thresholds_waits_is_explained_and_is_joined_when_accepted() -> None:
    match(ERP, SHORT, OTHER)
    (asked,) = queue.waiting("customer")
    assert {asked.left.title, asked.right.title} == {ERP[2]["party_name"], "恒通水务"}
    assert queue.counts()["customer"] == {"review": 1, "conflict": 0}
    found = {told["comparison"]: told for told in asked.evidence}
    assert found["name"]["level"] == "same name, region missing on one side"
    assert sum(told["weight"] for told in asked.evidence) == pytest.approx(asked.weight + 14.3, abs=0.2)
    queue.accept(asked.question_id, "li", "the sales office says so")
    assert queue.waiting("customer") == []
    match(ERP, SHORT, OTHER)
    now = ids()
    assert now["erp/1"] == now["crm/8"]
    assert [event["event"] for event in told("merged")] == ["merged"]


def test_a_rejected_pair_is_never_asked_again_nor_joined_by_others() -> None:
    match(ERP, SHORT)
    asked = queue.waiting("customer")[0]
    queue.reject(asked.question_id, "li", "another company")
    # now even a number in the ERP says that they are one
    match((*ERP[:2], {**ERP[2], "erp_number": "1"}), (*SHORT[:2], {**SHORT[2], "erp_number": "1"}))
    assert len(set(ids().values())) == 2
    assert queue.waiting("customer") == []
    with pytest.raises(ConfigurationError, match="does not wait"):
        queue.accept(asked.question_id, "wang", "no")


def test_a_wrong_merge_is_undone_gets_its_old_id_back_and_stays_undone() -> None:
    match(ERP, (*CRM[:2], {"party_name": "衡阳通达机械有限公司"}))
    before = ids()
    match(ERP, CRM)
    assert set(ids().values()) == {before["erp/1"]} or set(ids().values()) == {before["crm/7"]}
    gone = (set(before.values()) - set(ids().values())).pop()
    queue.undo(gone, "li", "two companies that share a name")
    match(ERP, CRM)
    assert ids() == before
    for phone in ("+862112345678", "+862112345679"):
        match((*ERP[:2], {**ERP[2], "phone": phone}), (*CRM[:2], {**CRM[2], "phone": phone}))
        assert ids() == before


def test_people_merge_and_split_and_the_last_word_counts() -> None:
    match(ERP, OTHER)
    before = ids()
    merged = queue.merge("customer", before["erp/1"], before["erp/2"], who="li", why="taken over")
    match(ERP, OTHER)
    assert len(set(ids().values())) == 1, "a person may join two credit codes"
    queue.undo(merged.decision_id, "li", "not yet")
    match(ERP, OTHER)
    assert ids() == before
    match(ERP, OTHER, CRM)
    queue.split("customer", before["erp/1"], ["crm/7"], who="li", why="a namesake")
    match(ERP, OTHER, CRM)
    now = ids()
    assert {key: now[key] for key in before} == before
    assert now["crm/7"] not in before.values()
    queue.merge("customer", before["erp/1"], now["crm/7"], who="wang", why="it is them")
    match(ERP, OTHER, CRM)
    assert ids()["crm/7"] == before["erp/1"]


def test_two_credit_codes_are_two_companies_and_a_person_is_asked_where_all_else_agrees() -> None:
    twin = ("crm", "9", {**ERP[2], "credit_code": OTHER[2]["credit_code"]})
    match(ERP, twin)
    assert len(set(ids().values())) == 2
    (asked,) = queue.waiting("customer")
    assert asked.state == "conflict"


def test_a_mistyped_number_does_not_join_two_companies() -> None:
    match((*ERP[:2], {**ERP[2], "erp_number": "1"}), ("crm", "9", {"party_name": "苏州鑫达化工", "erp_number": "1"}))
    assert len(set(ids().values())) == 2


def test_two_stewards_at_once_do_not_overrule_each_other_unseen() -> None:
    match(ERP, SHORT)
    asked = queue.waiting("customer")[0]
    left, right = asked.left, asked.right
    queue.reject(asked.question_id, "li", "another company")
    with pytest.raises(DecidedOtherwiseError, match="li decided"):
        decisions.record(
            decisions.NewDecision(
                "match",
                "customer",
                "wang",
                "looks alike",
                source_system=left.source_system,
                source_key=left.source_key,
                other_system=right.source_system,
                other_key=right.source_key,
            )
        )


def test_the_crosswalk_leads_both_ways_and_an_old_id_says_where_it_went() -> None:
    match(ERP, (*CRM[:2], {"party_name": "衡阳通达机械有限公司"}))
    before = ids()
    match(ERP, CRM)
    now = ids()["erp/1"]
    assert {f"{r.source_system}/{r.source_key}" for r in queue.golden("customer", now)} == {"erp/1", "crm/7"}
    assert {r.golden_id for r in queue.find("customer", "crm/7")} == {now}
    old = next(id_ for id_ in before.values() if id_ != now)
    with pytest.raises(ConfigurationError, match=f"merged into {now}"):
        queue.golden("customer", old)


def test_a_run_that_died_halfway_is_done_again_without_doubled_history(monkeypatch: pytest.MonkeyPatch) -> None:
    match(ERP, OTHER)
    with monkeypatch.context() as patch:
        patch.setattr(store, "write", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            match(ERP, OTHER, CRM)
    before = len(queue.events("customer"))
    match(ERP, OTHER, CRM)
    assert len(queue.events("customer")) == before
    assert ids()["crm/7"] == ids()["erp/1"]


def test_run_after_run_ends_where_one_run_over_everything_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records come, change, go and return by chance; what is known of them is written anew in between."""
    monkeypatch.setattr(run, "_SLACK", 40)
    dice = random.Random(11)
    every = {(row.source_system, row.source_key): row.fields for row in golden_corpus.parties(11, 120)}
    there: dict[tuple[str, str], dict[str, Any]] = {}
    modes: list[str] = []
    written = store.write
    monkeypatch.setattr(store, "write", lambda *a, **more: (modes.append(more.get("mode", "all")), written(*a, **more)))
    for _ in range(5):
        for key in dice.sample(sorted(every), 60):
            there[key] = every[key]
        for key in dice.sample(sorted(there), 12):
            there[key] = {**there[key], "phone": f"+8621{dice.randint(20000000, 89999999)}"}
        for key in dice.sample(sorted(there), 8):
            del there[key]
        match(*((system, key, row) for (system, key), row in there.items()))
    assert modes.count("append") > 1
    assert versions()[1] > modes.count("append"), "it was never written anew"
    stepwise = partition(ids())
    monkeypatch.setattr(store, "records", lambda entity: TableName("ops", f"again_{entity}"))
    monkeypatch.setattr(store, "pairs_of", lambda entity: TableName("ops", f"again_pair_{entity}"))
    monkeypatch.setattr(store, "golden", lambda entity: TableName("ops", f"again_golden_{entity}"))
    match(*((system, key, row) for (system, key), row in there.items()))
    assert partition(ids()) == stepwise
    assert len(stepwise) < len(there)


def test_what_was_lost_of_the_crosswalk_is_made_again() -> None:
    match(ERP, CRM, OTHER)
    before = ids()
    delta = history.open_table(store.golden("customer"))
    assert delta is not None
    delta.delete("source_system = 'crm'")
    match(ERP, CRM, OTHER)
    assert ids() == before
    assert {row.golden_id for row in queue.find("customer", "crm/7")} == {before["crm/7"]}


def test_what_an_earlier_version_kept_of_records_is_read_on() -> None:
    """Before, there were block_keys and no run; ids are kept, and nobody is new."""
    match(ERP, CRM, OTHER)
    before = ids()
    delta = history.open_table(store.records("customer"))
    assert delta is not None
    rows = delta.to_pyarrow_table()
    old = rows.drop_columns(["run", "block_hashes"]).append_column("block_keys", pa.array([["a"]] * len(rows)))
    store.write(store.records("customer"), old)
    assert match(ERP, CRM, OTHER).fresh == 0
    match(ERP, CRM, OTHER, SHORT)
    now = ids()
    assert {key: now[key] for key in before} == before


def test_a_record_given_twice_and_a_field_nobody_compares_are_refused() -> None:
    with pytest.raises(SchemaError, match="more than once"):
        match(ERP, ERP)
    with pytest.raises(SchemaError, match="shoe_size"):
        run.match("customer", pa.table({"source_system": ["erp"], "source_key": ["1"], "shoe_size": ["43"]}))


def test_a_steward_clears_the_queue_from_the_command_line() -> None:
    def datong(*arguments: str) -> Any:
        done = CliRunner().invoke(app, ["match", *arguments, "--format", "json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    match(ERP, SHORT, OTHER)
    (asked,) = datong("list", "customer")
    shown = datong("show", asked["question_id"])
    assert {told["title"] for told in shown["evidence"]} >= {"Name", "Telephone", "Address"}
    made = datong("accept", asked["question_id"], "--why", "same register", "--who", "li")
    assert (made["kind"], made["who"]) == ("match", "li")
    assert datong("list") == []
    match(ERP, SHORT, OTHER)
    (golden_id,) = {row["golden_id"] for row in datong("find", "customer", "crm/8")}
    assert {row["source_key"] for row in datong("find", "customer", golden_id)} == {"1", "8"}
    datong("split", "customer", golden_id, "crm/8", "--why", "no, another", "--who", "wang")
    match(ERP, SHORT, OTHER)
    assert ids()["crm/8"] != ids()["erp/1"]
    happened = [event["event"] for event in datong("history", "customer")]
    assert happened.count("merged") == 1
    (merged,) = (event for event in datong("history", "customer") if event["event"] == "merged")
    assert ids()["crm/8"] == merged["golden_id"] or ids()["erp/1"] == merged["golden_id"]
