"""Mending what the lake lost, from what the lake itself still holds; a backup is asked first, by the caller.

What can be told again exactly is: an entry of a bronze table's log from the manifest of its batch, a data file from the
landed file that it was copied from, a checkpoint from the entries before it, and every table that builds make (staging,
silver, gold, serve) by a build. What cannot be told is not made up: it is named, with what to do.

Whatever is taken away is put aside under `_datong/set_aside/`, never deleted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from datong_platform.errors import DatongError
from datong_platform.lake import history, integrity, landing, load, storage
from datong_platform.lake.columns import source_fields
from datong_platform.lake.integrity import Damage, Log
from datong_platform.names import BATCH_ID, TableName, parse, system_and_entity
from datong_platform.settings import settings

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from datong_platform.lake.landing import Manifest

SET_ASIDE = "_datong/set_aside"
_BUILT = {"staging", "silver", "gold", "serve", "masked"}


@dataclass(frozen=True)
class Mended:
    """What became of a damage."""

    damage: Damage
    done: str
    """What was done about it; empty when nothing could be."""
    next_step: str = ""
    """What is left to do for a person, or for the next build or ingest."""

    @property
    def ok(self) -> bool:
        """Whether it is mended."""
        return bool(self.done)


def is_built(table: TableName) -> bool:
    """Whether a build makes the table from bronze; quarantine has tables of both kinds."""
    return table.schema in _BUILT or (table.schema == "quarantine" and "__" not in table.name)


def mend(damage: Damage) -> Mended:
    """Do what the lake itself can do about a damage. ServiceError when the store fails."""
    if damage.kind == "landing":
        return _mend_batch(damage)
    table = parse(damage.thing.removeprefix("table "))
    if damage.kind == "checkpoint":
        return _mend_checkpoint(damage, table)
    if damage.kind == "history":
        return Mended(damage, "", "`datong repair --from PLACE`; nothing is lost of what the table holds now.")
    if is_built(table):
        return _mend_built(damage, table)
    return _mend_bronze(damage, table) if table.schema == "bronze" else Mended(damage, "", _by_hand(damage, table))


def _mend_bronze(damage: Damage, table: TableName) -> Mended:
    done = _copied_again(damage, table) if damage.kind == "files" else _told_again(table, damage)
    if not done and damage.kind == "behind" and not _unloaded(table):
        # nothing that was landed is missing in it: what is gone was upkeep's
        done = "every landed batch is in it: what its log lacks was upkeep, which changed no row."
    if done:
        integrity.forget(table)
    return Mended(damage, done, "" if done else _by_hand(damage, table))


def _by_hand(damage: Damage, table: TableName) -> str:
    if table.schema == "bronze":
        system, entity = system_and_entity(table)
        return (
            "`datong repair --from PLACE` with a backup; without one, read it anew from the system: "
            f"`datong ingest {system} {entity} --rebuild` (rows that the system no longer holds are lost then)."
        )
    return (
        "`datong repair --from PLACE` with a backup that holds it: nothing else knows "
        f"{'its log' if damage.kind in {'log', 'behind'} else 'these rows'}."
    )


def _mend_checkpoint(damage: Damage, table: TableName) -> Mended:
    storage.delete(f"{table.path}/_delta_log/_last_checkpoint")
    delta = history.open_table(table)
    if delta is None:
        return Mended(damage, "", "`datong repair` again: the table cannot be opened.")
    delta.create_checkpoint()
    return Mended(damage, f"made anew, of version {delta.version()}.")


def _mend_built(damage: Damage, table: TableName) -> Mended:
    if damage.kind == "behind":
        integrity.forget(table)
        return Mended(damage, "taken as it is: the next build finds it changed and builds it.", "`datong build`.")
    moved = _set_aside(table)
    integrity.forget(table)
    return Mended(damage, f"set aside ({moved} objects), to be built anew from bronze.", "`datong build`.")


def _set_aside(table: TableName) -> int:
    """Move a table's log out of the way, so that there is no such table; its data files stay until upkeep comes."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    moved = 0
    for key in list(storage.keys(f"{table.path}/_delta_log/")):
        if storage.copy(key, f"{SET_ASIDE}/{stamp}/{key}"):
            storage.delete(key)
            moved += 1
    return moved


