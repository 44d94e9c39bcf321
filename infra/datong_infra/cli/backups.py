"""Backups on the command line: make one, list and check them, bring one back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from datong_infra.cli.output import Format, console, print_line, print_rows

if TYPE_CHECKING:
    from datong_infra.backup.repository import Backup

_COLUMNS = ("backup", "began_at", "seconds", "tables", "objects", "mb", "databases")


def make(place: str, keep: int | None, format_: Format) -> None:
    """Make a backup; forget those that are too old."""
    from datong_infra.backup.make import make
    from datong_infra.backup.repository import Repository

    repository = Repository(place)
    backup = make(repository, _tell())
    forgotten = repository.keep(keep) if keep else 0
    print_rows([_row(backup)], format_, _COLUMNS)
    if format_ is Format.table:
        print_line(
            f"Bring it back in an empty DATONG_HOME: datong restore {repository.place} --backup {backup.backup_id}"
        )
        if forgotten:
            print_line(f"{forgotten} older backups were forgotten.")


def listing(place: str, format_: Format) -> None:
    """The backups of a place, newest first."""
    from datong_infra.backup.repository import Repository

    repository = Repository(place)
    print_rows([_row(repository.read(one)) for one in reversed(repository.ids())], format_, _COLUMNS)


def check(place: str, backup_id: str) -> None:
    """Read a whole backup and compare it with its hashes."""
    from datong_infra.backup.repository import Repository

    repository = Repository(place)
    backup = repository.read(backup_id)
    for item in (*backup.lake, *backup.databases):
        for _ in repository.pieces(item):
            pass
    print_line(f"Backup {backup.backup_id} is whole: {len(backup.lake)} objects, {backup.size / 1e6:,.1f} MB.")


def restore(place: str, backup_id: str) -> None:
    """Start the store and PostgreSQL of this home, and fill them from a backup."""
    from datong_infra.backup.repository import Repository
    from datong_infra.backup.restore import restore
    from datong_infra.services import stack

    began = time.monotonic()
    repository = Repository(place)
    backup = repository.read(backup_id)
    tell = _tell()
    stack.up(["store", "postgres"], progress=lambda name, text: tell(f"{name}: {text}"))
    restore(repository, backup, tell)
    # the roles of this installation may use what the dump brought
    stack.down(["postgres"])
    stack.up(["store", "postgres"])
    print_line(
        f"Restored backup {backup.backup_id} in {time.monotonic() - began:.1f} s. The lake and the databases are as at "
        f"{backup.began_at:%Y-%m-%d %H:%M:%S} UTC; what came after it is read again from the systems."
    )
    print_line("Next: datong up, then datong cycle.")


def _tell() -> Any:
    return console(error=True).print


def _row(backup: Backup) -> dict[str, Any]:
    return {
        "backup": backup.backup_id,
        "began_at": f"{backup.began_at:%Y-%m-%d %H:%M:%S}",
        "seconds": round((backup.finished_at - backup.began_at).total_seconds(), 1),
        "tables": backup.tables,
        "objects": len(backup.lake),
        "mb": round(backup.size / 1e6, 1),
        "databases": len(backup.databases),
    }
