"""A small lake whose runs are struck: systems, a dbt project of two tables, a published table and a target, with the
services of a home of its own.

A day changes the systems. A run (extract, land, load, build, publish, write back, upkeep) is a process of its own, and
is struck at a named point; in the end one goes through undisturbed. Then everything is compared: bronze and quarantine
with those of a twin that read the same systems and was never struck, every later table with the systems themselves, and
the target's own change log with the changes of the day: each once. And nothing may be left: no run that looks as if it
ran, no lock, no half-made table, no process.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
from kill_points import Strike, Victims, counted, struck

SERVICES = ("store", "engine", "postgres")
_ROOM = "600m"
"""What a disk that is filled holds before: the databases and files of a small lake need a third of it."""
_PATIENCE = 900
"""Seconds after which a run counts as hung, on a machine that does much else."""
_WITHOUT_MEMORY = 60
"""Seconds that a run gets which has no memory left."""
_PRELOAD = (
    "dagster",
    "datong_assets.components",
    "datong_assets.runs",
    "datong_ingestion.run",
    "datong_ingestion.write_back",
    "datong_ingestion.write_back.sql",
    "datong_ingestion.documents.source",
    "datong_ingestion.protocols.sql",
    "datong_platform.lake.publish",
    "pyspark.sql.connect.session",
    "deltalake",
    "boto3",
    "psycopg",
    "pyarrow.dataset",
)
_TABLES = """
    create schema plant;
    create table plant.orders (order_no text primary key, title text, quantity numeric(15,3), changed_at timestamptz);
    create table plant.machine (machine_no text primary key, name text);
    create table plant.board (order_no text, title text, quantity numeric(15,3));
    create table plant.board_log (
        number bigserial primary key, operation text, order_no text, title text, quantity numeric(15,3)
    );
    create function plant.logged() returns trigger language plpgsql as $$
        declare
            it plant.board;
        begin
            if tg_op = 'DELETE' then it := old; else it := new; end if;
            insert into plant.board_log (operation, order_no, title, quantity)
            values (lower(tg_op), it.order_no, it.title, it.quantity);
            return null;
        end $$;
    create trigger logged after insert or update or delete on plant.board for each row
        execute function plant.logged();
"""
_PROJECT = """
name: datong
version: "1.0.0"
config-version: 2
profile: datong
flags: {send_anonymous_usage_stats: false}
models:
  datong:
    +file_format: delta
    +materialized: table
    +tblproperties: {overwriteSchema: "true"}
    silver: {+schema: silver}
    serve: {+schema: serve}
"""
_SOURCES = """
sources:
  - name: plant
    schema: bronze
    tables: [{name: orders, identifier: plant__orders}]
"""
_SILVER = """
select order_no, title, quantity
from (
    select
        order_no, title, quantity, _datong_operation,
        row_number() over (partition by order_no order by _datong_batch_id desc) as place
    from {{ source('plant', 'orders') }}
) as aged
where place = 1 and _datong_operation <> 'delete'
"""
_SILVER_TESTS = """
models:
  - name: struck_order
    data_tests: [{key: {columns: [order_no]}}]
    columns:
      - {name: order_no, data_type: string}
      - {name: title, data_type: string}
      - {name: quantity, data_type: "decimal(15,3)"}
"""
_SERVE_TESTS = """
models:
  - name: bi__struck_order
    description: "Orders. Grain: one row per order."
    config: {meta: {key: [order_no]}}
    data_tests: [{key: {columns: [order_no]}}]
    columns:
      - {name: order_no, data_type: string}
      - {name: title, data_type: string}
      - {name: quantity, data_type: "decimal(15,3)"}