def _copied_again(damage: Damage, table: TableName) -> str:
    """Files of bronze from the landed files that they are copies of; empty when one of them is landed no more."""
    system, entity = system_and_entity(table)
    landed = {"-".join(key.split("/")[-2:]): key for key in storage.keys(f"{landing.root(system, entity)}/data/")}
    names = [key.removeprefix(f"{table.path}/") for key in damage.keys]
    if not all(name in landed for name in names):
        return ""
    for name in names:
        storage.copy(landed[name], f"{table.path}/{name}")
    return f"{len(names)} files copied again from the landing zone."


def _unloaded(table: TableName) -> list[int]:
    """The batches after the table's last one that are landed."""
    delta = history.open_table(table)
    last = delta.transaction_version(history.application_id(table)) or 0 if delta else 0
    system, entity = system_and_entity(table)
    found: list[int] = []
    while landing.read_manifest(system, entity, last + len(found) + 1):
        found.append(last + len(found) + 1)
    return found


def _told_again(table: TableName, damage: Damage) -> str:
    """The lost entries of a bronze table's log, told again by its manifests; empty when they do not tell all.

    The newest ones are loaded again, as after any crash; those in between are written as they were.
    """
    system, entity = system_and_entity(table)
    if damage.kind == "behind":
        if not _unloaded(table):
            return ""
        results = load.load_landed(system, entity).results
        return f"loaded again from the landing zone: {len(results)} batches."
    log = integrity.look_into(table)
    if not log.commits or (min(log.commits) > 0 and not log.checkpoints):
        return ""
    pointer = f"{table.path}/_delta_log/_last_checkpoint"
    if integrity.pointed_to(table) not in {None, *log.checkpoints}:
        # readers follow it to nowhere; without it they read the log as it lies there
        storage.delete(pointer)
    written: list[str] = []
    try:
        for version in range(log.first_needed, log.last + 1):
            if version not in log.commits and not _write_entry(table, log, version, written):
                break
        else:
            if _holds_each_batch_once(table):
                return f"{len(written)} entries of its log told again by the manifests of their batches."
    except DatongError:
        # what was written is taken back: a table that cannot be opened is better than one that is wrong
        for key in written:
            storage.delete(key)
        raise
    for key in written:
        storage.delete(key)
    return ""


def _write_entry(table: TableName, log: Log, version: int, written: list[str]) -> bool:
    """Write one entry of the log as it was; False when the manifests do not tell it."""
    before = _at(table, version - 1)
    if before is None:
        return False
    last = before.transaction_version(history.application_id(table)) or 0
    following = _next_batch(table, log, version)
    if following == last + 1:
        # the batches go on without a gap: the entry was upkeep's
        actions: list[dict[str, Any]] = []
        loaded = ""
    else:
        manifest = landing.read_manifest(*system_and_entity(table), last + 1)
        found = _actions(table, log, manifest, before) if manifest else None
        if manifest is None or found is None:
            return False
        actions = found
        loaded = json.dumps(asdict(history.as_loaded(manifest)), ensure_ascii=False)
    at = log.objects.get(f"_delta_log/{version - 1:020d}.json", datetime.now(UTC))
    info: dict[str, Any] = {
        "timestamp": int(at.timestamp() * 1000),
        "operation": "WRITE" if actions else "OPTIMIZE",
        "operationParameters": {"mode": "Append"} if actions else {},
        "engineInfo": "datong:told-again",
    }
    if loaded:
        info[history.METADATA_KEY] = loaded
    body = "\n".join(json.dumps(action, ensure_ascii=False) for action in ({"commitInfo": info}, *actions))
    if storage.put_if_absent(log.key(version), body.encode()):
        written.append(log.key(version))
    return True


def _at(table: TableName, version: int) -> DeltaTable | None:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    now = settings()
    if version < 0:
        return None
    try:
        return DeltaTable(now.table_uri(table), version=version, storage_options=now.storage_options())
    except (DeltaError, OSError):
        return None


def _next_batch(table: TableName, log: Log, version: int) -> int:
    """The first batch that the entries after `version` load; that after all landed ones when none does."""
    application = history.application_id(table)
    for later in range(version + 1, log.last + 1):
        body = storage.get(log.key(later)) if later in log.commits else None
        for line in body.splitlines() if body else ():
            transaction = json.loads(line).get("txn")
            if transaction and transaction["appId"] == application:
                return int(transaction["version"])
    system, entity = system_and_entity(table)
    number = 1
    while landing.read_manifest(system, entity, number):
        number += 1
    return number


