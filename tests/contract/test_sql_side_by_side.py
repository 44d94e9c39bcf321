"""A big table of PostgreSQL is read by several connections at once, in ranges of its pages, as of one moment."""

from __future__ import annotations

import itertools
import re
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from datong_ingestion.protocols.databases import postgresql, side_by_side
from datong_ingestion.source import InterruptedReadError, Page, connect
from datong_ingestion.systems_config import SystemConfig
from fault_proxy import Proxy

ROWS = 6000
OURS = (
    "select pid from pg_stat_activity where application_name = 'datong' and query like %s and query like '%%ctid%%' "
    "and state <> 'idle' and pid <> pg_backend_pid() order by backend_start"
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests read is much, and a few pages are a range; connections read no further ahead than one piece."""
    monkeypatch.setattr(postgresql, "MUCH_BYTES", 100_000)
    monkeypatch.setattr(postgresql, "RANGE_BYTES", 100_000)
    monkeypatch.setattr(side_by_side, "HELD_BYTES", 1)


class Big:
    """A table of some pages in the schema of a rig, and reads of it page by page."""

    def __init__(self, rig: Any) -> None:
        self.rig = rig
        rig.run("create table big (id int primary key, said text, stock int not null)")
        self.fill("big")

    def fill(self, table: str) -> None:
        self.rig.run(
            f"insert into {table} select g, repeat(md5(g::text), 5), 1 from generate_series(1, {ROWS}) g order by g"
        )
        self.rig.run(f"analyze {table}")

    def system(self, source: str = "big", **connection: Any) -> SystemConfig:
        return self.rig.system("full", source=source, keys=["id"], connection=connection)

    @contextmanager
    def user(self, limit: int = -1) -> Generator[str]:
        """The address with a user who may read its tables, over so many connections at once."""
        name = self.rig.name
        self.rig.run(f"create role {name} login password 'word' connection limit {limit}")
        self.rig.run(f"grant {name} to current_user")
        self.rig.run(f"grant connect on database {self.rig.db.info.dbname} to {name}")
        self.rig.run(f"grant usage on schema {name} to {name}")
        self.rig.run(f"grant select on all tables in schema {name} to {name}")
        try:
            yield re.sub(r"//[^@]+@", f"//{name}:word@", self.rig.url)
        finally:
            self.rig.run(f"drop owned by {name}")
            self.rig.run(f"drop role {name}")

    def backends(self) -> list[int]:
        """Who reads a range of it now."""
        return [row[0] for row in self.rig.db.execute(OURS, [f"%{self.rig.name}%"]).fetchall()]

    def are_all_gone(self) -> bool:
        """Whether nobody reads a range any more; a server needs a moment to see that a connection was closed."""
        deadline = time.monotonic() + 60
        while self.backends() and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.backends()

    def several(self) -> list[int]:
        """Those, as soon as there are two: others begin beside the first, which does not wait for them."""
        deadline = time.monotonic() + 60
        while len(found := self.backends()) < 2:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found


@pytest.fixture
def big(sql: Any) -> Big:
    return Big(sql)


def read(system: SystemConfig) -> Iterator[Page]:
    source = connect(system)
    try:
        entity = system.entity("thing")
        yield from source.read(entity, source.describe(entity), None)
    finally:
        source.close()


def column(pages: list[Page], name: str) -> list[Any]:
    return [value for page in pages for value in page.rows.column(name).to_pylist()]


def ranges(rig: Any, **changes: Any) -> list[str]:
    """How the read of an entity is cut."""
    system = rig.system("full", **changes)
    source: Any = connect(system)
    try:
        entity = system.entity("thing")
        table = source.dialect.source(entity)

        def statement(condition: str) -> str:
            return f"select * from {table}{f' where {condition}' if condition else ''}"

        return source.dialect.cuts(entity, statement)
    finally:
        source.close()


def test_what_others_commit_between_ranges_is_seen_in_no_part(big: Big) -> None:
    found = read(big.system(concurrency=3))
    first = next(found)
    assert len(big.several()) >= 2
    big.rig.run("update big set stock = stock + 1")
    big.rig.run("delete from big where id % 7 = 0")
    big.rig.run(f"insert into big select g, '', 5 from generate_series({ROWS + 1}, {ROWS + 500}) g")
    pages = [first, *found]
    assert len(pages) > 3
    assert column(pages, "id") == list(range(1, ROWS + 1))
    assert set(column(pages, "stock")) == {1}
    assert big.are_all_gone()


def test_goods_that_are_moved_all_the_while_are_counted_once(big: Big) -> None:
    ended = threading.Event()

    def move() -> None:
        with psycopg.connect(big.rig.url, autocommit=True) as other:
            other.execute(b"set search_path to " + big.rig.name.encode())
            for number in itertools.count():
                giver = number * 7919 % ROWS + 1
                other.execute(
                    "update big set stock = stock + case when id = %s then -1 else 1 end where id in (%s, %s)",
                    [giver, giver, ROWS + 1 - giver],
                )
                if ended.is_set():
                    return

    mover = threading.Thread(target=move)
    mover.start()
    try:
        for _ in range(3):
            pages = list(read(big.system()))
            assert sorted(column(pages, "id")) == list(range(1, ROWS + 1))
            assert sum(column(pages, "stock")) == ROWS
    finally:
        ended.set()
        mover.join()


def test_a_table_that_stays_as_it_was_is_no_news(big: Big) -> None:
    big.rig.run("update big set said = case id % 3 when 0 then null else said end, stock = id where id % 5 = 0")
    assert big.rig.ingest("full", source="big").rows == ROWS
    assert big.rig.ingest("full", source="big", connection={"concurrency": 1}).batches == []
    assert big.rig.ingest("full", source="big").batches == []


def test_a_range_whose_connection_is_killed_breaks_the_whole_read_off(big: Big) -> None:
    found = read(big.system(concurrency=3))
    next(found)
    killed = big.several()[-1]
    big.rig.db.execute("select pg_terminate_backend(%s)", [killed])
    with pytest.raises(InterruptedReadError, match=r"terminating|closed|connection"):
        list(found)
    assert big.are_all_gone()


def test_a_read_that_was_killed_begins_anew_and_brings_each_row_once(big: Big, monkeypatch: pytest.MonkeyPatch) -> None:
    from datong_platform.lake.landing import Landing

    real, kills = Landing.add, iter([True])

    def add(self: Landing, *what: Any) -> None:
        if next(kills, False):
            big.rig.db.execute("select pg_terminate_backend(%s)", [big.several()[-1]])
        real(self, *what)

    monkeypatch.setattr(Landing, "add", add)
    result = big.rig.ingest("full", source="big")
    assert next(kills, "struck") == "struck"
    assert result.rows == result.total_rows == ROWS
    assert len(result.batches) == 1


@pytest.mark.parametrize("fault", ["reset", "truncated", "half open"])
def test_a_fault_on_one_of_the_connections_ends_in_an_error_and_leaves_nothing(big: Big, fault: Any) -> None:
    address, port = re.findall(r"@([^:/]+):(\d+)/", big.rig.url)[0]
    with Proxy(address, int(port)) as proxy:
        system = big.system(
            concurrency=3, url=proxy.through(big.rig.url), timeout_seconds=1 if fault == "half open" else 30
        )
        found = read(system)
        pages = [next(found)]
        big.several()
        proxy.strike(fault, times=1)
        with pytest.raises(InterruptedReadError):
            pages.extend(found)
        assert sum(strike.struck for strike in proxy.strikes) == 1
        assert len(column(pages, "id")) < ROWS
        proxy.heal()
        assert column(list(read(system)), "id") == list(range(1, ROWS + 1))


def test_a_read_that_is_given_up_lets_go_of_every_connection(big: Big) -> None:
    source: Any = connect(big.system(concurrency=3))
    entity = source.definition.entity("thing")
    found = source.read(entity, source.describe(entity), None)
    next(found)
    big.several()
    found.close()
    assert big.are_all_gone()
    # each of its three slots is there again
    assert [source._gate.spare() for _ in range(4)] == [True, True, True, False]
    source.close()


@pytest.mark.parametrize("why", ["one connection is all that the user may have", "snapshots are not exported"])
def test_where_others_are_not_allowed_one_connection_reads_all_of_it(
    big: Big, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "exported" in why:
        # as a server answers that has no such function
        monkeypatch.setattr(postgresql, "_MOMENT", "no_such_function()")
    # a second connection asks the catalog
    with big.user(-1 if "exported" in why else 2) as url:
        pages, seen = list[Page](), set[int]()
        for page in read(big.system(url=url)):
            pages.append(page)
            seen |= set(big.backends())
        assert column(pages, "id") == list(range(1, ROWS + 1))
        assert len(seen) == 1


def test_a_connection_that_leads_to_another_moment_is_not_used(big: Big, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy may lead it to another server, where a snapshot of this name is another one."""
    monkeypatch.setattr(postgresql, "_MOMENT", "clock_timestamp()::text")
    seen: set[int] = set()
    pages: list[Page] = []
    for page in read(big.system()):
        pages.append(page)
        seen |= set(big.backends())
    assert column(pages, "id") == list(range(1, ROWS + 1))
    assert len(seen) == 1


class Pooler(Proxy):
    """Lets so many connections in, and all others wait. The driver opens one more to learn the types."""

    allowed = 3

    def _serve(self, client: socket.socket) -> None:
        if self.connections <= self.allowed:
            super()._serve(client)
            return
        with closing(client), suppress(OSError):
            while client.recv(65536):
                pass


def test_a_connection_that_waits_to_be_let_in_holds_nobody_up(big: Big) -> None:
    address, port = re.findall(r"@([^:/]+):(\d+)/", big.rig.url)[0]
    with Pooler(address, int(port)) as pooler:
        # so long that the read would not end within this test if it waited for them
        url = f"{pooler.through(big.rig.url)}?connect_timeout=3600"
        pages = list(read(big.system(url=url, concurrency=3, timeout_seconds=3600)))
        assert column(pages, "id") == list(range(1, ROWS + 1))
        assert pooler.connections > pooler.allowed


def test_what_has_no_pages_of_its_own_is_read_as_a_whole(big: Big) -> None:
    big.rig.run("create view seen as select * from big")
    big.rig.run("create table small (id int primary key)")
    assert ranges(big.rig, source="seen") == []
    assert ranges(big.rig, source="small") == []
    assert ranges(big.rig, source="", query=f"select * from {big.rig.name}.big", keys=["id"]) == []
    pages = list(read(big.system("seen")))
    assert sorted(column(pages, "id")) == list(range(1, ROWS + 1))


def test_a_filter_that_an_index_serves_is_not_cut(big: Big) -> None:
    """Each range would read its pages, where one look into the index finds all."""
    system = big.system()
    source: Any = connect(system)
    try:
        entity = system.entity("thing")
        table = source.dialect.source(entity)
        conditions = {"id > 0": 10, "id between 100 and 2000": 0}
        for condition, least in conditions.items():
            cuts = source.dialect.cuts(
                entity,
                lambda more, condition=condition: f"select * from {table} where {condition} and {more or 'true'}",
            )
            assert bool(cuts) == bool(least)
    finally:
        source.close()


@pytest.mark.parametrize("kind", ["partitions", "heirs", "a materialized view"])
def test_parts_of_one_table_are_cut_together_and_each_row_comes_once(big: Big, kind: str) -> None:
    if kind == "partitions":
        big.rig.run("create table whole (id int, said text, stock int) partition by hash (id)")
        for number in range(3):
            big.rig.run(
                f"create table whole_{number} partition of whole for values with (modulus 4, remainder {number})"
            )
        # one partition of another size, and one without a row
        big.rig.run("create table whole_3 partition of whole for values with (modulus 4, remainder 3)")
        big.fill("whole")
        big.rig.run("delete from whole_2 where id > 300")
        big.rig.run("truncate whole_3")
        big.rig.run("vacuum analyze whole")
    elif kind == "heirs":
        big.rig.run("create table whole (id int, said text, stock int)")
        big.rig.run("create table heir () inherits (whole)")
        big.fill("whole")
        big.fill("heir")
    else:
        big.rig.run("create materialized view whole as select * from big")
        big.rig.run("analyze whole")
    assert len(ranges(big.rig, source="whole")) > 3
    expected = [row[0] for row in big.rig.db.execute(f"select id from {big.rig.name}.whole order by 1").fetchall()]
    pages = list(read(big.system("whole")))
    assert sorted(column(pages, "id")) == expected


def test_rows_that_nobody_may_see_stay_unseen(big: Big) -> None:
    big.rig.run("create table allowed (id int primary key)")
    big.rig.run("insert into allowed select generate_series(1, 4000)")
    with big.user() as url:
        name = big.rig.name
        big.rig.run("alter table big enable row level security")
        big.rig.run(f"create policy mine on big to {name} using (id in (select id from {name}.allowed))")
        assert column(list(read(big.system(url=url))), "id") == list(range(1, 4001))


def test_a_connection_that_is_ended_is_that_one_and_no_other(big: Big) -> None:
    source: Any = connect(big.system())
    with source.dialect.snapshot("thing") as one:
        other = source.dialect.snapshot("thing")
        other.cut()
        with pytest.raises(Exception, match=r"closed|connection|terminat"):
            list(other.batches("select 1 as n"))
        other.__exit__(ConnectionAbortedError)
        assert [table.column("n").to_pylist() for table in one.batches("select 1 as n")] == [[1]]
    source.close()


class Counted(postgresql.Snapshot):
    """A connection whose statements are numbers: so many pieces of as many rows."""

    def __init__(self, fails_at: str = "") -> None:
        self.fails_at, self.left = fails_at, 0

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self.left += 1

    def batches(self, statement: str) -> Iterator[pa.Table]:
        for piece in range(3):
            if statement == self.fails_at:
                raise ValueError(statement)
            yield pa.table({"at": [int(statement) * 3 + piece]})


def rows_of(snapshot: Any, statement: str) -> Generator[pa.Table]:
    yield from snapshot.batches(statement)


def made(table: pa.Table) -> int:
    return table.column("at").to_pylist()[0]


def test_rows_come_in_the_order_of_the_statements_and_are_not_heaped_up() -> None:
    slots, twins, made_now = side_by_side.Slots(5), [Counted() for _ in range(4)], list[int]()

    def noted(table: pa.Table) -> int:
        made_now.append(made(table))
        return made_now[-1]

    with slots:
        several = side_by_side.SideBySide(
            [str(number) for number in range(50)],
            Counted(),
            another=iter(twins).__next__,
            slots=slots,
            rows=rows_of,
            made=noted,
        )
        taken: list[int] = []
        for one in several.read(5):
            taken.append(one)
            # a piece in each hand, and the one that is held
            assert len(made_now) <= len(taken) + 7
    assert taken == list(range(150))
    assert [twin.left for twin in twins] == [1] * 4
    assert [slots.spare() for _ in range(6)] == [True] * 5 + [False]


def test_one_statement_that_fails_ends_the_read_with_its_error() -> None:
    slots = side_by_side.Slots(2)
    with slots:
        several = side_by_side.SideBySide(
            [str(number) for number in range(50)],
            Counted("30"),
            another=lambda: Counted("30"),
            slots=slots,
            rows=rows_of,
            made=made,
        )
        with pytest.raises(ValueError, match=r"^30$"):
            list(several.read(2))
    assert [slots.spare() for _ in range(3)] == [True, True, False]


def test_another_read_that_waits_gets_the_slot_of_one_that_helps() -> None:
    slots, twin = side_by_side.Slots(2), Counted()
    came_in = threading.Event()

    def wait() -> None:
        with slots:
            came_in.set()

    waiting = threading.Thread(target=wait)
    with slots:
        several = side_by_side.SideBySide(
            [str(number) for number in range(200)],
            Counted(),
            another=lambda: twin,
            slots=slots,
            rows=rows_of,
            made=made,
        )
        found = several.read(2)
        taken = [next(found)]
        assert not slots.spare()
        waiting.start()
        for one in found:
            taken.append(one)
            if one == 300:
                assert came_in.wait(60)
        assert taken == list(range(600))
    waiting.join()
