"""Documents: XML and EDI of a gigabyte, into Arrow pages, beside scripts that do only that (P9).

    uv run --extra all python tests/bench/documents.py --mib 1024 --runs 3

Each run is a process of its own, turn by turn with its peer. Our side is the source as the ingest calls it: the file is
found, hashed, read whole before a row counts, its types made, its pages spooled. The peers are what an engineer would
write by hand: lxml's iterparse with findtext, or splitting by the separators, the same fields into Arrow text columns
and nothing else; `spark` (with --spark) is Apache Spark's own XML source on all cores. The start of Python and of Spark
counts in the seconds; `without_start_seconds` and `without_start_cpu_seconds` tell the work alone. The checksum is that
of the rows and of one column's sum.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frame import Benchmark, Session

BENCH = Benchmark(
    key="p9",
    title="XML and EDI of a gigabyte into Arrow pages",
    goal="60 % of lxml, memory flat",
    quick={"mib": 8},
)
MIB = 1024 * 1024
XML_FIELDS = {
    "ID": "string",
    "Item": "string",
    "Quantity": "decimal(18,4)",
    "Unit": "string",
    "Amount": "decimal(18,2)",
}


def make_xml(path: Path, mib: float) -> None:
    """Orders with lines of a usual size, in one document."""
    with path.open("wb") as file:
        file.write(b'<?xml version="1.0" encoding="UTF-8"?>\n<o:Orders xmlns:o="urn:o"><o:Date>2024-01-31</o:Date>\n')
        number = 0
        while file.tell() < mib * MIB:
            file.write(
                b"".join(
                    b"<o:Line><o:ID>%d</o:ID><o:Item>Bearing 6204-2RS %d</o:Item><o:Quantity>%d.5</o:Quantity>"
                    b"<o:Unit>EA</o:Unit><o:Amount>%d.25</o:Amount></o:Line>\n" % (n, n, n % 1000, n % 10000)
                    for n in range(number, number + 5000)
                )
            )
            number += 5000
        file.write(b"</o:Orders>\n")


def make_edi(path: Path, mib: float) -> None:
    """Orders (X12 850) of forty lines, in groups of a thousand."""
    with path.open("wb") as file:
        isa = f"ISA*00*{'':10}*00*{'':10}*ZZ*{'BUYER':15}*ZZ*{'SELLER':15}*240131*1200*U*00401*000000001*0*P*>~\n"
        file.write(isa.encode())
        lines = "".join(
            f"PO1*{n}*{n * 7}*EA*{n}.25**BP*A{n:06d}*VP*V{n:06d}~\nPID*F****Bearing {n}~\n" for n in range(1, 41)
        )
        groups = 0
        while file.tell() < mib * MIB:
            groups += 1
            file.write(f"GS*PO*BUYER*SELLER*20240131*1200*{groups}*X*004010~\n".encode())
            for n in range(1, 1001):
                body = f"BEG*00*SA*PO{groups}-{n}**20240131~\nN1*ST*Plant*92*P1~\n{lines}CTT*40~\n"
                file.write(f"ST*850*{n:04d}~\n{body}SE*{body.count('~') + 2}*{n:04d}~\n".encode())
            file.write(f"GE*1000*{groups}~\n".encode())
        file.write(f"IEA*{groups}*000000001~\n".encode())


def ours(kind: str, path: Path) -> tuple[int, int]:
    """Rows and a checksum by the project's source."""
    from datong_ingestion.source import connect
    from datong_ingestion.systems_config import SystemConfig
    from datong_platform.lake.columns import compute

    entity: dict[str, Any] = {"name": "line", "source": path.name, "mode": "stream"}
    if kind == "xml":
        entity |= {"fields": XML_FIELDS, "options": {"rows": "/o:Orders/o:Line", "namespaces": {"o": "urn:o"}}}
    else:
        entity |= {"options": {"message": "850", "level": "line"}}
    system = SystemConfig.model_validate(
        {
            "system": "bench",
            "protocol": kind,
            "connection": {"location": str(path.parent), "settle_seconds": 0},
            "entities": [entity],
        }
    )
    source, config = connect(system), system.entity("line")
    rows = total = 0
    column = "Quantity" if kind == "xml" else "PO102"
    for page in source.read(config, source.describe(config), None):
        assert page.refused is None, page.refused
        rows += len(page.rows)
        total += int(2 * (compute.sum(page.rows.column(column)).as_py() or 0))
    source.close()
    return rows, total


