"""Making a backup while work goes on.

Delta's files never change once they are written, and a log entry comes after the files it names. So the log entries,
the manifests of the landing zone and all else that names other objects are listed first, and everything they can name
after it: what lies between the two listings is either whole or not named. What says which versions people read (`ops`)
is listed before the tables themselves. Every table is then opened at the version that was listed, and each of its files
must be there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from datong_platform.errors import ServiceError, TransientError
from datong_platform.lake import integrity, storage
from datong_platform.settings import settings

from datong_infra.backup import databases
from datong_infra.backup.repository import Backup, Item, Repository, new_id

_AT_ONCE = 8
_NAMES_OTHERS = re.compile(r"/_delta_log/|^landing/.*/manifest/")
# a hint that is overwritten: it may name a checkpoint that came after the listing, and readers do without it
_LEFT_OUT = re.compile(r"/_delta_log/_last_checkpoint$")
# what a repair set aside is kept like any object, and is no table any more
_COMMIT = re.compile(r"^(?!_datong/)(?P<table>.+)/_delta_log/(?P<version>\d{20})\.json$")

Tell = Callable[[str], None]


def make(repository: Repository, tell: Tell = lambda _text: None) -> Backup:
    """Back up the lake's bucket and the operational databases: the backup, whole and kept.

    What an earlier backup holds already is not read again. ServiceError when the lake, PostgreSQL or the place fails;
    TransientError when files went away in between (a vacuum): try again. Nothing is changed in the lake.
    """
    began_at = datetime.now(UTC)
    before = {item.name: item for item in repository.read().lake} if repository.ids() else {}
    first = {seen.key: seen for prefix in ("ops/", "") for seen in _naming(prefix)}
    dumps = [Item(name, size, sha256) for name in databases.names() for sha256, size in [_dump(repository, name)]]
    tell(f"{len(dumps)} databases")
    # the witness tells of the lake where it lies: brought back with an older lake it would accuse it
    unnamed = (one for one in storage.listing() if not _NAMES_OTHERS.search(one.key) and one.key != integrity.WITNESS)
    objects = first | {seen.key: seen for seen in unnamed}
    tables = _tables(objects)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        kept = list(pool.map(lambda name: _keep(repository, objects[name], before.get(name)), objects))
    lake = {item.name: item for item in kept if item is not None}
    tell(f"{len(lake)} objects, {sum(lake[name] is not before.get(name) for name in lake)} of them new")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        missing = sum(
            pool.map(lambda folder: _missing(folder, tables[folder], lake), tables), [*(first.keys() - lake.keys())]
        )
    if missing:
        raise TransientError(
            "backup", f"found files gone that a table still names, {missing[0]} for one.", "run it again."
        )
    tell(f"{len(tables)} tables, each opened and found whole")
    backup = Backup(
        new_id(began_at), began_at, datetime.now(UTC), settings().bucket, list(lake.values()), dumps, len(tables)
    )
    repository.write(backup)
    # what is lost after this is noticed, also where the newest entries of a log are what is gone
    integrity.bear_witness()
    return backup


def _naming(prefix: str) -> Iterator[storage.Listed]:
    ops_is_done = not prefix
    for found in storage.listing(prefix):
        name = found.key
        if _NAMES_OTHERS.search(name) and not _LEFT_OUT.search(name) and not (ops_is_done and name.startswith("ops/")):
            yield found


def _dump(repository: Repository, name: str) -> tuple[str, int]:
    return repository.put(databases.dump(name))


def _keep(repository: Repository, seen: storage.Listed, before: Item | None) -> Item | None:
    """The object as an item of the backup; None when it is gone by now."""
    if before is not None and (before.size, before.etag) == (seen.size, seen.etag) and repository.has(before):
        return before
    found = storage.opened(seen.key)
    if found is None:
        return None
    etag, pieces = found
    sha256, length = repository.put(pieces)
    return Item(seen.key, length, sha256, etag)


def _tables(names: Mapping[str, Any]) -> dict[str, int]:
    """The Delta tables among the objects, by folder, with the version that is in the backup."""
    tables: dict[str, int] = {}
    for name in names:
        if found := _COMMIT.match(name):
            tables[found["table"]] = max(tables.get(found["table"], 0), int(found["version"]))
    return tables


def _missing(folder: str, version: int, lake: Mapping[str, Item]) -> list[str]:
    """Files that a table's version names and the backup does not hold."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    now = settings()
    uri = f"s3://{now.bucket}/{folder}"
    try:
        table = DeltaTable(uri, version=version, storage_options=now.storage_options())
        named = [found.removeprefix(f"s3://{now.bucket}/") for found in table.file_uris()]
    except DeltaError as error:
        raise ServiceError(
            f"table {folder.replace('/', '.')}",
            f"cannot be opened at version {version}: {' '.join(str(error).split())}",
            "mend it first: a backup of it would be of no use.",
        ) from error
    return [name for name in named if name not in lake]
