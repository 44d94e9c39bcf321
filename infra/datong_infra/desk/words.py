"""What entities, fields, rules and decisions are called in the visitor's language."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from datong_platform import page
from datong_platform.page import Markup

from datong_infra.desk.frame import Visit, counted

if TYPE_CHECKING:
    from datong_platform.standard.contract import Contract
    from datong_platform.standard.decisions import Decision

_KINDS = {
    "override": ("let pass", "放行"),
    "fix": ("fixed", "修正"),
    "code_mapping": ("code mapped", "代码对照"),
    "match": ("the same", "判为同一"),
    "not_match": ("not the same", "判为不同"),
    "merge": ("merged", "合并"),
    "split": ("split", "拆分"),
    "withdraw": ("taken back", "撤销"),
}


def contract(entity: str) -> Contract | None:
    """The contract of an entity, None when it has none."""
    from datong_platform.standard.contract import contracts

    return contracts().get(entity)


def of_entity(visit: Visit, entity: str) -> str:
    """What an entity is called."""
    found = contract(entity)
    return visit.t(found.title, found.title_zh) if found else entity


def of_field(visit: Visit, of: Contract | None, name: str) -> str:
    """What a field is called."""
    found = of.fields_by_name.get(name) if of else None
    return visit.t(found.title, found.title_zh) if found else name


def of_rule(visit: Visit, of: Contract | None, field: str, name: str) -> str:
    """What a rule is called."""
    from datong_platform.standard.rules import RULES

    rules = of.rules if of else ()
    found = next((rule for rule in rules if rule.name == name and (not field or rule.field in {field, ""})), None)
    kind = RULES.get(found.kind if found else name)
    return visit.t(kind.title, kind.title_zh) if kind else name


def of_decision(visit: Visit, decision: Decision) -> Markup:
    """What was decided, in words."""
    en, zh = _KINDS.get(decision.kind, (decision.kind, decision.kind))
    parts: list[str | Markup] = [page.mark(visit.t(en, zh), "good")]
    about = contract(decision.entity)
    if decision.field:
        parts += [" ", of_field(visit, about, decision.field)]
    if decision.rule:
        parts += [" ", page.code(decision.rule)]
    if decision.value is not None:
        parts += [" → ", page.code(decision.value)]
    return page.joined(parts)


def of_kind(visit: Visit, kind: str) -> str:
    """What a kind of decision is called."""
    return visit.t(*_KINDS.get(kind, (kind, kind)))


def entities(visit: Visit) -> list[tuple[str, str]]:
    """The entities of silver, to choose from."""
    from datong_platform.standard.contract import contracts

    every = [(name, visit.t(each.title, each.title_zh)) for name, each in contracts("silver").items()]
    return [("", visit.t("all", "全部")), *every]


def fields(visit: Visit, of: Contract | None) -> list[tuple[str, str]]:
    """The fields of an entity, to choose from."""
    every = [(each.name, visit.t(each.title, each.title_zh)) for each in (of.fields if of else ())]
    return [("", visit.t("all", "全部")), *every]


def rules(visit: Visit, of: Contract | None) -> list[tuple[str, str]]:
    """The rules of an entity, to choose from."""
    names = {rule.name: of_rule(visit, of, rule.field, rule.name) for rule in (of.rules if of else ())}
    return [("", visit.t("all", "全部")), *((name, f"{title} ({name})") for name, title in sorted(names.items()))]


def systems(visit: Visit) -> list[tuple[str, str]]:
    """The source systems, to choose from."""
    from datong_ingestion.systems_config import load_systems

    every = [
        (name, f"{name} {visit.t(config.title, config.title_zh)}".strip()) for name, config in load_systems().items()
    ]
    return [("", visit.t("all", "全部")), *every]


def count(visit: Visit, number: int) -> str:
    """So many records."""
    return counted(visit, number, "record", "records", "条记录")


def until(visit: Visit) -> datetime | None:
    """Until when a decision holds, as the form says; None for always. ConfigurationError for a day that has passed."""
    from datong_platform.standard.decisions import plant_time_zone
    from datong_platform.standard.decisions import until as moment

    day = visit.form.get("until", "").strip()
    return moment(day, plant_time_zone()) if day else None
