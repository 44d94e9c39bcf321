"""Bringing a backup back: into an empty bucket and empty databases, every content compared with its hash."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from tempfile import SpooledTemporaryFile

from datong_platform.errors import ConfigurationError, ServiceError
from datong_platform.lake import storage
from datong_platform.settings import read_state, settings, write_state

from datong_infra.backup import databases
from datong_infra.backup.repository import Backup, Item, Repository
from datong_infra.services import postgres

_AT_ONCE = 8
_IN_MEMORY = 16 << 20
_STATE = "restore.json"

Tell = Callable[[str], None]


def restore(repository: Repository, backup: Backup, tell: Tell = lambda _text: None) -> None:
    """Fill the bucket and the databases of this installation from a backup; a repeat goes on where it broke off.

    The store and PostgreSQL must run. ConfigurationError when the bucket holds something else, TerminalError for
    content that is damaged, ServiceError when the store, PostgreSQL or the place fails.
    """
    there = _sizes()
    if there and read_state(_STATE).get("backup") != backup.backup_id:
        raise ConfigurationError(
            f"bucket {settings().bucket}",
            f"is not empty: it holds {len(there)} objects, {next(iter(there))} for one.",
            "restore into a new place: another DATONG_HOME, or another DATONG_BUCKET.",
        )
    write_state(_STATE, {"backup": backup.backup_id})
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda item: _put(repository, item, there), backup.lake))
    tell(f"{len(backup.lake)} objects")
    sizes = _sizes()
    wrong = [item.name for item in backup.lake if sizes.get(item.name) != item.size]
    if wrong:
        raise ServiceError(
            f"bucket {settings().bucket}",
            f"does not hold what was written to it: {len(wrong)} objects differ, {wrong[0]} for one.",
            "run the command again; when it stays so, look after the store.",
        )
    for item in backup.databases:
        databases.load(item.name, repository.pieces(item))
    # they are those of the backup from now on, and nobody is to take them for lost
    postgres.remember()
    tell(f"{len(backup.databases)} databases")
    write_state(_STATE, {})


def _put(repository: Repository, item: Item, there: dict[str, int]) -> None:
    if there.get(item.name) == item.size:
        # written by this restore before it broke off: an object is there whole or not at all
        return
    with SpooledTemporaryFile(_IN_MEMORY) as file:
        for piece in repository.pieces(item):
            file.write(piece)
        file.seek(0)
        storage.upload(item.name, file)


def _sizes() -> dict[str, int]:
    return {found.key: found.size for found in storage.listing()}
