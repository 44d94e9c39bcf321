"""Matching against a corpus whose truth is known, and the parts it is made of. No service is needed."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import golden_corpus
import pytest
from datong_platform.errors import ConfigurationError
from datong_platform.standard import authority
from datong_platform.standard.matching import clusters, features, identity, model, pairs, text
from datong_platform.standard.matching.clusters import Decisions, Groups, Pair
from datong_platform.standard.matching.identity import Held
from golden_corpus import Row


def groups_of(entity: str, rows: Iterable[Row]) -> Groups:
    wanted = model.load(entity)
    given = [
        {
            "unique_id": f"{row.source_system}/{row.source_key}",
            "source_system": row.source_system,
            "source_key": row.source_key,
            "digest": "-",
            **row.fields,
        }
        for row in rows
    ]
    compared = features.of(wanted.kind, given)
    connection = pairs.connect()
    connection.register("_compared", compared)
    connection.execute("create table everyone as select * from _compared")
    connection.execute("create view fresh as from everyone")
    found = pairs.found(connection, wanted).to_pylist()
    connection.close()
    exclusive = [key.column for key in wanted.sure_keys if key.exclusive]
    values = {
        row["unique_id"]: frozenset(f"{column} {row[column]}" for column in exclusive if row[column])
        for row in compared.to_pylist()
    }
    listed = (Pair(pair["left_id"], pair["right_id"], pair["probability"], pair["sure_by"]) for pair in found)
    return clusters.grouped(listed, values, Decisions(), wanted.accept)


def couples(groups: Iterable[list[str]]) -> set[frozenset[str]]:
    return {frozenset(pair) for group in groups for pair in itertools.combinations(group, 2)}


def truth_of(rows: Iterable[Row]) -> list[list[str]]:
    same: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        same[row.truth].append(f"{row.source_system}/{row.source_key}")
    return list(same.values())


@pytest.mark.parametrize(
    ("entity", "seed"), [("customer", 101), ("customer", 102), ("supplier", 103), ("material", 104), ("material", 105)]
)
def test_of_the_corpus_99_in_100_matches_are_right_and_95_in_100_are_found(entity: str, seed: int) -> None:
    make = golden_corpus.materials if entity == "material" else golden_corpus.parties
    rows = make(seed, 600)
    found, true = couples(groups_of(entity, rows).members), couples(truth_of(rows))
    assert len(true) > 500
    precision, recall = len(found & true) / len(found), len(found & true) / len(true)
    print(f"{entity} {seed}: {len(rows)} records, precision {precision:.4f}, recall {recall:.4f}")
    assert precision >= 0.99
    assert recall >= 0.95


def test_every_kind_of_dirt_is_met_by_the_corpus_and_most_of_each_is_found() -> None:
    rows = golden_corpus.parties(106, 900)
    found = couples(groups_of("customer", rows).members)
    by_id = {f"{row.source_system}/{row.source_key}": row for row in rows}
    met: dict[str, list[bool]] = defaultdict(list)
    for pair in couples(truth_of(rows)):
        for dirt in {dirt for record in pair for dirt in by_id[record].dirt}:
            met[dirt].append(pair in found)
    assert met.keys() >= {*golden_corpus.NAME_DIRT, *golden_corpus.SPELLING_DIRT}
    poor = {dirt: sum(hits) / len(hits) for dirt, hits in met.items() if sum(hits) / len(hits) < 0.8}
    assert poor == {}


def test_the_order_of_records_does_not_matter() -> None:
    rows = golden_corpus.parties(107, 150)
    assert groups_of("customer", rows).members == groups_of("customer", rows[::-1]).members


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("上海恒通水务有限公司", "恒通水务（上海）有限责任公司"),
        ("上海恒通水务有限公司", " 上海市恒通 水务 股份有限公司"),
        ("廣東東風機械股份有限公司", "广东东风机械有限公司"),
        ("ＡＢＣ Co., Ltd.", "abc company limited"),
        ("Bosch GmbH", "BOSCH"),
    ],
)
def test_spellings_of_one_company_have_one_core(one: str, other: str) -> None:
    assert text.company(one).core == text.company(other).core


def test_a_branch_is_not_its_company() -> None:
    branch = text.company("上海恒通水务有限公司苏州分公司")
    assert (branch.core, branch.branch) == ("上海恒通水务", "苏州分公司")
    assert text.company("上海恒通水务有限公司").branch == ""


def test_a_name_that_is_a_region_keeps_it() -> None:
    assert text.company("中国").brand == "中国"
    assert text.company("上海有限公司").brand == "上海"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("六角螺栓 M8×40", "M8*40六角螺栓"),
        ("球阀 DN25", "球閥ＤＮ２５"),
        ("电机 1.50kW", "电机1.5KW"),
        ("M8×40mm", "M8x40"),
    ],
)
def test_spellings_of_one_size_are_equal(one: str, other: str) -> None:
    assert text.article(one).specs == text.article(other).specs


def test_the_next_size_is_another_article() -> None:
    assert text.article("六角螺栓 M8×40").specs != text.article("六角螺栓 M8×45").specs


@pytest.mark.parametrize("entity", model.entities())
def test_what_a_comparison_may_find_adds_up_to_one(entity: str) -> None:
    """A level's m and u are shares of all pairs; when they do not add up, a weight is wrong."""
    for comparison in model.load(entity).comparisons:
        assert sum(level.m or 0 for level in comparison.levels) == pytest.approx(1, abs=0.002), comparison.name
        assert sum(level.u or 0 for level in comparison.levels) == pytest.approx(1, abs=0.002), comparison.name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("accept: 0.95", "accept: 0.1"), "review is above accept"),
        (("when: else", "when: maybe"), "last level"),
        (("prior:", "prio:"), "prio"),
        (("needs_likeness_of: name", "needs_likeness_of: nam"), "no comparison nam"),
    ],
)
def test_a_matching_model_that_makes_no_sense_is_refused(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "customer.yaml"
    content = (model.FOLDER / "customer.yaml").read_text("utf-8")
    path.write_text(content.replace(*change), "utf-8")
    with pytest.raises(ConfigurationError, match=said):
        model.parse("customer", path)


def test_a_weak_pair_in_the_middle_does_not_chain_two_credit_codes_together() -> None:
    listed = [Pair("a", "b", 0.99), Pair("b", "c", 0.97)]
    codes = {"a": frozenset({"credit_code 1"}), "c": frozenset({"credit_code 2"})}
    groups = clusters.grouped(listed, codes, Decisions(), 0.95)
    assert groups.members == [["a", "b"], ["c"]]
    assert groups.refused == {("b", "c")}


def test_what_people_took_apart_is_not_joined_by_way_of_a_third() -> None:
    listed = [Pair("a", "b", 0.99), Pair("b", "c", 0.98)]
    groups = clusters.grouped(listed, {}, Decisions(apart={("a", "c"): "d1"}), 0.95)
    assert groups.members == [["a", "b"], ["c"]]


def test_ids_are_the_same_on_every_machine_and_the_oldest_survives_a_merge() -> None:
    first = identity.assigned("customer", "C", [["erp/1"], ["crm/7"]], {}, 1)
    assert first == identity.assigned("customer", "C", [["crm/7"], ["erp/1"]], {}, 1)
    later = identity.assigned("customer", "C", [["erp/1"], ["crm/7"], ["crm/8"]], first, 2)
    merged = identity.assigned("customer", "C", [["crm/8", "erp/1"], ["crm/7"]], later, 3)
    assert merged["crm/8"].golden_id == first["erp/1"].golden_id
    parted = identity.assigned("customer", "C", [["crm/8"], ["erp/1"], ["crm/7"]], merged, 4)
    assert parted["crm/8"].golden_id == later["crm/8"].golden_id


def test_an_id_that_lives_on_with_others_is_not_given_to_the_record_it_began_with() -> None:
    first = identity.assigned("customer", "C", [["crm/7", "erp/1"]], {}, 1)
    began = next(record for record in first if identity.own_id("C", "customer", record) == first[record].golden_id)
    (other,) = set(first) - {began}
    without = identity.assigned("customer", "C", [[other]], first, 2)
    assert without[other].golden_id == first[other].golden_id
    assert without[began].is_gone
    back = identity.assigned("customer", "C", [[began], [other]], without, 3)
    assert back[other].golden_id == first[other].golden_id
    assert back[began].golden_id != back[other].golden_id


def test_no_two_groups_ever_share_an_id() -> None:
    """Any partition after any other: ids differ between groups, and nobody who is there is without one."""
    records = [f"erp/{number}" for number in range(5)]
    before: dict[str, Held] = {}
    for run, cuts in enumerate(itertools.product(range(3), repeat=5), start=1):
        groups: dict[int, list[str]] = defaultdict(list)
        for record, group in zip(records, cuts, strict=True):
            if (run + int(record[-1])) % 4:
                groups[group].append(record)
        before = identity.assigned("customer", "C", list(groups.values()), before, run)
        given = [{before[record].golden_id for record in group} for group in groups.values()]
        assert all(len(ids) == 1 for ids in given)
        assert len(set.union(set(), *given)) == len(given)


def test_the_authority_file_names_systems_once_and_all_other_fields(tmp_path: Path) -> None:
    assert set(authority.load()) >= set(model.entities())
    path = tmp_path / "authority.yaml"
    for content, said in (("customer: {phone: [erp]}", "other fields"), ('customer: {"*": [erp, erp]}', "each once")):
        path.write_text(content, "utf-8")
        with pytest.raises(ConfigurationError, match=said):
            authority.load(path)
