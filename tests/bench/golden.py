"""Golden records: 1,000 new records against a million golden ones, with the store that Datong comes with.

    uv run python tests/bench/golden.py --golden 1000000 --new 1000

The million is matched by a first run, which is told, too; half of the new records are other spellings of companies that
are there. What is timed is a whole run, from records in memory to the tables in the store; each further run brings new
records to what is there. It ends with an error when the known ones were not found.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import pyarrow as pa
from frame import Benchmark, Session

BENCH = Benchmark(
    key="golden",
    title="Golden records: 1,000 new records against a million",
    quick={"golden": 3000, "new": 100},
)
FIELDS = ("party_name", "credit_code", "city", "street", "phone", "email")
SCHEMA = pa.schema([(name, pa.string()) for name in ("source_system", "source_key", *FIELDS)])
MARKS = (
    "恒通鑫达兴川瑞德华泰金石东风远景天合正宏发立讯捷佳博众汇长盈科永高伟星海信新松大族三花盾安春兰双良亚威沃尔精测中控万丰拓普"
    "旭升爱柯亨鼎特许继平黄河山昆仑白武夷珠峰湖洪泽鄱阳振建光明嘉禾和鸿运博源欣庆云腾龙凤祥瑞福禄寿康宁祺泓润沛沐清澄"
)


def parties(count: int, dice: random.Random) -> pa.Table:
    """Companies with names of three random characters: as many namesakes as chance brings."""
    from golden_corpus import _CITIES, _STREETS, _TRADES, credit_code

    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for number in range(count):
        city = dice.choice(_CITIES)
        name = f"{city}{''.join(dice.choice(MARKS) for _ in range(3))}{dice.choice(_TRADES)}有限公司"
        row = {
            "source_system": "erp",
            "source_key": str(number),
            "party_name": name,
            "credit_code": credit_code(dice) if dice.random() < 0.7 else None,
            "city": city,
            "street": f"{dice.choice(_STREETS)}{dice.randint(1, 9999)}号",
            "phone": f"+8621{dice.randint(20000000, 89999999)}" if dice.random() < 0.8 else None,
            "email": None,
        }
        for column, value in row.items():
            columns[column].append(value)
    return pa.table(columns, schema=SCHEMA)


def arriving(golden: pa.Table, count: int, dice: random.Random, run: int) -> pa.Table:
    """New records of the CRM: half of them companies that are there, written otherwise and without a credit code."""
    known = golden.take(dice.sample(range(len(golden)), count // 2)).to_pylist()
    rows = [
        {
            **row,
            "source_system": "crm",
            "source_key": f"k{run}-{row['source_key']}",
            "party_name": row["party_name"]
            .replace(row["city"], f"{row['city']}市")
            .replace("有限公司", "股份有限公司"),
            "credit_code": None,
        }
        for row in known
    ]
    strange = parties(count - len(rows), dice).to_pylist()
    rows += [{**row, "source_system": "crm", "source_key": f"n{run}-{row['source_key']}"} for row in strange]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def main() -> None:
    options = BENCH.options(__doc__)
    options.add_argument("--golden", type=int, default=1_000_000)
    options.add_argument("--new", type=int, default=1_000)
    options.set_defaults(runs=3, warm_ups=0)
    with BENCH.session(options) as bench, bench.services("store"):
        measure(bench)


def measure(bench: Session) -> None:
    """The first run, then one after the other with what is new."""
    from datong_platform.lake import catalog
    from datong_platform.standard.matching import run

    # the engine need not know the tables to be measured
    catalog.register = lambda *_: catalog.Registered()  # type: ignore[assignment]
    asked, dice = bench.asked, random.Random(7)
    golden = everything = parties(asked.golden, dice)
    bench.say(f"{len(golden):,} records made")
    with bench.measured("datong", "first run", amount=asked.golden, unit="records", turn=1) as measured:
        first = run.match("supplier", golden)
    measured.figures["golden_records"] = first.golden
    for number in bench.turns():
        everything = pa.concat_tables([everything, arriving(golden, asked.new, dice, number)])
        with bench.measured("datong", "new records", amount=asked.new, unit="records") as measured:
            outcome = run.match("supplier", everything)
        measured.figures["golden_records"] = outcome.golden
        joined = outcome.records - outcome.golden - (len(golden) - first.golden)
        done = number + bench.asked.warm_ups
        assert joined >= 0.4 * asked.new * done, f"only {joined} of the known were found"


if __name__ == "__main__":
    main()
