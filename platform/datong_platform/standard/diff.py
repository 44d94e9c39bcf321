"""What changed in the contracts since another revision, and whether anybody must act.

From the contract files of a git revision and those on disk to `Change`s. Breaking is what makes work of somebody wrong,
or stop: a column that is gone, of another type, of another meaning (unit, currency, codes), no longer guaranteed to be
there, a rule that holds back rows which pass today, a value that is shown unmasked. Everything else is harmless.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from datong_platform.errors import ConfigurationError
from datong_platform.settings import PROJECT_ROOT
from datong_platform.standard.contract import (
    CLASSIFICATIONS,
    CONTRACTS,
    SUFFIX,
    Contract,
    Field,
    Rule,
    contracts,
    parse,
)

Level = Literal["breaking", "harmless"]


@dataclass(frozen=True)
class Change:
    """One difference between two versions of a contract. `field` is empty when the whole table is meant."""

    table: str
    field: str
    level: Level
    what: str
    """What changed, in words: `type decimal(15,3), was string`."""
    why: str = ""
    """Who has to act, when it is breaking."""

    @property
    def is_breaking(self) -> bool:
        return self.level == "breaking"


@dataclass(frozen=True)
class Wrong:
    """A contract whose version does not say what its changes do."""

    table: str
    version: str
    was: str
    needed: str


def at_revision(revision: str, root: Path = PROJECT_ROOT) -> dict[str, Contract]:
    """The contracts as they were at a git revision; ConfigurationError when git does not know it, or one can't be read.

    Contracts written before a rule of today existed are read as far as they can be.
    """
    folder = CONTRACTS.relative_to(PROJECT_ROOT).as_posix()
    names = _git(root, "ls-tree", "--name-only", "-z", revision, f"{folder}/").split("\0")
    found: dict[str, Contract] = {}
    for name in names:
        if name.endswith(SUFFIX):
            read, problems = parse(_git(root, "show", f"{revision}:{name}"), CONTRACTS / Path(name).name)
            if read is None:
                raise ConfigurationError(
                    f"{name} at {revision}", f"cannot be read: {problems[0].reason}", "compare with another revision."
                )
            found[read.entity] = read
    return found


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, encoding="utf-8", check=False
        )
    except FileNotFoundError:
        raise ConfigurationError("git", "is not installed.", "install git; revisions are compared by it.") from None
    if done.returncode:
        reason = done.stderr.strip().splitlines()
        raise ConfigurationError(
            f"revision {arguments[-1].split(':')[0] if arguments[0] == 'show' else arguments[3]}",
            f"git says: {reason[-1] if reason else 'no words'}",
            "name a commit, branch or tag, as in `datong standard diff HEAD~1`.",
        )
    return done.stdout


def compare(old: Mapping[str, Contract], new: Mapping[str, Contract] | None = None) -> list[Change]:
    """Every change from `old` to `new` (default: the contracts on disk), breaking ones of a table first."""
    now = contracts() if new is None else new
    found: list[Change] = []
    for name in sorted({*old, *now}):
        if name not in now:
            found.append(Change(old[name].table, "", "breaking", "the contract is gone", "whoever reads the table"))
        elif name not in old:
            found.append(Change(now[name].table, "", "harmless", f"new, with {len(now[name].fields)} fields"))
        else:
            changes = list(_changes(old[name], now[name]))
            found += sorted(changes, key=lambda change: not change.is_breaking)
    return found


def versions_to_raise(old: Mapping[str, Contract], changes: list[Change]) -> list[Wrong]:
    """Contracts that changed and whose version does not tell: breaking needs a new major, the rest a new minor."""
    now = contracts()
    found: list[Wrong] = []
    for name, was in old.items():
        of_it = [change for change in changes if name in now and change.table == was.table]
        if not of_it:
            continue
        before, after = (tuple(map(int, each.version.split("."))) for each in (was, now[name]))
        is_breaking = any(change.is_breaking for change in of_it)
        needed = (before[0] + 1, 0, 0) if is_breaking else (before[0], before[1] + 1, 0)
        if after < needed:
            found.append(Wrong(was.table, now[name].version, was.version, ".".join(map(str, needed))))
    return found


def _changes(old: Contract, new: Contract) -> Iterator[Change]:
    def change(what: str, why: str = "", field: str = "") -> Change:
        return Change(new.table, field, "breaking" if why else "harmless", what, why)

    if old.key != new.key:
        yield change(f"key {', '.join(new.key)}, was {', '.join(old.key)}", "whoever joins by it")
    if old.is_merged != new.is_merged:
        yield change("written otherwise: merged or replaced", "the next build must be --full-refresh")
    if old.status != new.status:
        yield change(f"status {new.status}, was {old.status}", "its readers" if new.status == "retired" else "")
    for what, was, now in (
        ("owner", old.owner, new.owner),
        ("freshness", old.freshness_hours, new.freshness_hours),
        ("retention", old.retention_days, new.retention_days),
        ("title", (old.title, old.title_zh), (new.title, new.title_zh)),
        ("grain", old.grain, new.grain),
    ):
        if was != now:
            yield change(f"{what} {_said(now)}, was {_said(was)}", "whoever counts its rows" if what == "grain" else "")
    for name in old.fields_by_name.keys() - new.fields_by_name.keys():
        yield change("gone", "whoever reads the column", name)
    for each in new.fields:
        before = old.fields_by_name.get(each.name)
        if before is None:
            yield change(f"new, {each.physical_type}", "", each.name)
        else:
            yield from _field_changes(new, before, each)
    yield from _rule_changes(old, new)


def _field_changes(of: Contract, old: Field, new: Field) -> Iterator[Change]:
    def change(what: str, why: str = "") -> Change:
        return Change(of.table, new.name, "breaking" if why else "harmless", what, why)

    if old.physical_type != new.physical_type:
        why = "" if _is_wider(old, new) else "whoever reads the column as it was"
        yield change(f"type {new.physical_type}, was {old.physical_type}", why)
    for what, was, now in (
        ("unit", old.unit_field or old.unit, new.unit_field or new.unit),
        ("currency", old.currency_field, new.currency_field),
        ("code set", old.code_set, new.code_set),
        ("made from", old.derived_from, new.derived_from),
        ("normalised by", old.normalise, new.normalise),
    ):
        if was != now:
            yield change(f"{what} {_said(now)}, was {_said(was)}", "whoever relies on what its values mean")
    if old.is_required and not new.is_required:
        yield change("may be missing now", "whoever takes it for granted")
    if old.classification != new.classification or old.mask != new.mask:
        less = CLASSIFICATIONS.index(new.classification) < CLASSIFICATIONS.index(old.classification)
        why = "its readers, to whom it is masked now" if not less else "whoever answers for the data: it is shown now"
        yield change(f"classified {new.classification}, was {old.classification}", why)
    for what, was, now in (
        ("description", old.description, new.description),
        ("title", (old.title, old.title_zh), (new.title, new.title_zh)),
        ("examples", old.examples, new.examples),
    ):
        if was != now:
            yield change(f"{what} edited")
    if new.is_deprecated and not old.is_deprecated:
        yield change("deprecated: it will go")


def _is_wider(old: Field, new: Field) -> bool:
    if (old.physical_type, new.physical_type) == ("int", "bigint"):
        return True
    if old.scale is None or new.scale is None or old.precision is None or new.precision is None:
        return False
    return new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale


def _rule_changes(old: Contract, new: Contract) -> Iterator[Change]:
    was, now = ({(rule.field, rule.name): rule for rule in each.rules} for each in (old, new))
    for key, rule in now.items():
        before = was.get(key)
        if rule.field and rule.field not in old.fields_by_name and rule.on_failure != "withhold":
            continue
        if before is None:
            yield _stricter(new, rule, f"rule {rule.name} is new")
        elif (dict(before.params), before.on_failure) != (dict(rule.params), rule.on_failure):
            if dict(before.params) == dict(rule.params):
                yield _stricter(new, rule, f"rule {rule.name}: {rule.on_failure}, was {before.on_failure}")
            elif rule.kind not in {"type", "decimals"}:
                yield _stricter(
                    new, rule, f"rule {rule.name}: {_said(dict(rule.params))}, was {_said(dict(before.params))}"
                )
        elif (before.hold_above, before.stop_above) != (rule.hold_above, rule.stop_above):
            yield Change(new.table, rule.field, "harmless", f"rule {rule.name}: another threshold")
    for key, rule in was.items():
        if key not in now and (not rule.field or rule.field in new.fields_by_name):
            why = "" if rule.on_failure == "warn" else "whoever relies on it: what it refused comes through"
            yield Change(new.table, rule.field, "breaking" if why else "harmless", f"rule {rule.name} is gone", why)


def _stricter(of: Contract, rule: Rule, what: str) -> Change:
    if of.layer == "silver" and rule.on_failure == "withhold":
        return Change(of.table, rule.field, "breaking", what, "its stewards: rows that pass today can be held back")
    if of.layer == "silver" and rule.on_failure == "empty":
        return Change(of.table, rule.field, "breaking", what, "its stewards: values that pass today can be emptied")
    return Change(of.table, rule.field, "harmless", what)


def _said(value: object) -> str:
    if value is None or value in ((), "", {}):
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(each)}" for key, each in value.items())
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return str(value)
