"""Codes of systems that the standard does not know yet: which, how often, and what each most likely means.

From the rule `known_<code set>` in quarantine to a proposal for a steward, and from the steward's word to a decision of
kind `code_mapping`, which the next build heeds as if the crosswalk said so.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from datong_platform.errors import ConfigurationError
from datong_platform.settings import DBT_PROJECT
from datong_platform.standard import decisions
from datong_platform.standard.decisions import Decision, NewDecision

CODES = DBT_PROJECT / "standard" / "codes"
CROSSWALKS = DBT_PROJECT / "standard" / "crosswalks"

_PREFIX = "known_"
_WORTH_SAYING = 0.6
"""A likeness below this is chance, and no proposal is better than a wrong one."""

Basis = Literal["code", "title", "symbol", "other system", "similar"]
"""Why a code is proposed: it is the standard's own, its title, a way to write it, what another system means by it, or
one that is written alike."""


@dataclass(frozen=True)
class Code:
    """A code of the standard. `symbols` are other ways in which people and systems write it."""

    code_set: str
    code: str
    title: str
    title_zh: str
    valid_from: date | None = None
    valid_until: date | None = None
    """The last day on which it may be used; None for always."""
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """What a system's code probably means. `score` is 1 for certain."""

    code: str
    title: str
    title_zh: str
    score: float
    basis: Basis
    evidence: str
    evidence_zh: str


@dataclass(frozen=True)
class Unmapped:
    """A code that a system sends and that has no counterpart in the standard."""

    source_system: str
    code_set: str
    source_code: str
    rows: int
    withheld_rows: int
    entities: tuple[str, ...]
    first_seen_at: datetime | None
    proposals: tuple[Proposal, ...]
    """The likeliest first; none when nothing is like it."""


def code_sets(folder: Path = CODES) -> dict[str, dict[str, Code]]:
    """Every code of the standard by its set, units and currencies among them."""
    stamp = tuple((path, path.stat().st_mtime_ns) for path in sorted(folder.glob("*.csv")))
    return _code_sets(stamp)


@lru_cache(maxsize=4)
def _code_sets(stamp: tuple[tuple[Path, int], ...]) -> dict[str, dict[str, Code]]:
    found: dict[str, dict[str, Code]] = {}
    for path, _ in stamp:
        if path.stem not in {"code", "unit", "currency"}:
            continue
        for row in _rows(path):
            name = row.get("code_set") or path.stem
            code = row.get("code") or row[path.stem]
            found.setdefault(name, {})[code] = Code(
                name,
                code,
                row["title"],
                row["title_zh"],
                _day(row.get("valid_from")),
                _day(row.get("valid_until")),
                tuple((row.get("symbols") or "").split()),
            )
    return found


def crosswalks(folder: Path = CROSSWALKS) -> dict[str, dict[tuple[str, str], str]]:
    """What each system's codes mean, by system, then by (code set, system's code)."""
    return {
        path.stem.removeprefix("crosswalk_"): {
            (row["code_set"], row["source_code"]): row["code"] for row in _rows(path)
        }
        for path in sorted(folder.glob("crosswalk_*.csv"))
    }


def unmapped(system: str | None = None) -> list[Unmapped]:
    """The codes in quarantine that the standard does not know, those that hold most rows first.

    They are as of the last build; what was decided since is left out. ServiceError when the engine does not answer.
    """
    from datong_platform.engine import query
    from datong_platform.lake.catalog import stored_tables

    decided = {(each.source_system, each.entity, each.source_key) for each in decisions.active("code_mapping")}
    held: dict[tuple[str, str, str], list[tuple[str, int, bool, datetime]]] = {}
    for table in stored_tables(["quarantine"]):
        if "__" in table.name:
            continue  # what could not be read at all
        found = query(
            "select source_system, failures, is_withheld, count(*) as held, min(_datong_ingested_at) as first_seen_at "
            f"from {table} where rule like '%{_PREFIX}%' group by source_system, failures, is_withheld"
        )
        for row in found.to_pylist():
            if system not in {None, row["source_system"]}:
                continue
            for code_set, source_code in _unknown(row["failures"]):
                key = (row["source_system"], code_set, source_code)
                if (row["source_system"], code_set, source_code) not in decided:
                    held.setdefault(key, []).append((table.name, row["held"], row["is_withheld"], row["first_seen_at"]))
    listed = [
        Unmapped(
            *key,
            rows=sum(count for _, count, _, _ in places),
            withheld_rows=sum(count for _, count, is_withheld, _ in places if is_withheld),
            entities=tuple(sorted({name for name, _, _, _ in places})),
            first_seen_at=min(at for _, _, _, at in places),
            proposals=tuple(propose(key[1], key[2], system=key[0])),
        )
        for key, places in held.items()
    ]
    return sorted(listed, key=lambda each: (-each.rows, each.source_system, each.code_set, each.source_code))


