"""What people call a table, a flow, a system and a check that failed, in English and Chinese: titles of alerts.

A title is read by somebody in the plant, on a telephone: it says "Customer (CRM)", not `bronze.crm__account`. The name
in the lake stands beside it, where the finding's subject and detail are. A definition that somebody is just writing
must not stop alerts: until it can be read, plain names do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from datong_ingestion.systems_config import load_systems
from datong_ingestion.two_way.config import load_flows_and_ways, load_syncs
from datong_platform.errors import ConfigurationError
from datong_platform.quality.balances import Balance, balances
from datong_platform.standard.contract import Contract, contracts

from datong_assets.dbt import graph

_T = TypeVar("_T")

_JOBS = {
    "upkeep": ("The nightly upkeep", "夜间维护"),
    "quality": ("The scoring of data quality", "数据质量评分"),
    "anomalies": ("The comparison of tables with their own history", "数据量与及时性分析"),
    "reconcile_balances": ("The reconciliation of balances", "业务平衡核对"),
    "build": ("The build", "数据构建"),
    "publish": ("The publication for reports", "报表数据发布"),
    "write_back": ("The write-back", "数据回写"),
}
"""Jobs whose run failed without a table to name."""

_FAILED = {
    "conservation": ("{}: rows are missing on the way", "{}：处理前后行数不一致"),
    "conserved": ("{}: rows are missing on the way", "{}：处理前后行数不一致"),
    "golden_conserved": ("{}: records are missing after the matching", "{}：合并匹配前后记录数不一致"),
    "every_record_has_one": ("{}: a record belongs to none, or to two", "{}：有记录未归属或重复归属"),
    "key": ("{}: a record is there twice, or has no number", "{}：有记录重复，或缺少编号"),
    "keeps_contract": ("{}: values break the agreed rules", "{}：有值不符合数据标准"),
    "known_codes": ("{}: codes that nobody has explained yet", "{}：出现尚未对照的代码"),
    "within_thresholds": ("{}: unusually many records break a rule", "{}：违反规则的记录过多"),
    "schema_unchanged": ("{}: the source changed its fields", "{}：来源系统的字段有变化"),
    "nothing_refused": ("{}: some of what came cannot be read", "{}：收到的部分数据无法读取"),
    "reconciled": ("{}: does not agree with the source", "{}：与来源系统核对不一致"),
    "not_worse": ("{}: the quality fell", "{}：质量评分下降"),
    "volume_as_usual": ("{}: unusually many or few rows came", "{}：数据量异常"),
    "verified": ("{}: not everything arrived", "{}：有内容未核实到位"),
    "nothing_given_up": ("{}: a value of one system gave way to the other's", "{}：两边都改过，有一方的值被放弃"),
    "a_unit_is_what_decides_it": ("{}: one thing is counted in two units", "{}：同一项出现两种计量单位"),
    "an_event_is_posted_once": ("{}: an event was posted twice", "{}：有事件被重复过账"),
    "every_quantity_can_be_converted": ("{}: a quantity has a unit that cannot be converted", "{}：有数量单位无法换算"),
}
"""What a check that failed means, by its name."""
_FAILED_FOR_COLUMN = {
    "not_null": ("{}: {} is empty", "{}：{} 为空"),
    "unique": ("{}: {} is there twice", "{}：{} 有重复"),
    "accepted_values": ("{}: {} holds a value that is none of those agreed", "{}：{} 有约定之外的值"),
    "relationships": ("{}: {} names a record that is not there", "{}：{} 指向不存在的记录"),
}
"""The same for dbt's own tests, which are of one column: `not_null_unit`."""


def thing(subject: str) -> tuple[str, str]:
    """What people call a table, a flow, a system or a job, given as a finding's subject."""
    schema, _, name = subject.partition(".")
    if name and (of := _OF_SCHEMA.get(schema)):
        return of(name)
    return _table(subject) if name else _job(subject)


def source_system(name: str) -> tuple[str, str]:
    """What people call a source system; its name where nobody gave it a title."""
    found = _read(load_systems, {}).get(name)
    title = (found.title if found else "") or name
    return title, (found.title_zh if found else "") or title