def script(kind: str, path: Path) -> tuple[int, int]:
    """The same by hand."""
    import pyarrow as pa
    import pyarrow.compute

    sums: Any = pyarrow.compute
    rows = total = 0
    columns: list[list[str | None]] = []

    def flush(index: int) -> int:
        nonlocal columns
        table = [pa.array(column, pa.string()) for column in columns]
        columns = [[] for _ in columns]
        return int(2 * (sums.sum(table[index].cast(pa.decimal128(18, 4))).as_py() or 0))

    if kind == "xml":
        from lxml import etree

        names = [f"{{urn:o}}{name}" for name in XML_FIELDS]
        columns = [[] for _ in names]
        for _, line in etree.iterparse(str(path), tag="{urn:o}Line"):
            for column, name in zip(columns, names, strict=True):
                column.append(line.findtext(name))
            rows += 1
            line.clear()
            while line.getprevious() is not None:
                del line.getparent()[0]
            if rows % 10_000 == 0:
                total += flush(2)
        return rows, total + flush(2)
    columns = [[] for _ in range(8)]
    order, left = "", ""
    with path.open(encoding="utf-8") as file:
        while block := file.read(MIB):
            *segments, left = (left + block).split("~")
            for segment in segments:
                parts = segment.lstrip("\r\n").split("*")
                if parts[0] == "BEG":
                    order = parts[3]
                elif parts[0] == "PO1":
                    rows += 1
                    for column, value in zip(columns, [order, *parts[1:5], parts[7], parts[9], segment], strict=True):
                        column.append(value)
                elif parts[0] == "GE":
                    total += flush(2)
    return rows, total + flush(2)


def spark(kind: str, path: Path) -> tuple[int, int]:
    """Spark's XML source as it comes, on all cores; a decimal sum."""
    from datong_infra.services.spark import jars
    from pyspark.sql import SparkSession

    jars.prepare()
    session = SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false").getOrCreate()
    session.range(1).count()
    BEGAN[:] = [time.perf_counter(), _used()]
    schema = "ID string, Item string, Quantity decimal(18,4), Unit string, Amount decimal(18,2)"
    frame = session.read.option("rowTag", "o:Line").option("ignoreNamespace", "true").schema(schema).xml(str(path))
    found = frame.selectExpr("count(*) n", "sum(Quantity) q", "max(Item) i", "max(Unit) u", "max(Amount) a").first()
    assert found is not None
    return int(found.n), int(2 * found.q)


BEGAN = [0.0, 0.0]
"""The clock and the CPU seconds when the work began, the start of an engine apart."""


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def one(who: str, kind: str, path: Path) -> None:
    """One run, in this process; prints its figures."""
    runs: dict[str, Callable[[str, Path], tuple[int, int]]] = {"datong": ours, "script": script, "spark": spark}
    BEGAN[:] = [time.perf_counter(), _used()]
    rows, total = runs[who](kind, path)
    print(json.dumps({"seconds": time.perf_counter() - BEGAN[0], "cpu": _used() - BEGAN[1], "sum": [rows, total]}))


def main() -> None:
    """Compare; or, in a process that this one starts, read once."""
    options = BENCH.options(__doc__)
    options.add_argument("--mib", type=float, default=1024)
    options.add_argument("--kind", choices=["xml", "edi"], action="append")
    options.add_argument("--spark", action="store_true")
    options.add_argument("--one", nargs=3, metavar=("WHO", "KIND", "PATH"), help=argparse.SUPPRESS)
    given, _ = options.parse_known_args()
    if given.one:
        one(given.one[0], given.one[1], Path(given.one[2]))
        return
    with BENCH.session(options) as bench, bench.folder() as folder:
        bench.peer("script", program="lxml.etree.iterparse and findtext; str.split for EDI")
        for kind in given.kind or ["xml", "edi"]:
            compare(bench, kind, folder / f"a.{kind}")


def compare(bench: Session, kind: str, path: Path) -> None:
    """One kind of document, turn by turn."""
    (make_xml if kind == "xml" else make_edi)(path, bench.asked.mib)
    os.utime(path, (1, 1))
    size = path.stat().st_size / MIB
    contenders = ["datong", "script", *(["spark"] if bench.asked.spark and kind == "xml" else [])]
    for _ in bench.turns():
        for who in filter(bench.takes, contenders):
            argv = [sys.executable, __file__, "--one", who, kind, str(path)]
            run = bench.command(who, argv, kind, amount=size, unit="MiB", check=who == "datong")
            if run is None:
                continue
            told = json.loads(re.findall(r"^\{.*\}$", run.out, re.MULTILINE)[-1])
            run.checksum = "{} rows, sum {}".format(*told["sum"])
            run.figures["without_start_seconds"] = told["seconds"]
            if who != "spark":  # whose work is done by a JVM
                run.figures["without_start_cpu_seconds"] = told["cpu"]
    path.unlink()


if __name__ == "__main__":
    main()