"""
_FLOW = {
    "flow": "struck_board",
    "source": "serve.bi__struck_order",
    "key": "order_no",
    "operations": ["create", "update", "delete"],
    "guards": {"approve_deletes": False, "max_delete_share": None},
    "settle_seconds": 0.2,
    "chunk_rows": 20,
    "retry": {"wait_seconds": 0, "attempts": 100},
    "target": {
        "system": "plant",
        "resource": "plant.board",
        "lookup": "order_no",
        "identity": ["order_no"],
        "timezone": "UTC",
    },
    "payload": {"order_no": "order_no", "title": "title", "quantity": "quantity"},
}
_Order = tuple[str, str, Decimal]


class DifferentError(AssertionError):
    """What came out is not what an undisturbed run would have made."""


@dataclass(frozen=True)
class Ran:
    """How a run ended. `exit`: the process's, negative for a signal; `words`: what went wrong, by step."""

    exit: int
    seconds: float
    struck: bool
    words: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def ok(self) -> bool:
        """Whether it went through, every step of it."""
        return self.exit == 0 and not self.words


@dataclass(frozen=True)
class Day:
    """A day that was struck and got through. `back`: seconds from the last strike until all was done."""

    strikes: Sequence[Strike]
    struck: int
    runs: int
    back: float
    cpu: float | None = None
    """CPU seconds of all that from the last strike on, services included; None where nobody measures."""
    words: Sequence[str] = ()
    """What struck runs said of it, where they lived to say something."""