def _actions(table: TableName, log: Log, manifest: Manifest, before: DeltaTable) -> list[dict[str, Any]] | None:
    """What the load of a batch committed; None when its files are not known."""
    known = {column.name: column.type for column in source_fields(load.bronze_schema(before))}
    if any(known.get(column.name) != column.type for column in manifest.arrow_schema):
        # that entry changed the table's columns as well
        return None
    moment = int(datetime.fromisoformat(manifest.finished_at).timestamp() * 1000)
    found: list[dict[str, Any]] = [
        {
            "txn": {
                "appId": history.application_id(table),
                "version": manifest.sequence,
                "lastUpdated": moment,
            }
        }
    ]
    for file in manifest.files:
        name = "-".join(file.key.split("/")[-2:])
        if name not in log.objects and not storage.copy(file.key, f"{table.path}/{name}"):
            return None
        found.append(_add(name, file.bytes, moment, file.stats))
    deletes = [name for name in log.objects if name.startswith(f"{manifest.batch_id}-") and "-deletes." in name]
    if len(deletes) > 1:
        # a load that was tried several times: nobody knows which of them counted
        return None
    for name in deletes:
        size = len(storage.get(f"{table.path}/{name}") or b"")
        found.append(_add(name, size, moment, ""))
    if manifest.kind in {"full", "rebuild"}:
        place = f"{before.table_uri.rstrip('/')}/"
        found += [
            {"remove": {"path": uri.removeprefix(place), "deletionTimestamp": moment, "dataChange": True}}
            for uri in before.file_uris()
        ]
    return found


def _add(name: str, size: int, moment: int, stats: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "path": name,
        "partitionValues": {},
        "size": size,
        "modificationTime": moment,
        "dataChange": True,
    }
    return {"add": {**fields, "stats": stats} if stats else fields}


def _holds_each_batch_once(table: TableName) -> bool:
    """Whether the rows of each batch of changes are as many as its manifest says, deletes that its keys told aside."""
    delta = history.open_table(table)
    if delta is None:
        return False
    counted: Counter[str] = Counter()
    for batch in delta.to_pyarrow_dataset().to_batches(columns=[BATCH_ID]):
        for entry in batch.column(0).value_counts().to_pylist():
            counted[entry["values"]] += entry["counts"]
    system, entity = system_and_entity(table)
    for batch_id, rows in counted.items():
        manifest = landing.read_manifest(system, entity, int(batch_id))
        if manifest is None or rows < manifest.row_count or (not manifest.complete and rows > manifest.row_count):
            return False
    return True


def _mend_batch(damage: Damage) -> Mended:
    """A batch that cannot be loaded: it is set aside, and the next read begins where the table's last load ended."""
    name, _, number = damage.thing.removeprefix("batch ").partition(" ")
    system, _, entity = name.partition(".")
    manifest = landing.read_manifest(system, entity, int(number))
    if manifest is None:
        return Mended(damage, "somebody else set it aside.")
    if manifest.mode == "stream":
        return Mended(
            damage,
            "",
            "`datong repair --from PLACE` with a backup that holds its files: the system was told that they came, and "
            "does not send them again.",
        )
    stamp, moved = f"{datetime.now(UTC):%Y%m%dT%H%M%S}", 0
    sequence = manifest.sequence
    # what was read after it is read again as well: a later batch goes on where this one ended
    while landing.read_manifest(system, entity, sequence):
        key = landing.manifest_key(system, entity, sequence)
        storage.copy(key, f"{SET_ASIDE}/{stamp}/{key}")
        storage.delete(key)
        sequence, moved = sequence + 1, moved + 1
    return Mended(
        damage,
        f"set aside with the {moved - 1} after it: it is read again from where the table's last load ended."
        if moved > 1
        else "set aside: it is read again from where the table's last load ended.",
        f"`datong ingest {system} {entity}`.",
    )


def mend_all(damages: Sequence[Damage]) -> list[Mended]:
    """Mend one after the other; what fails on the way does not keep the others from being mended."""
    done: list[Mended] = []
    for damage in damages:
        try:
            done.append(mend(damage))
        except DatongError as error:
            done.append(Mended(damage, "", f"{error.reason} {error.next_step}"))
    return done
