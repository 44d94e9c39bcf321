"""The dirty corpus through the contracts: every row ends up right or held with the right reason, none is lost."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import dirty_corpus
import pytest
from datong_platform.engine import query
from datong_platform.settings import Settings
from datong_platform.standard.check import statement_for
from datong_platform.standard.contract import contract

PARENTS = {
    "sales_order": "(select * from values "
    + ", ".join(f"('{order}')" for order in dirty_corpus.ORDERS)
    + " as known (sales_order_id))",
    "material": "(select * from values "
    + ", ".join(f"('{material}')" for material in dirty_corpus.MATERIALS)
    + " as known (material_id))",
}


@pytest.fixture(scope="module")
def judged(services: Settings) -> list[tuple[dirty_corpus.Record, dict[str, Any]]]:
    """Each record of the corpus beside what the standard made of it."""
    grouped: dict[tuple[str, str], list[dirty_corpus.Record]] = defaultdict(list)
    for record in dirty_corpus.corpus():
        grouped[record.entity, record.system].append(record)
    found: list[tuple[dirty_corpus.Record, dict[str, Any]]] = []
    for (entity, system), records in grouped.items():
        of = contract(entity)
        sent = [{**record.sent, "source_key": record.key} for record in records]
        parents = {rule.params["entity"] for rule in of.rules if rule.kind == "refers_to"}
        statement = statement_for(of, sent, system, {name: PARENTS[name] for name in parents})
        rows = query(f"select *, to_json(_failures) as failures from ({statement})").to_pylist()
        by_key = {row["source_key"]: row for row in rows}
        assert len(by_key) == len(rows) == len(records)
        found += [(record, by_key[record.key]) for record in records]
    return found


def test_the_corpus_is_large_and_dirty_in_many_ways() -> None:
    records = dirty_corpus.corpus()
    assert len(records) >= 5000
    assert len({record.dirt for record in records if record.dirt}) == len(dirty_corpus.DIRT) >= 60
    assert len({record.system for record in records}) >= 3
    assert records == dirty_corpus.corpus()


def test_every_row_holds_the_right_values_or_null(judged: list[tuple[dirty_corpus.Record, dict[str, Any]]]) -> None:
    wrong = [
        f"{record.system} {record.dirt}: {name} {record.sent.get(name)!r} became {row[name]!r}, not {value!r}"
        for record, row in judged
        for name, value in record.expected.items()
        if row[name] != value
    ]
    assert not wrong, f"{len(wrong)}: {Counter(each.partition(':')[0] for each in wrong)} {wrong[:10]}"


def test_every_row_breaks_the_rules_that_it_must_and_no_other(
    judged: list[tuple[dirty_corpus.Record, dict[str, Any]]],
) -> None:
    wrong: list[str] = []
    for record, row in judged:
        failures = json.loads(row["failures"] or "[]")
        told = {(failure["field"], failure["rule"]) for failure in failures}
        if told != record.failures:
            wrong.append(
                f"{record.system} {record.dirt or 'clean'}: told {sorted(told)}, not {sorted(record.failures)}"
            )
        if any(failure["is_withheld"] for failure in failures) != record.is_withheld:
            wrong.append(f"{record.system} {record.dirt or 'clean'}: withheld {not record.is_withheld}")
    assert not wrong, f"{len(wrong)}: {Counter(wrong).most_common(10)}"


def test_what_was_sent_is_told_wherever_it_was_not_taken(
    judged: list[tuple[dirty_corpus.Record, dict[str, Any]]],
) -> None:
    """A field that silver leaves empty, though something was sent, has a failure with the value as sent."""
    silent: list[str] = []
    for record, row in judged:
        told = {failure["field"]: failure.get("raw") for failure in json.loads(row["failures"] or "[]")}
        for name, sent in record.sent.items():
            is_zero = sent is not None and not sent.strip().strip("-0/.:")
            if row[name] is None and sent and not is_zero and name not in told:
                silent.append(f"{record.dirt}: {name} {sent!r}")
    assert not silent