class Lake:
    """The small lake. `disk`: its home lies on a file system of its own, which can be filled (needs root)."""

    def __init__(self, *, disk: bool = False, meter: Callable[[], Any] | None = None) -> None:
        """`meter`: makes what counts CPU seconds from then on (`frame.Meter` of the benchmarks)."""
        self.home = Path(tempfile.mkdtemp(prefix="datong-struck-"))
        self.disk = disk
        if disk:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_ROOM}", "datong-struck", self.home], check=True)
        self.project = self.home / "struck"
        self.inbox = self.home / "inbox"
        handle, told = tempfile.mkstemp(prefix="datong-told-")
        os.close(handle)
        self.told = Path(told)
        """What a run tells of itself; not in the home, whose disk may be full."""
        self._before = {name: value for name, value in os.environ.items() if name.startswith("DATONG_")}
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(_PRELOAD))
        self._logged = 0
        self._was: dict[str, _Order] = {}
        self._days = 0
        self._meter = meter
        self.calm_cpu: float | None = None
        """CPU seconds of a run that was not struck: the least that getting back can take."""

    def __enter__(self) -> Lake:
        for name in self._before:
            del os.environ[name]
        os.environ["DATONG_HOME"] = str(self.home)
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        self.up()
        from datong_infra.services.dagster import write_instance

        write_instance()
        _write_project(self.project)
        self.inbox.mkdir()
        self._run_sql(_TABLES)

    def __exit__(self, *_: object) -> None:
        from datong_infra.services import stack

        try:
            self.make_room()
            stack.down()
        finally:
            if self.disk:
                subprocess.run(["umount", "-l", self.home], check=True)
            shutil.rmtree(self.home, ignore_errors=True)
            self.told.unlink(missing_ok=True)
            os.environ.pop("DATONG_HOME", None)
            os.environ.update(self._before)

    def up(self) -> None:
        """`datong up`, of what the lake needs."""
        from datong_infra.services import stack

        stack.up(SERVICES)

    def make_room(self) -> None:
        """What was taken away is given back: room on the disk, memory for the engine."""
        (self.home / "filler").unlink(missing_ok=True)
        with suppress(ProcessLookupError):
            engine = self._victims().services["engine"]
            _, most = resource.prlimit(engine, resource.RLIMIT_AS)
            resource.prlimit(engine, resource.RLIMIT_AS, (most, most))

    def day(self, dice: random.Random, strikes: Sequence[Strike]) -> Day:
        """A day whose runs are struck one after the other, then one that is not; DifferentError when it differs."""
        self.change(dice)
        hit, words, at, meter = 0, list[str](), time.monotonic(), self._begun(None)
        for strike in strikes:
            ran = self.run(strike)
            if ran.struck:
                at, meter = time.monotonic(), self._begun(meter)
            hit += ran.struck
            words += [f"{strike}: {told}" for told in ran.words.values()]
            if ran.struck and strike.how == "kill" and ran.exit != -9:
                raise DifferentError(f"{strike}: it ended by {ran.exit}")
            self.make_room()
            self.up()
        runs = len(strikes)
        for _ in range(3):
            runs += 1
            last = self.run()
            if last.ok:
                break
        else:
            raise DifferentError(f"it does not recover from {[str(one) for one in strikes]}: {last}")
        if runs > len(strikes) + 1:
            raise DifferentError(
                f"it needed {runs - len(strikes)} runs to recover from {[str(one) for one in strikes]}"
            )
        back, cpu = time.monotonic() - at, _used(meter)
        try:
            self.compare()
        except DifferentError as error:
            raise DifferentError(f"after {[str(one) for one in strikes]}: {error}") from error
        return Day(strikes, hit, runs, round(back, 1), cpu, words)

    def _begun(self, meter: Any) -> Any:
        """A meter that begins to count, instead of this one."""
        if self._meter is None:
            return None
        _used(meter)
        begun = self._meter()
        begun.start()
        return begun

    def passed(self, dice: random.Random) -> Counter[str]:
        """A day that is not struck: how often its run passes each point."""
        self.change(dice)
        place = self.home / "passed.json"
        meter = self._begun(None)
        ran = self.run(count=place)
        self.calm_cpu = _used(meter)
        if not ran.ok:
            raise DifferentError(f"an undisturbed run failed: {ran}")
        self.compare()
        return Counter(json.loads(place.read_text(encoding="utf-8")))

    def change(self, dice: random.Random) -> None:
        """Let people work for a day in the systems: orders come, change and go, a machine gets another name, files come
        (one of their lines is broken)."""
        self._was = self._orders()
        self._logged = self._one("select coalesce(max(number), 0) from plant.board_log")
        self._days += 1
        known = sorted(self._was)
        changed = dice.sample(known, min(len(known), 12))
        gone = set(dice.sample(known, 3)) if len(known) > 30 else set[str]()
        new = [f"{self._days:05d}-{number:03d}" for number in range(40 if not known else 10)]
        with self._connection() as connection, connection.cursor() as cursor:
            for order in new:
                cursor.execute(
                    "insert into plant.orders values (%s, %s, %s, clock_timestamp())",
                    (order, f"齿轮箱 {dice.randrange(10_000)}", Decimal(dice.randrange(1_000_000)) / 1000),
                )
            for order in changed:
                cursor.execute(
                    "update plant.orders set title = %s, changed_at = clock_timestamp() where order_no = %s",
                    (f"第 {self._days} 天 {dice.randrange(10_000)}", order),
                )
            for order in gone:
                cursor.execute("delete from plant.orders where order_no = %s", (order,))
            cursor.execute("delete from plant.machine")
            for number in range(5):
                cursor.execute(
                    "insert into plant.machine values (%s, %s)", (f"M{number}", f"{self._days}/{dice.random()}")
                )
        lines = [f"{self._days}-{number},{dice.randrange(1000)}" for number in range(8)]
        text = "\n".join(["id,weight", *lines, f"{self._days}-broken,1,2,3"]) + "\n"
        (self.inbox / f"{self._days:05d}.csv").write_text(text, encoding="utf-8")

    def run(self, strike: Strike | None = None, *, count: Path | None = None) -> Ran:
        """One run in a process of its own, struck if asked."""
        self.told.write_text("", encoding="utf-8")
        started = time.monotonic()
        process = self._context.Process(target=_run, args=(str(self.home), self.told, strike, self._victims(), count))
        process.start()
        without_memory = strike is not None and strike.how == "memory"
        process.join(_WITHOUT_MEMORY if without_memory else _PATIENCE)
        # a library that gets no thread any more can wait for it without end: then the one who watches memory kills
        if process.exitcode is None:
            process.kill()
            process.join()
            if not without_memory:
                raise DifferentError(f"a run hung: {strike}; {_tail(self.home / 'run.log')}")
        seconds = time.monotonic() - started
        found = [json.loads(line) for line in self.told.read_text(encoding="utf-8").splitlines()]
        words = {one["step"]: one["words"] for one in found if "words" in one}
        if process.exitcode and strike is None:
            words.setdefault("the run", _tail(self.home / "run.log"))
        return Ran(process.exitcode, seconds, any("struck" in one for one in found), words)

    def compare(self) -> None:
        """DifferentError when anything is not as an undisturbed run would have left it."""
        truth = self._orders()
        _same("serve.bi__struck_order", Counter(truth.values()), Counter(_published()))
        _same("silver.struck_order", Counter(truth.values()), Counter(_orders_of("silver", "struck_order")))
        found = self._rows("select order_no, title, quantity from serve.struck_order")
        _same("serve.struck_order in PostgreSQL", Counter(truth.values()), Counter(found))
        _same(
            "the target",
            Counter(truth.values()),
            Counter(self._rows("select order_no, title, quantity from plant.board")),
        )
        log = f"select operation, order_no, title, quantity from plant.board_log where number > {self._logged}"
        _same("the target's change log", Counter(_changes(self._was, truth)), Counter(self._rows(log)))
        _ingest(self.inbox, "calm")
        for entity in ("orders", "machine", "slip"):
            for schema in ("bronze", "quarantine"):
                _same(f"{schema} {entity}", _kept(schema, f"calm__{entity}"), _kept(schema, f"plant__{entity}"))
        self._nothing_left()

    def _nothing_left(self) -> None:
        import dagster as dg
        from datong_assets import instance as instances
        from datong_platform.standard import conservation

        lost = [count for count in conservation.latest() if count.rows_lost]
        _same("rows lost by a table", Counter(), Counter(str(count) for count in lost))
        going = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]
        runs = instances.instance().get_runs(dg.RunsFilter(statuses=going))
        _same("runs that look as if they ran", Counter(), Counter(run.run_id for run in runs))
        tables = "select relname from pg_class where relnamespace = 'serve'::regnamespace and relkind = 'r'"
        _same("tables of schema serve", Counter({("struck_order",): 1}), Counter(self._rows(tables)))
        mine = "select objid from pg_locks where locktype = 'advisory' and granted"
        _same("locks", Counter(), Counter(self._rows(mine)))
        _ends("dbt processes that nobody asks", lambda: _workers(self.home))
        _ends("hops that were not told", self._not_told)

    def _not_told(self) -> list[str]:
        """What a process kept that was killed while it ended is told by whoever tells next; one that is still ending
        tells by itself."""
        from datong_platform.lake import sync_log

        sync_log.flush()
        return _spools(self.home)

    def _victims(self) -> Victims:
        state = json.loads((self.home / "services.json").read_text(encoding="utf-8"))
        pids = {name: record["pid"] for name, record in state["services"].items() if name in SERVICES}
        return Victims(pids, self.home / "filler" if self.disk else None)

    def _connection(self) -> Any:
        return _connection()

    def _orders(self) -> dict[str, _Order]:
        return {row[0]: row for row in self._rows("select order_no, title, quantity from plant.orders")}

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._connection() as connection:
            return connection.execute(query).fetchall()

    def _one(self, query: str) -> Any:
        return self._rows(query)[0][0]

    def _run_sql(self, text: str) -> None:
        with self._connection() as connection:
            connection.execute(text)