def failed_check(subject: str, check: str, *, is_run: bool = True) -> tuple[str, str]:
    """What it means that a check failed, as a title; of one that could not be run, that nothing is known."""
    english, chinese = thing(subject)
    if not is_run:
        return f"{english}: a check could not be made", f"{chinese}：有检查未能执行"
    if found := _FAILED.get(check):
        return found[0].format(english), found[1].format(chinese)
    for kind, found in _FAILED_FOR_COLUMN.items():
        if check.startswith(f"{kind}_"):
            column = check.removeprefix(f"{kind}_")
            column_en, column_zh = _column(subject, column)
            return found[0].format(english, column_en), found[1].format(chinese, column_zh)
    balance = next((one for one in _read(balances, list[Balance]()) if one.name == check), None)
    if balance is not None:
        return f"Does not add up: {balance.title}", f"不平衡：{balance.title_zh or balance.title}"
    return f"{english}: failed its check “{check.replace('_', ' ')}”", f"{chinese}：未通过检查“{check}”"


def _job(name: str) -> tuple[str, str]:
    kind, _, system = name.partition("_")
    if name not in _JOBS and system and kind in {"ingest", "reconcile"}:
        english, chinese = source_system(system)
        if kind == "ingest":
            return f"The reading of {english}", f"{chinese}的读取"
        return f"The reconciliation with {english}", f"与{chinese}的核对"
    return _JOBS.get(name, (name, name))


def _entity(name: str) -> tuple[str, str]:
    """An entity as its system sends it, `crm__account`; as its source asset is called, `crm.account`."""
    system, _, entity = name.replace(".", "__", 1).partition("__")
    found = _read(load_systems, {}).get(system)
    one = next((each for each in found.entities if each.name == entity), None) if found else None
    of, of_zh = source_system(system)
    title = (one.title if one else "") or _words(entity)
    title_zh = (one.title_zh if one else "") or title
    return f"{title} ({of})", f"{title_zh}（{of_zh}）"


def _held_back(name: str) -> tuple[str, str]:
    english, chinese = _entity(name) if "__" in name else _table(f"silver.{name}")
    return f"Held back of {english}", f"{chinese}的隔离数据"


def _scored(name: str) -> tuple[str, str]:
    return _table(f"silver.{name}")


def _flow(name: str) -> tuple[str, str]:
    flow = _read(load_flows_and_ways, {}).get(name) or _read(load_syncs, {}).get(name)
    title = (flow.title if flow else "") or _words(name)
    return title, (flow.title_zh if flow else "") or title


def _column(subject: str, name: str) -> tuple[str, str]:
    found = _contract(subject)
    of = found.fields_by_name.get(name) if found else None
    return (of.title, of.title_zh) if of else (_words(name), name)


def _table(subject: str) -> tuple[str, str]:
    schema, _, name = subject.partition(".")
    found = _contract(subject)
    if found is not None:
        return found.title, found.title_zh
    with graph.as_last_parsed():
        built = graph.load().built
    for node in built.values():
        if node["schema"] == schema and str(node.get("alias") or node["name"]) == name:
            meta = {**(node.get("meta") or {}), **(node["config"].get("meta") or {})}
            plain = _words(name.removeprefix("dim_").removeprefix("fct_").removeprefix("mart_"))
            return str(meta.get("title") or plain), str(meta.get("title_zh") or plain)
    return subject, subject


def _contract(table: str) -> Contract | None:
    schema, _, name = table.partition(".")
    found = _read(contracts, dict[str, Contract]()).get(name)
    return found if found is not None and found.layer == schema else None


def _read(load: Callable[[], _T], otherwise: _T) -> _T:
    try:
        return load()
    except ConfigurationError:
        return otherwise


def _words(name: str) -> str:
    return name.replace("__", " ").replace("_", " ").capitalize()


_OF_SCHEMA: dict[str, Callable[[str], tuple[str, str]]] = {
    "bronze": _entity,
    "source": _entity,
    "system": source_system,
    "quarantine": _held_back,
    "quality": _scored,
    "write_back": _flow,
}
