"""`python -m datong_ingestion SYSTEM [ENTITY…]`: ingest without Dagster, and say what came of it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import traceback
from typing import Any

from datong_platform.errors import DatongError

from datong_ingestion.backfill import Progress, backfill
from datong_ingestion.run import IngestOutcome, IngestResult, ingest_system
from datong_ingestion.streaming import stream
from datong_ingestion.systems_config import SystemConfig, load_system


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit status is 0 only if every entity succeeded, 2 when the request itself was wrong."""
    parser = argparse.ArgumentParser(prog="python -m datong_ingestion", description=__doc__)
    parser.add_argument("system", help="a system defined in assets/datong_assets/defs")
    parser.add_argument("entity", nargs="*", help="entities to ingest; default: all")
    parser.add_argument("--baseline", action="store_true", help="read everything anew, keep the history")
    parser.add_argument("--backfill", action="store_true", help="read one entity whole, in parts, resuming")
    parser.add_argument("--anew", action="store_true", help="with --backfill: do not resume the one that broke off")
    parser.add_argument("--stream", action="store_true", help="go on without end, until Ctrl-C")
    parser.add_argument("--rebuild", action="store_true", help="read everything anew, replace table and schema")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("--traceback", action="store_true", help="show where an error was raised")
    asked = parser.parse_args(arguments)
    as_text = asked.format == "text"
    try:
        system = load_system(asked.system)
        if asked.stream:
            return _stream(system, asked.entity, as_text)
        if asked.backfill:
            if len(asked.entity) != 1:
                parser.error("--backfill needs one entity")
            return _backfill(system, asked.entity[0], asked.anew, as_text)
        outcomes = ingest_system(
            system,
            asked.entity or None,
            baseline=asked.baseline,
            rebuild=asked.rebuild,
            on_done=(lambda outcome: print(f"{_line(outcome)}\n", end="", flush=True)) if as_text else None,
        )
    except DatongError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not as_text:
        print(json.dumps([record(outcome) for outcome in outcomes], ensure_ascii=False, indent=2))
    failed = [outcome for outcome in outcomes if not outcome.ok]
    if as_text:
        print(f"{system.system}: {len(outcomes) - len(failed)} of {len(outcomes)} entities up to date")
    for outcome in failed:
        if asked.traceback and isinstance(outcome.result, DatongError):
            traceback.print_exception(outcome.result)
    return 1 if failed else 0


def _stream(system: SystemConfig, entities: list[str], as_text: bool) -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def tell(outcome: IngestOutcome) -> None:
        print(_line(outcome) if as_text else json.dumps(record(outcome), ensure_ascii=False), flush=True)

    return 1 if stream(system, entities or None, stop=stop, on_batch=tell) else 0


def _backfill(system: SystemConfig, entity: str, anew: bool, as_text: bool) -> int:
    def tell(part: Progress) -> None:
        print(f"{part.done}/{part.parts}  {part.rows:>9,} rows, {part.seconds:.1f} s  {part.condition}", flush=True)

    done = IngestOutcome(entity, backfill(system, entity, anew=anew, on_part=tell if as_text else None))
    print(_line(done) if as_text else json.dumps(record(done), ensure_ascii=False, indent=2))
    return 0


def _line(outcome: IngestOutcome) -> str:
    result = outcome.result
    if not isinstance(result, IngestResult):
        return f"{outcome.entity:32} FAILED  {result}"
    parts = [f"{result.rows:>9,} rows"]
    counts = {
        "deletes": result.deletes,
        "rescued": result.rescued,
        "refused": result.refused,
        "read again": result.unchanged_rows,
    }
    parts += [f"{count:,} {what}" for what, count in counts.items() if count]
    parts.append(f"{result.total_rows:,} in {result.table}")
    parts.append(f"{result.seconds:.1f} s")
    if result.new_columns:
        parts.append(f"new: {', '.join(result.new_columns)}")
    return f"{outcome.entity:32} {result.mode:12} {', '.join([*parts, *result.events, *result.notes])}"


def record(outcome: IngestOutcome) -> dict[str, Any]:
    """What one ingest came to, as JSON."""
    result = outcome.result
    if not isinstance(result, IngestResult):
        return {
            "entity": outcome.entity,
            "ok": False,
            "error": type(result).__name__,
            "thing": result.thing,
            "reason": result.reason,
            "next_step": result.next_step,
        }
    return {
        "entity": outcome.entity,
        "ok": True,
        "table": str(result.table),
        "mode": result.mode,
        "batches": result.batches,
        "rows": result.rows,
        "deletes": result.deletes,
        "rescued": result.rescued,
        "refused": result.refused,
        "unchanged_rows": result.unchanged_rows,
        "new_columns": result.new_columns,
        "total_rows": result.total_rows,
        "bytes": result.bytes,
        "delta_version": result.delta_version,
        "position": result.position,
        "seconds": round(result.seconds, 3),
        "events": result.events,
        "notes": result.notes,
    }


if __name__ == "__main__":
    sys.exit(main())