def _used(meter: Any) -> float | None:
    return None if meter is None else round(sum(meter.stop(itself="runs").values()), 1)


def _connection() -> Any:
    import psycopg
    from datong_platform.settings import settings

    return psycopg.connect(settings().need("postgres_url"))


def _ends(what: str, left: Callable[[], Sequence[Any]], patience: float = 60) -> None:
    """DifferentError when there is still something left after `patience` seconds."""
    deadline = time.monotonic() + patience
    while found := left():
        if time.monotonic() > deadline:
            raise DifferentError(f"{what}: {found}")
        time.sleep(0.2)


def _same(what: str, wanted: Counter[Any], found: Counter[Any]) -> None:
    if wanted != found:
        lost, more = wanted - found, found - wanted
        told = f"{lost.total()} lost {list(lost.elements())[:3]}, {more.total()} too many {list(more.elements())[:3]}"
        raise DifferentError(f"{what}: {told}")


def _changes(was: Mapping[str, _Order], now: Mapping[str, _Order]) -> list[tuple[Any, ...]]:
    """What a target's change log has to hold of a day: each change once."""
    found: list[tuple[Any, ...]] = [("delete", *was[key]) for key in was.keys() - now.keys()]
    found += [("insert", *now[key]) for key in now.keys() - was.keys()]
    return found + [("update", *now[key]) for key in now.keys() & was.keys() if now[key] != was[key]]


