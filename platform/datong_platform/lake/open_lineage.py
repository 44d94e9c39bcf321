"""The sync log as OpenLineage events, for Marquez, DataHub, Atlan or whoever else reads them.

Every hop is a run of its job: an event START and one of COMPLETE, FAIL or ABORT (OpenLineage 2-0-2, RunEvent), with the
datasets that it read and wrote, its rows and bytes, its error, and the run that it was part of. Names of datasets are
those of the OpenLineage naming rules: `s3://<bucket>` and the table's folder, `postgres://host:port` and
`database.schema.table`; an entity of a system is in the namespace `<our namespace>.<system>`.

The log is the outbox. What was sent is the version of `ops.sync_log` that was reached, kept in PostgreSQL: events of
later versions follow, in order. A receiver that is away is asked again with the next call, nothing is left out, and an
event that comes twice is the same (its run's id is that of the hop). An event that the receiver refuses as such (400,
422) is passed over, counted and told.
"""

from __future__ import annotations

import io
import json
import logging
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from datong_platform import operational
from datong_platform.errors import ConfigurationError, TransientError
from datong_platform.lake import history, storage, sync_log
from datong_platform.lake.sync_log import SYNC_LOG, Entry, Outcome
from datong_platform.names import SCHEMAS, parse
from datong_platform.settings import settings

if TYPE_CHECKING:
    from psycopg import Connection

_LOG = logging.getLogger(__name__)

PRODUCER = "urn:datong"
_SPEC = "https://openlineage.io/spec"
_EVENT = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_RUN_FACET = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunFacet"
_IDS = uuid.UUID("6f1c8e5e-3c0c-4a0e-9a5e-2f1f0c1d5a77")
_LOCK = 0x64_61_6F_6C  # advisory lock: one sender at a time
_TIMEOUT = 10.0
_REFUSED = {400, 413, 422}
_FINAL: dict[Outcome, str] = {
    "ok": "COMPLETE",
    "partly": "COMPLETE",
    "nothing new": "COMPLETE",
    "failed": "FAIL",
    "interrupted": "ABORT",
}

_TABLES = """
create schema if not exists ops;
create table if not exists ops.open_lineage (
    address text primary key,
    log_id text not null,
    version bigint not null,
    sent bigint not null default 0,
    refused bigint not null default 0,
    missed bigint not null default 0,
    sent_at timestamptz,
    error text,
    failing_since timestamptz
);
"""


@dataclass(frozen=True)
class Sent:
    """How far the receiver at `address` was told. `refused` are events that it would not take, `missed` versions of
    the log that were gone before they could be told, both since ever."""

    address: str
    version: int
    sent: int
    refused: int
    missed: int
    sent_at: datetime | None
    error: str | None
    failing_since: datetime | None
    now: int = 0
    """Events sent by this call."""


def events(entry: Entry) -> list[dict[str, Any]]:
    """A hop as two events, in the form of the specification."""
    namespace = settings().openlineage_namespace
    inputs, outputs = _datasets(entry)
    job = {
        "namespace": namespace,
        "name": f"{entry.hop}.{entry.subject}",
        "facets": {
            "jobType": _facet(
                "2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet",
                processingType="BATCH",
                integration="DATONG",
                jobType=entry.hop.upper(),
            )
        },
    }
    facets: dict[str, Any] = {
        "parent": _facet(
            "1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet",
            run={"runId": _uuid(entry.run_id)},
            job={"namespace": namespace, "name": _parent(entry)},
            **(
                {"root": {"run": {"runId": _uuid(entry.cycle_id)}, "job": {"namespace": namespace, "name": "cycle"}}}
                if entry.cycle_id
                else {}
            ),
        )
    }
    told = {
        "until": entry.until,
        "batch": entry.batch,
        "rowsIn": entry.rows_in,
        "rowsRefused": entry.rows_refused,
        "words": entry.words,
    }
    known = {name: value for name, value in told.items() if value is not None}
    ended = {
        **facets,
        "datong_hop": {"_producer": PRODUCER, "_schemaURL": _RUN_FACET, "outcome": entry.outcome, **known},
    }
    if entry.outcome == "failed":
        ended["errorMessage"] = _facet(
            "1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
            message=entry.words or "it failed",
            programmingLanguage="PYTHON",
        )
    common = {"producer": PRODUCER, "schemaURL": _EVENT, "job": job}
    run_id = _uuid(entry.hop_id)
    return [
        {
            "eventType": "START",
            "eventTime": _time(entry.started_at),
            "run": {"runId": run_id, "facets": facets},
            "inputs": [_bare(one) for one in inputs],
            "outputs": [_bare(one) for one in outputs],
            **common,
        },
        {
            "eventType": _FINAL[entry.outcome],
            "eventTime": _time(entry.ended_at),
            "run": {"runId": run_id, "facets": ended},
            "inputs": inputs,
            "outputs": outputs,
            **common,
        },
    ]


