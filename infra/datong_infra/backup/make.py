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
_PIECE = 8 << 20
_NAMES_OTHERS = re.compile(r"/_delta_log/|^landing/.*/manifest/")
# a hint that is overwritten: it may name a checkpoint that came after the listing, and readers do without it
_LEFT_OUT = re.compile(r"/_delta_log/_last_checkpoint$")
_COMMIT = re.compile(r"^(?P<table>.+)/_delta_log/(?P<version>\d{20})\.json$")

Tell = Callable[[str], None]


def make(repository: Repository, tell: Tell = lambda _text: None) -> Backup:
    """Back up the lake's bucket and the operational databases: the backup, whole and kept.

    What an earlier backup holds already is not read again. ServiceError when the lake, PostgreSQL or the place fails;
    TransientError when files went away in between (a vacuum): try again. Nothing is changed in the lake.
    """
    began_at = datetime.now(UTC)
    before = {item.name: item for item in repository.read().lake} if repository.ids() else {}
    first = {name: seen for prefix in ("ops/", "") for name, seen in _naming(prefix)}
    dumps = [Item(name, size, sha256) for name in databases.names() for sha256, size in [_dump(repository, name)]]
    tell(f"{len(dumps)} databases")
    objects = first | {name: seen for name, seen in _listing() if not _NAMES_OTHERS.search(name)}
    tables = _tables(objects)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        kept = list(pool.map(lambda name: _keep(repository, name, objects[name], before.get(name)), objects))
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


def _naming(prefix: str) -> Iterator[tuple[str, tuple[int, str]]]:
    ops_is_done = not prefix
    for name, seen in _listing(prefix):
        if _NAMES_OTHERS.search(name) and not _LEFT_OUT.search(name) and not (ops_is_done and name.startswith("ops/")):
            yield name, seen


def _listing(prefix: str = "") -> Iterator[tuple[str, tuple[int, str]]]:
    from botocore.exceptions import BotoCoreError, ClientError

    pages = storage.client().get_paginator("list_objects_v2").paginate(Bucket=settings().bucket, Prefix=prefix)
    try:
        for page in pages:
            for item in page.get("Contents", []):
                yield item["Key"], (item["Size"], item["ETag"])
    except (BotoCoreError, ClientError) as error:
        raise _unreadable(str(error)) from error


def _unreadable(words: str) -> ServiceError:
    return ServiceError(f"bucket {settings().bucket}", f"cannot be read: {words}", "run `datong doctor`.")


def _dump(repository: Repository, name: str) -> tuple[str, int]:
    return repository.put(databases.dump(name))


def _keep(repository: Repository, name: str, seen: tuple[int, str], before: Item | None) -> Item | None:
    """The object as an item of the backup; None when it is gone by now."""
    from botocore.exceptions import BotoCoreError, ClientError

    size, etag = seen
    if before is not None and (before.size, before.etag) == (size, etag) and repository.has(before):
        return before
    try:
        answer: Mapping[str, Any] = storage.client().get_object(Bucket=settings().bucket, Key=name)
        sha256, length = repository.put(answer["Body"].iter_chunks(_PIECE))
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
            return None
        raise _unreadable(str(error)) from error
    except BotoCoreError as error:
        raise _unreadable(str(error)) from error
    return Item(name, length, sha256, answer.get("ETag", etag))


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
