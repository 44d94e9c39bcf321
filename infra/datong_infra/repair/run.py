"""One command for all that can be lost: look, put back from a backup, mend from what is left, look again.

A backup holds objects by name and hash. Log entries, checkpoints, data files and landed files never change once they
are written, so one that is gone is put back as it was, whatever was committed since. Only what no backup holds is told
again by the lake itself (`datong_platform.lake.mending`). A database is put back only when it
was made anew since this home last knew it, each for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from datong_platform.lake import integrity, mending, storage
from datong_platform.lake.mending import Mended
from datong_platform.settings import from_environment, home

from datong_infra.services import postgres

if TYPE_CHECKING:
    from datong_platform.lake.integrity import Damage

    from datong_infra.backup.repository import Item, Repository

Tell = Callable[[str], None]
_USERS = {"desk", "dagster-code", "dagster-webserver", "dagster-daemon"}
"""Services that hold connections to the databases."""


@dataclass
class Repaired:
    """What a repair came to."""

    found: list[Damage] = field(default_factory=list["Damage"])
    put_back: list[str] = field(default_factory=list[str])
    """Objects that came from a backup."""
    mended: list[Mended] = field(default_factory=list[Mended])
    left: list[Damage] = field(default_factory=list["Damage"])
    """What is still damaged."""
    databases: list[str] = field(default_factory=list[str])
    """Databases that came from a backup."""
    registered: int = 0
    """Tables that the engine had forgotten."""

    @property
    def ok(self) -> bool:
        """Whether nothing that matters is left."""
        return not any(damage.is_loss for damage in self.left)


def repair(repository: Repository | None = None, tell: Tell = lambda _text: None) -> Repaired:
    """Mend all that can be mended; safe to repeat. ServiceError when the store, PostgreSQL or the place fails."""
    _every_database(tell)
    done = Repaired(found=integrity.examine())
    for damage in done.found:
        tell(f"{damage.thing}: {damage.reason}")
    if repository is not None:
        done.put_back = _put_back(repository, done.found)
        if done.put_back:
            tell(f"{len(done.put_back)} objects put back from {repository.place}")
        done.databases = _databases(repository, tell)
    # one damage can hide another: a table that cannot be opened does not tell which of its files are gone
    for _ in range(3):
        damages = integrity.examine() if done.found else []
        if not damages:
            break
        if repository is not None and (more := _put_back(repository, damages)):
            done.put_back += more
            continue
        fresh = mending.mend_all(damages)
        done.mended += [one for one in fresh if one.ok or one.damage not in [old.damage for old in done.mended]]
        if not any(one.ok for one in fresh):
            break
    done.left = integrity.examine() if done.found else []
    done.registered = _register(tell)
    postgres.remember()
    return done


def _every_database(tell: Tell) -> None:
    """Make a database anew that was dropped: empty, and known as another one."""
    from datong_infra.services import stack

    if from_environment("postgres_url"):
        return
    for one in stack.up(["postgres"]):
        if one.changed:
            tell(f"{one.name}: started again")


def _put_back(repository: Repository, damages: Iterable[Damage]) -> list[str]:
    """Put objects back that a backup holds, the newest one first; their names."""
    wanted = {key for damage in damages for key in damage.keys}
    put: list[str] = []
    for backup_id in reversed(repository.ids()):
        if not wanted:
            break
        for item in repository.read(backup_id).lake:
            if item.name in wanted and _copied(repository, item):
                put.append(item.name)
                wanted.discard(item.name)
    return put


def _copied(repository: Repository, item: Item) -> bool:
    # compared with its hash as it is read; and what is there is never replaced
    return storage.put_if_absent(item.name, b"".join(repository.pieces(item)))


def _databases(repository: Repository, tell: Tell) -> list[str]:
    """Fill databases that were made anew since they were last seen; what they hold by now is kept as a dump."""
    from datong_infra.backup import databases

    gone = postgres.lost()
    if not gone or not repository.ids():
        return []
    backup = repository.read()
    found = [item for item in backup.databases if item.name in gone]
    aside = home() / "set_aside" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    aside.mkdir(parents=True, mode=0o700)
    with _nobody_at_work(tell):
        for item in found:
            with (aside / f"{item.name}.dump").open("wb") as file:
                file.writelines(databases.dump(item.name))
            # what was made since would be in the dump's way
            databases.clear(item.name)
            databases.load(item.name, repository.pieces(item))
            tell(f"database {item.name} as at {backup.began_at:%Y-%m-%d %H:%M:%S} UTC")
    return [item.name for item in found]


@contextmanager
def _nobody_at_work(tell: Tell) -> Generator[None]:
    """Stop what holds connections to the databases while they are replaced; then as it was before."""
    from datong_infra.services import stack

    at_work = [one.name for one in stack.status() if one.pid is not None and one.name in _USERS]
    if at_work:
        tell(f"{', '.join(at_work)}: stopped while the database is replaced")
        stack.down(at_work)
    try:
        yield
    finally:
        # the roles of this installation may use what the dump brought once PostgreSQL was started again
        stack.down(["postgres"])
        stack.up(["postgres", *at_work])


def _register(tell: Tell) -> int:
    """Let the engine know every table again: its catalog is derived."""
    from datong_platform.lake import catalog

    done = catalog.register()
    for name, reason in done.skipped.items():
        tell(f"{name} is not known to the engine: {reason}")
    return len(done.tables)