def send(*, from_start: bool = False) -> Sent:
    """Send what the log has told since the last call; the first one begins with what comes after it.

    `from_start` sends all that the log still holds, also what was sent. ConfigurationError when no address is set,
    TransientError when the receiver does not take an event or another call is at it, ServiceError without store or
    database.
    """
    address = _address()
    with _connected() as database:
        locked = database.execute("select pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
        if not locked or not locked[0]:
            raise TransientError("lineage events", "are being sent by another process.", "wait until it has ended.")
        try:
            return _sent(database, address, from_start=from_start)
        finally:
            database.execute("select pg_advisory_unlock(%s)", [_LOCK])


def _sent(database: Connection[Any], address: str, *, from_start: bool) -> Sent:
    before = _state(database, address)
    log = history.open_table(SYNC_LOG)
    if log is None:
        # the log that comes is news from its first row on
        return before or _keep(database, Sent(address, -1, 0, 0, 0, None, None, None), "")
    log_id = str(log.metadata().id)
    # a log that was made anew begins again; what is its beginning is news to whoever knew the old one
    is_other = before is not None and _log_id(database, address) != log_id
    version = -1 if from_start or is_other else before.version if before else log.version()
    state = before or Sent(address, version, 0, 0, 0, None, None, None)
    return _send(database, _keep(database, replace(state, version=version), log_id), log_id, log.version())


def trouble() -> Sent | None:
    """How far it is where the receiver cannot be told at the moment; None when all is well, or no address is set."""
    if not settings().openlineage_url:
        return None
    with _connected() as database:
        state = _state(database, _address())
    return state if state is not None and state.failing_since is not None else None


def _send(database: Connection[Any], state: Sent, log_id: str, newest: int) -> Sent:
    import httpx

    key = settings().openlineage_api_key
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    now = 0
    with httpx.Client(timeout=_TIMEOUT, headers=headers, follow_redirects=False) as client:
        for version in range(state.version + 1, newest + 1):
            found = _added(version)
            refused = sent = 0
            for event in (event for entry in found or () for event in events(entry)):
                try:
                    answer = client.post(state.address, content=json.dumps(event, ensure_ascii=False).encode())
                except httpx.HTTPError as error:
                    raise _failed(database, state, f"cannot be reached: {error or type(error).__name__}") from error
                if answer.status_code in _REFUSED:
                    refused += 1
                    words = f"{event['job']['name']} {event['eventType']}: {answer.status_code} {answer.text[:300]}"
                    _LOG.warning("the receiver at %s refused an event: %s", state.address, words)
                elif not answer.is_success:
                    raise _failed(database, state, f"answered {answer.status_code}: {answer.text[:300]}")
                else:
                    sent += 1
            now += sent
            state = _keep(
                database,
                Sent(
                    state.address,
                    version,
                    state.sent + sent,
                    state.refused + refused,
                    state.missed + (found is None),
                    datetime.now(UTC) if sent else state.sent_at,
                    None,
                    None,
                    now,
                ),
                log_id,
            )
    return state


def _failed(database: Connection[Any], state: Sent, words: str) -> TransientError:
    database.execute(
        "update ops.open_lineage set error = %s, failing_since = coalesce(failing_since, now()) where address = %s",
        [words, state.address],
    )
    return TransientError(
        f"lineage receiver {state.address}",
        words,
        "see that it runs and that DATONG_OPENLINEAGE_URL and DATONG_OPENLINEAGE_API_KEY are right; nothing is lost, "
        "the next call goes on where this one ended.",
    )


def _added(version: int) -> list[Entry] | None:
    """The hops that one version of the log added; None when they cannot be told any more, as upkeep removed them."""
    import pyarrow.parquet as pq

    text = storage.get(f"{SYNC_LOG.path}/_delta_log/{version:020d}.json")
    if text is None:
        return None
    adds = [action["add"] for line in text.splitlines() if line and "add" in (action := json.loads(line))]
    found: list[Entry] = []
    for add in adds:
        if not add.get("dataChange", True):
            continue
        body = storage.get(f"{SYNC_LOG.path}/{unquote(add['path'])}")
        if body is None:
            return None
        found += sync_log.from_table(pq.read_table(io.BytesIO(body)))
    return sorted(found, key=lambda one: (one.ended_at, one.hop_id))


def _datasets(entry: Entry) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What a hop read and what it wrote."""
    name = entry.table_name or ""
    table = [_dataset(name, entry)] if name else []
    landing = [_lake(f"landing/{name.removeprefix('bronze.').replace('__', '/', 1)}")] if name else []
    inputs = [_dataset(name, None) for name in entry.inputs]
    if entry.hop == "extract":
        read, written = inputs, [_with_rows(one, entry) for one in landing]
    elif entry.hop == "load":
        read, written = landing, [_with_rows(one, entry) for one in table]
    elif entry.hop == "check":
        read, written = inputs or table, []
    elif entry.hop == "plan":
        read, written = inputs, [_with_rows(_dataset("ops.write_back_ledger", None), entry)]
    elif entry.hop == "send":
        # the target is what the inputs name after the serve table
        read, written = inputs[:1], [_with_rows(one, entry) for one in inputs[1:]]
    elif entry.hop == "verify":
        read, written = inputs[1:], [_with_rows(_dataset("ops.write_back_ledger", None), entry)]
    else:
        read, written = inputs, [_with_rows(one, entry) for one in table]
    return read, written


def _dataset(name: str, entry: Entry | None) -> dict[str, Any]:
    schema, _, rest = name.partition(".")
    if schema == "postgres":
        url = urlsplit(settings().postgres_url or "")
        place = f"postgres://{url.hostname or 'localhost'}:{url.port or 5432}"
        return {"namespace": place, "name": f"{url.path.strip('/') or 'datong'}.{rest}"}
    if schema not in SCHEMAS:
        # an entity or resource of a system
        return {"namespace": f"{settings().openlineage_namespace}.{schema}", "name": rest or schema}
    made = _lake(parse(name).path)
    if entry is not None and entry.until and entry.hop in {"load", "build"}:
        made["facets"] = {
            "version": _facet(
                "1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet", datasetVersion=entry.until
            )
        }
    return made


def _lake(path: str) -> dict[str, Any]:
    return {"namespace": f"s3://{settings().bucket}", "name": path}


def _with_rows(dataset: dict[str, Any], entry: Entry) -> dict[str, Any]:
    known = {"rowCount": entry.rows_out, "size": entry.bytes}
    counts = {name: value for name, value in known.items() if value is not None}
    if not counts:
        return dataset
    facet = _facet("1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet", **counts)
    return {**dataset, "outputFacets": {"outputStatistics": facet}}


def _bare(dataset: dict[str, Any]) -> dict[str, Any]:
    return {name: dataset[name] for name in ("namespace", "name")}


def _facet(schema: str, **content: Any) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": f"{_SPEC}/facets/{schema}", **content}


def _parent(entry: Entry) -> str:
    """The job of the run that a hop was part of."""
    if entry.flow:
        return "write_back"
    return f"ingest_{entry.system}" if entry.system else "publish" if entry.hop == "publish" else "build"


def _uuid(text: str) -> str:
    """An id as a UUID: as it is where it is one."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return str(uuid.uuid5(_IDS, text))


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _address() -> str:
    address = settings().openlineage_url
    if not address:
        raise ConfigurationError(
            "lineage events",
            "have no address to go to.",
            "set DATONG_OPENLINEAGE_URL, as http://marquez:5000/api/v1/lineage.",
        )
    return address


def _connected() -> AbstractContextManager[Connection[Any]]:
    return operational.connected(_TABLES, "ops.open_lineage")


def _state(database: Connection[Any], address: str) -> Sent | None:
    row = database.execute(
        "select address, version, sent, refused, missed, sent_at, error, failing_since from ops.open_lineage "
        "where address = %s",
        [address],
    ).fetchone()
    return Sent(*row) if row else None


def _log_id(database: Connection[Any], address: str) -> str:
    row = database.execute("select log_id from ops.open_lineage where address = %s", [address]).fetchone()
    return row[0] if row else ""


def _keep(database: Connection[Any], state: Sent, log_id: str) -> Sent:
    database.execute(
        "insert into ops.open_lineage (address, log_id, version, sent, refused, missed, sent_at, error, failing_since) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (address) do update set log_id = excluded.log_id, "
        "version = excluded.version, sent = excluded.sent, refused = excluded.refused, missed = excluded.missed, "
        "sent_at = excluded.sent_at, error = excluded.error, failing_since = excluded.failing_since",
        [
            *(state.address, log_id, state.version, state.sent, state.refused, state.missed),
            *(state.sent_at, state.error, state.failing_since),
        ],
    )
    return state