def _published() -> list[Any]:
    from datong_platform.lake import builds
    from datong_platform.names import TableName

    return _tuples(builds.open_published(TableName("serve", "bi__struck_order")))


def _orders_of(schema: str, name: str) -> list[Any]:
    from datong_platform.lake import history
    from datong_platform.names import TableName

    return _tuples(history.open_table(TableName(schema, name)))


def _tuples(delta: Any) -> list[Any]:
    if delta is None:
        return []
    return [
        tuple(row.values()) for row in delta.to_pyarrow_table(columns=["order_no", "title", "quantity"]).to_pylist()
    ]


def _kept(schema: str, name: str) -> Counter[str]:
    """The rows of a table as text, without what tells when they came."""
    from datong_platform.lake import history
    from datong_platform.names import TableName

    delta = history.open_table(TableName(schema, name))
    if delta is None:
        return Counter()
    rows = delta.to_pyarrow_table().to_pylist()
    without = {"_datong_ingested_at", "quarantined_at", "received_at", "_datong_batch_id", "batch_id"}
    return Counter(
        json.dumps({name: value for name, value in row.items() if name not in without}, default=str, sort_keys=True)
        for row in rows
    )


def _spools(home: Path) -> list[str]:
    """Spools of others: this process may have begun hops of its own that tests with a make-believe kill never ended."""
    mine = {file.path for file in psutil.Process().open_files()}
    found = [path for path in (home / "sync_log").glob("*.jsonl") if path.stat().st_size]
    return [path.name for path in found if str(path.resolve()) not in mine]


def _workers(home: Path) -> list[int]:
    found: list[int] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if "datong_assets.dbt.worker" in words and str(home) in words[-1]:
                found.append(process.pid)
    return found


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-3000:] if log.exists() else ""


