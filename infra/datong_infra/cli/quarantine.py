"""What sources sent and nobody could read, on the command line: where there is any, and the bytes themselves."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from datong_platform.errors import ConfigurationError

from datong_infra.cli.output import Format, print_line, print_rows

if TYPE_CHECKING:
    from datong_platform.lake.quarantine import Refusals

_SHOWN = 200
"""Characters of a refused row that the table shows; JSON has all."""


def listing(system: str | None, format_: Format) -> None:
    """Every entity that has refused rows."""
    rows = [
        {
            "system": name,
            "entity": entity,
            "rows": found.rows,
            "batches": found.batches,
            "last_at": found.last_at.strftime("%Y-%m-%d %H:%M:%S") if found.last_at else "",
            "most_frequent_reason": next(iter(found.reasons), ""),
            "reasons": found.reasons,
        }
        for name, entity, found in _held(system)
    ]
    columns = ("system", "entity", "rows", "batches", "last_at", "most_frequent_reason")
    print_rows(rows, format_, columns)
    if format_ is Format.table and rows:
        print_line("Look at them: datong quarantine show SYSTEM ENTITY")


def show(system: str, entity: str, batch: str | None, limit: int, format_: Format) -> None:
    """The newest refused rows of an entity."""
    from datong_platform.lake import quarantine
    from datong_platform.names import BATCH_ID, INGESTED_AT

    found = quarantine.rows(system, entity, batch=batch, limit=limit)
    if found is None:
        raise ConfigurationError(
            f"quarantine of {system}.{entity}",
            "is empty: nothing that it sent was ever refused.",
            "see where there is something: `datong quarantine list`.",
        )
    rows = [
        {
            "batch": row[BATCH_ID],
            "at": row[INGESTED_AT].strftime("%Y-%m-%d %H:%M:%S"),
            "place": row["place"],
            "field": row["field"],
            "reason": row["reason"],
            **_raw(row["raw"], format_),
        }
        for row in found.to_pylist()
    ]
    print_rows(rows, format_)


def _held(system: str | None) -> Iterator[tuple[str, str, Refusals]]:
    from datong_platform.lake import catalog, quarantine

    for table in catalog.stored_tables(["quarantine"]):
        name, separator, entity = table.name.partition("__")
        if separator and system in {None, name} and (found := quarantine.summary(name, entity)):
            yield name, entity, found


def _raw(raw: bytes | None, format_: Format) -> dict[str, Any]:
    if raw is None:
        return {"raw": None}
    if format_ is Format.json:
        try:
            return {"raw": raw.decode()}
        except UnicodeDecodeError:
            return {"raw_base64": base64.b64encode(raw).decode()}
    text = raw[: 4 * _SHOWN].decode("utf-8", "backslashreplace")
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return {"raw": text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(raw):,} bytes)"}
