"""Quality scores on the command line."""

from __future__ import annotations

from typing import Any

import typer
from datong_platform.errors import ConfigurationError

from datong_infra.cli.output import Format, print_json, print_rows


def quality(entity: str | None, *, history: bool, last: bool, format_: Format) -> None:
    """Measure, and show the scores of one entity or of all."""
    from datong_platform.quality import scores
    from datong_platform.standard.contract import contracts

    known = contracts("silver")
    if entity is not None and entity not in known:
        raise ConfigurationError(
            f"entity {entity}", "is not one of silver.", f"choose from {', '.join(sorted(known))}."
        )
    ok = True
    if not last:
        from datong_infra.cli.work import print_errors, quiet, reporter

        quiet()
        from datong_assets import runs

        measured = runs.quality(everything=True, on_progress=reporter())
        unusual = runs.anomalies(on_progress=reporter())
        ok = measured.ok and unusual.ok
        print_errors([*measured.errors, *unusual.errors])
    rows = scores.history_of(entity) if history else scores.latest(entity)
    if format_ is Format.json:
        print_json(rows)
    elif history:
        print_rows([_line(row) for row in rows if not row["source_system"]], format_)
    else:
        print_rows([_summed(rows, name) for name in _names(rows)], format_)
    if not ok:
        raise typer.Exit(1)


def _names(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["entity"], row["source_system"]) for row in rows))


def _summed(rows: list[dict[str, Any]], name: tuple[str, str]) -> dict[str, Any]:
    from datong_platform.quality.scores import OVERALL
    from datong_platform.standard.rules import DIMENSIONS

    mine = {row["dimension"]: row for row in rows if (row["entity"], row["source_system"]) == name}
    rules = sorted(
        ((count, rule) for row in mine.values() for rule, count in row["rules"].items()), key=lambda each: -each[0]
    )
    return {
        "entity": name[0],
        "source": name[1] or "all",
        "records": mine[OVERALL]["records"],
        **{each: f"{mine[each]['score']:.2%}" if each in mine else "" for each in (OVERALL, *DIMENSIONS)},
        "broken": "; ".join(f"{rule} {count}" for count, rule in rules[:3]),
    }


def _line(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "entity": row["entity"],
        "measured_at": row["measured_at"].strftime("%Y-%m-%d %H:%M:%S"),
        "dimension": row["dimension"],
        "score": f"{row['score']:.2%}",
        "records": row["records"],
        "broken": row["broken"],
    }