def _write_project(folder: Path) -> None:
    from datong_platform.settings import DBT_PROJECT

    for name, text in {
        "dbt_project.yml": _PROJECT,
        "models/_sources.yml": _SOURCES,
        "models/silver/struck_order.sql": _SILVER,
        "models/silver/struck_order.yml": _SILVER_TESTS,
        "models/serve/bi__struck_order.sql": "select * from {{ ref('struck_order') }}",
        "models/serve/bi__struck_order.yml": _SERVE_TESTS,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(DBT_PROJECT / "profiles.yml", folder)
    shutil.copytree(DBT_PROJECT / "macros", folder / "macros")


# what a run does, in its own process


def _run(home: str, place: Path, strike: Strike | None, victims: Victims, count: Path | None) -> None:
    os.environ["DATONG_HOME"] = home
    log = os.open(f"{home}/run.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    told = os.open(place, os.O_WRONLY | os.O_APPEND)

    def tell(**what: str) -> None:
        os.write(told, json.dumps(what).encode() + b"\n")

    with ExitStack() as stack:
        calls = stack.enter_context(counted() if count else nullcontext())
        stack.enter_context(struck(strike, victims, lambda words: tell(struck=words)) if strike else nullcontext())
        failed = _chain(Path(home), tell)
    if count and calls is not None:
        count.write_text(json.dumps(calls), encoding="utf-8")
    sys.stdout.flush()
    # no orderly end: a process that is struck has none either, and PySpark's takes seconds
    os._exit(1 if failed else 0)


def _chain(home: Path, tell: Any) -> bool:
    from datong_platform.errors import DatongError

    failed = False
    for step in (_ingested, _built, _published_to_postgres, _written_back, _kept_up):
        try:
            words = step(home)
        except DatongError as error:
            words = str(error)
        except Exception as error:  # noqa: BLE001 - told, and judged by the one who struck
            import traceback

            traceback.print_exc()
            words = f"{type(error).__name__}: {error}"
        if words:
            failed = True
            tell(step=step.__name__.lstrip("_"), words=words[:2000])
    return failed


def _ingested(home: Path) -> str:
    return _ingest(home / "inbox", "plant")


def _ingest(inbox: Path, name: str) -> str:
    from datong_ingestion.run import ingest_system
    from datong_ingestion.systems_config import SystemConfig
    from datong_platform.settings import settings

    plant = SystemConfig.model_validate(
        {
            "system": name,
            "protocol": "sql",
            "connection": {"url": settings().need("postgres_url"), "schema": "plant", "concurrency": 1},
            "entities": [
                {
                    "name": "orders",
                    "source": "orders",
                    "mode": "cursor",
                    "cursor": "changed_at",
                    "detect_deletes": True,
                },
                {"name": "machine", "source": "machine", "mode": "full"},
            ],
        }
    )
    files = SystemConfig.model_validate(
        {
            "system": name,
            "protocol": "files",
            "connection": {"location": str(inbox), "settle_seconds": 0, "order": "name"},
            "entities": [
                {
                    "name": "slip",
                    "source": "*.csv",
                    "mode": "stream",
                    "keys": ["id"],
                    "options": {"format": "csv"},
                    "fields": {"id": "string", "weight": "decimal(13,3)"},
                }
            ],
        }
    )
    outcomes = [*ingest_system(plant), *ingest_system(files)]
    return "; ".join(str(outcome.result) for outcome in outcomes if not outcome.ok)


def _definitions(home: Path) -> Any:
    import dagster as dg
    from datong_assets.components import DbtModels, Publication

    context = dg.ComponentTree.for_test().load_context
    project = str(home / "struck")
    components = [DbtModels(project=project), Publication(project=project)]
    return dg.Definitions.merge(*(component.build_defs(context) for component in components))


def _job(home: Path, name: str) -> str:
    from datong_assets import instance as instances

    done = (
        _definitions(home)
        .resolve_job_def(name)
        .execute_in_process(
            instance=instances.instance(),
            raise_on_error=False,
            tags={instances.PROCESS: instances.this_process()},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    )
    return "" if done.success else f"the job {name} failed: {[e.message for e in done.all_events if e.is_failure]}"


def _built(home: Path) -> str:
    from datong_assets import instance as instances
    from datong_assets.dbt import building

    if building.up_to_date(instances.instance(), home / "struck") is not None:
        return ""
    return _job(home, "build")


def _published_to_postgres(home: Path) -> str:
    return _job(home, "publish")


def _written_back(home: Path) -> str:
    from datong_ingestion.connections.sql import SqlConnection
    from datong_ingestion.write_back import FlowConfig, run_flow
    from datong_ingestion.write_back.sql import SqlTarget
    from datong_platform.settings import settings

    flow = FlowConfig.model_validate(_FLOW)
    target = SqlTarget(flow, SqlConnection(url=settings().need("postgres_url")), "the credentials")
    try:
        result = run_flow(flow, target=target)
    finally:
        target.close()
    return "" if result.is_green else f"{result.stopped or ''} {result.held} {dict(result.problems)}"


def _kept_up(_: Path) -> str:
    from datong_platform.lake import upkeep
    from datong_platform.names import TableName, bronze

    upkeep.compact(bronze("plant", "orders"))
    upkeep.compact(TableName("ops", "write_back_ledger"))
    upkeep.vacuum(bronze("plant", "orders"))
    upkeep.vacuum_builds()
    return ""