def propose(code_set: str, source_code: str, *, system: str | None = None, at_most: int = 3) -> list[Proposal]:
    """What `source_code` of a system most likely means, the likeliest first."""
    known = code_sets().get(code_set, {})
    best: dict[str, Proposal] = {}

    def offer(code: Code, score: float, basis: Basis, evidence: tuple[str, str]) -> None:
        if code.code not in best or best[code.code].score < score:
            best[code.code] = Proposal(code.code, code.title, code.title_zh, round(score, 2), basis, *evidence)

    asked = _bare(source_code)
    for code in known.values():
        if not asked:
            break
        for text, basis, score in _names(code):
            if _bare(text) == asked:
                offer(code, score, basis, (f"is written {text}", f"写作“{text}”"))
            elif min(len(asked), len(_bare(text))) > 2:
                likeness = SequenceMatcher(None, asked, _bare(text)).ratio()
                if likeness >= _WORTH_SAYING:
                    offer(code, 0.9 * likeness, "similar", (f"is like {text}", f"近似“{text}”"))
    for other, lines in crosswalks().items():
        for (set_, theirs), code in lines.items():
            if set_ == code_set and other != system and _bare(theirs) == asked and code in known:
                offer(known[code], 0.95, "other system", (f"{other} means it by {theirs}", f"{other} 用“{theirs}”表示"))
    return sorted(best.values(), key=lambda each: (-each.score, each.code))[:at_most]


def map_code(
    source_system: str,
    code_set: str,
    source_code: str,
    code: str,
    *,
    who: str,
    why: str,
    valid_until: datetime | None = None,
    replaces: str | None = None,
) -> Decision:
    """A steward's word on what a system's code means; the next build releases the rows that waited for it.

    ConfigurationError for a code that the standard does not have. DecidedOtherwiseError when somebody else decided
    otherwise and `replaces` does not name that decision.
    """
    known = code_sets()
    if code_set not in known:
        raise ConfigurationError(
            f"code set {code_set}", "is not in the standard.", f"name one of {', '.join(sorted(known))}."
        )
    if code not in known[code_set]:
        near = ", ".join(each.code for each in propose(code_set, code)) or ", ".join(sorted(known[code_set])[:12])
        raise ConfigurationError(
            f"code {code}", f"is not in the code set {code_set}.", f"name one of its codes, such as {near}."
        )
    return decisions.record(
        NewDecision(
            "code_mapping",
            code_set,
            who,
            why,
            source_system=source_system,
            source_key=source_code,
            value=code,
            valid_until=valid_until,
            withdraws=replaces,
        )
    )


def dated(code_set: str) -> list[Code]:
    """The codes of a set that may not always be used."""
    return [code for code in code_sets().get(code_set, {}).values() if code.valid_from or code.valid_until]


def _unknown(failures: str | None) -> Iterable[tuple[str, str]]:
    """Code set and system's code of each unknown code among a row's failures."""
    listed: list[dict[str, Any]] = json.loads(failures or "[]")
    for failure in listed:
        name = str(failure.get("rule") or "")
        if name.startswith(_PREFIX):
            yield name.removeprefix(_PREFIX), str(failure.get("raw") or "")


def _names(code: Code) -> Sequence[tuple[str, Basis, float]]:
    titles = [text for text in (code.title, code.title_zh) if text]
    return (
        (code.code, "code", 1.0),
        *((symbol, "symbol", 0.98) for symbol in code.symbols),
        *((title, "title", 0.97) for title in titles),
    )


def _bare(text: str) -> str:
    import unicodedata

    return "".join(
        letter for letter in unicodedata.normalize("NFKC", text).casefold() if letter.isalnum() or letter == "%"
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
