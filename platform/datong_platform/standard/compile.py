"""What is made from the contracts, as files under git: macros, dbt models and their properties.

From `dbt_project/standard/` to `dbt_project/macros/standard/`, `models/silver/`, `models/quarantine/` and the
properties of `models/serve/`. `datong standard compile` writes them; with `--check` it only tells which differ, as a
test in CI does. A generated file says so in its first line and is never edited: the contract is.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datong_platform.settings import DBT_PROJECT
from datong_platform.standard import authority, conform, masks, normalise, rules
from datong_platform.standard.contract import CONTRACTS, Contract, Field, contracts

MACROS = Path("macros/standard")
CONFORM = MACROS / "conform"
LINT = Path("lint/conform.sql")
"""What sqlfluff sees in place of the macros in CONFORM, whose SQL is long and not what a part's author writes."""
SILVER = Path("models/silver")
QUARANTINE = Path("models/quarantine")
SERVE = Path("models/serve")
MASKED = Path("models/masked")
_OWNED = (MACROS, MASKED)
"""Folders that hold nothing but generated files: what no contract makes any more is deleted there."""

NOTE = "Made from {source} by `datong standard compile`: edit that file, not this one."
_WIDTH = 130

_SAID_OTHERWISE = {"type", "decimals", "known_code", "refers_to", "unique"}
"""Rules of a table of serve that its types keep, or that were kept where its rows come from."""

QUARANTINE_COLUMNS = (
    ("source_system", "string", "The system that the row comes from.", "来源系统"),
    ("source_key", "string", "The source's own key, its parts joined by /.", "来源主键"),
    ("is_withheld", "boolean", "True when the record is kept out of silver.", "是否拦截"),
    ("field", "string", "The fields that break a rule.", "字段"),
    ("rule", "string", "The rules that are broken, in the order of the fields.", "规则"),
    ("reason", "string", "What is wrong, for people.", "原因"),
    ("failures", "string", "What is broken, one by one: field, rule, reason, value as sent; JSON.", "明细"),
    ("source_row", "string", "The row as the source sent it, JSON.", "来源数据"),
    ("checked_row", "string", "What the standard made of it, JSON of texts.", "标准化后的数据"),
    ("contract_version", "string", "Version of the contract that refused it.", "契约版本"),
    ("_decision_id", "string", "Decisions of stewards that let the record pass rules.", "人工决定"),
    ("_datong_batch_id", "string", "The batch that brought the row.", "批次号"),
    ("_datong_ingested_at", "timestamp", "When the batch was read from the source, UTC.", "采集时间"),
)


@dataclass(frozen=True)
class Change:
    """A generated file that differs from what the contracts say: `is_written`, `is_missing` or `is_stale`."""

    path: Path
    kind: str
    """changed, missing, or stale (made by a contract that is gone)."""


def generated(folder: Path = CONTRACTS) -> dict[Path, str]:
    """Every file that is made from the contracts in `folder`, by its path in the dbt project, in order."""
    silver, serve = contracts("silver", folder), contracts("serve", folder)
    made: dict[Path, str] = {
        MACROS / "normalise.sql": normalise.macros(),
        MACROS / "check_characters.sql": rules.macros(),
        MACROS / "masks.sql": masks.macros(),
        MACROS / "columns.sql": _columns_macro(silver),
        LINT: _lint_macros(silver),
        MACROS / "thresholds.sql": _thresholds_macro(silver),
        **{path.relative_to(DBT_PROJECT): text for path, text in authority.compiled().items()},
    }
    for entity, each in silver.items():
        source = _source(each)
        note = NOTE.format(source=source)
        made[CONFORM / f"{conform.macro_name(entity)}.sql"] = f"{{# {note} #}}\n\n{conform.macro(each)}\n"
        made[SILVER / f"{entity}.sql"] = f"{{# {note} #}}\n\n{{{{ conformed('{entity}') }}}}\n"
        made[SILVER / f"{entity}.yml"] = _properties(each, _silver_config(each), _silver_tests(each))
        made[QUARANTINE / f"quarantine_{entity}.sql"] = (
            f"{{# {note} #}}\n\n{{{{ config(alias='{entity}') }}}}\n\n{{{{ quarantined('{entity}') }}}}\n"
        )
        made[QUARANTINE / f"quarantine_{entity}.yml"] = _quarantine_properties(each)
    for entity, each in serve.items():
        made[SERVE / each.audience / f"{entity}.yml"] = _properties(each, _serve_config(each), _serve_tests(each))
    for each in (*silver.values(), *serve.values()):
        if any(field.mask for field in each.columns):
            made[MASKED / f"masked_{each.entity}.sql"] = _masked_view(each)
            made[MASKED / f"masked_{each.entity}.yml"] = _masked_properties(each)
    return made


def differences(project: Path = DBT_PROJECT, also: Mapping[Path, str] | None = None) -> list[Change]:
    """The generated files that are not on disk as the contracts say; none when all are.

    `also` are files that higher layers make from the contracts, as the schemas of what is written back.
    """
    return list(_differences({**generated(), **(also or {})}, project))


def write(project: Path = DBT_PROJECT, also: Mapping[Path, str] | None = None) -> list[Change]:
    """Write what differs, delete what is stale, and tell which files that were."""
    made = {**generated(), **(also or {})}
    changes = list(_differences(made, project))
    for change in changes:
        path = project / change.path
        if change.kind == "stale":
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[change.path], "utf-8")
    return changes


def _differences(made: Mapping[Path, str], project: Path) -> Iterator[Change]:
    for path, text in made.items():
        place = project / path
        if not place.exists():
            yield Change(path, "missing")
        elif place.read_text("utf-8") != text:
            yield Change(path, "changed")
    also_owned = {path.parent for path in made if path.parent.name == "outbound"}
    for folder in (*_OWNED, *also_owned):
        for place in sorted((project / folder).rglob("*")):
            if place.is_file() and place.relative_to(project) not in made:
                yield Change(place.relative_to(project), "stale")
    for folder in (SILVER, QUARANTINE):
        for place in sorted((project / folder).glob("*.*")):
            path = place.relative_to(project)
            if path not in made and _is_generated(place):
                yield Change(path, "stale")


def _is_generated(place: Path) -> bool:
    with place.open(encoding="utf-8") as file:
        return "by `datong standard compile`" in file.readline()


def _source(each: Contract) -> str:
    return f"standard/contracts/{each.path.name}"


def _thresholds_macro(silver: Mapping[str, Contract]) -> str:
    lines = [
        "{# " + NOTE.format(source="standard/contracts/") + " #}",
        "",
        "{% macro thresholds_of(entity) -%}",
        "    {#- The rules that may be broken by a share of an entity's rows only, and what happens above it. -#}",
        "    {{ return({",
    ]
    for entity, each in silver.items():
        limited = [one for one in each.rules if one.hold_above is not None or one.stop_above is not None]
        if limited:
            listed = (
                json.dumps(
                    {
                        "check": f"{one.field or entity}.{one.name}",
                        "hold_above": one.hold_above if one.hold_above is not None else 1,
                        "stop_above": one.stop_above if one.stop_above is not None else 1,
                    }
                )
                for one in limited
            )
            lines += [f"        '{entity}': [", *(f"            {text}," for text in listed), "        ],"]
    lines += ["    }.get(entity, [])) }}", "{%- endmacro %}"]
    return "\n".join(lines) + "\n"


def _columns_macro(silver: Mapping[str, Contract]) -> str:
    lines = [
        "{# " + NOTE.format(source="standard/contracts/") + " #}",
        "",
        "{% macro columns_of(entity) -%}",
        "    {#- The columns of a silver table by its contract, those of the batch excepted. -#}",
        "    {{ return({",
    ]
    for entity, each in silver.items():
        names = [field.name for field in each.columns if field.name not in {"_datong_batch_id", "_datong_ingested_at"}]
        lines += [f"        '{entity}': [", *(f"            '{name}'," for name in names), "        ],"]
    lines += ["    }[entity]) }}", "{%- endmacro %}"]
    return "\n".join(lines) + "\n"


def _lint_macros(silver: Mapping[str, Contract]) -> str:
    lines = ["{# " + NOTE.format(source="standard/contracts/") + " #}"]
    for entity in silver:
        lines += [
            "",
            f"{{% macro {conform.macro_name(entity)}(relation, parents={{}}, as_text=[], computed=[], carry=[],"
            " sent=[]) -%}",
            "    select * from {{ relation }}",
            "    {%- for parent in parents.values() if parent %}",
            "    union all",
            "    select * from {{ parent }}",
            "    {%- endfor %}",
            "{%- endmacro %}",
        ]
    return "\n".join(lines) + "\n"


def _silver_config(each: Contract) -> dict[str, Any]:
    # a merge offers a mark of deletion besides the columns, so it is the macro merge_of that compares them
    config: dict[str, Any] = {} if each.is_merged else {"contract": {"enforced": True}}
    config["meta"] = {"title_zh": each.title_zh, "contract_version": each.version, "team": each.owner}
    if each.is_merged:
        config |= {
            "materialized": "incremental",
            "incremental_strategy": "merge",
            "unique_key": list(each.key),
        }
    return config


def _serve_config(each: Contract) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "title_zh": each.title_zh,
        "key": list(each.key),
        "contract_version": each.version,
        "team": each.owner,
    }
    if each.indexes is not None:
        meta["indexes"] = [{"columns": list(index.columns), "method": index.method} for index in each.indexes]
    if each.cluster_by is not None:
        meta["cluster_by"] = each.cluster_by
    return {"contract": {"enforced": True}, "meta": meta}


def _silver_tests(each: Contract) -> list[Any]:
    tests: list[Any] = [
        {"key": {"arguments": {"columns": list(each.key)}}},
        {"conservation": {"arguments": {"entity": each.entity, "records": _plain(each.conservation)}}},
    ]
    if any(one.hold_above is not None or one.stop_above is not None for one in each.rules):
        tests.append({"within_thresholds": {"arguments": {"entity": each.entity}}})
    return tests


def _serve_tests(each: Contract) -> list[Any]:
    """The key, and every rule that a table whose types dbt enforces can still break."""
    tests: list[Any] = [{"key": {"arguments": {"columns": list(each.key)}}}]
    asked = [one for one in each.rules if one.kind not in _SAID_OTHERWISE and one.field not in each.key]
    broken = [
        {
            "field": one.field,
            "rule": one.name,
            "broken_when": rules.RULES[one.kind].broken(one.field, one.field, one.params),
        }
        for one in asked
    ]
    if each.audience == "bi":
        # people who open a report need not know whom it is about; a target that is written back to may have to
        broken += [
            {"field": field.name, "rule": "masked", "broken_when": f"{field.name} not like '%*%'"}
            for field in each.fields
            if field.mask
        ]
    if broken:
        tests.append({"keeps_contract": {"arguments": {"rules": broken}}})
    return tests


def _properties(each: Contract, config: Mapping[str, Any], tests: Sequence[Any]) -> str:
    lines = [f"# {NOTE.format(source=_source(each))}", "models:", f"  - name: {each.entity}"]
    lines += _description(f"{each.description}", each.grain, "    ")
    lines += ["    config:", *_mapping(config, "      ")]
    lines += ["    data_tests:", *(line for test in tests for line in _test(test)), "    columns:"]
    for field in each.columns:
        lines += [
            f"      - name: {field.name}",
            f"        data_type: {field.physical_type}",
            f"        description: {_text(field.description)}",
            f"        config: {{meta: {_flow(_meta(field))}}}",
        ]
    return "\n".join(lines) + "\n"


def _test(test: Mapping[str, Any]) -> Iterator[str]:
    ((name, content),) = test.items()
    yield f"      - {name}:"
    yield "          arguments:"
    for key, value in content["arguments"].items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"            {key}:"
            yield from (f"              - {_flow(each)}" for each in value)
        else:
            yield f"            {key}: {_flow(value)}"


def _meta(field: Field) -> dict[str, Any]:
    """What other tools want to know of a column, in dbt's graph."""
    known: dict[str, Any] = {
        "title_zh": field.title_zh,
        "unit_field": field.unit_field,
        "unit": field.unit,
        "currency_field": field.currency_field,
        "code_set": field.code_set,
        "classification": field.classification if field.is_personal else None,
        "mask": field.mask,
    }
    return {key: value for key, value in known.items() if value is not None}


def _masked_view(each: Contract) -> str:
    lines = [
        f"{{# {NOTE.format(source=_source(each))} #}}",
        "",
        f"{{{{ config(alias='{each.entity}') }}}}",
        "",
        "select",
    ]
    shown = [
        f"    {{{{ mask_{field.mask}('{field.name}') }}}} as {field.name}" if field.mask else f"    {field.name}"
        for field in each.columns
    ]
    return "\n".join([*lines, ",\n".join(shown), f"from {{{{ ref('{each.entity}') }}}}"]) + "\n"


def _masked_properties(each: Contract) -> str:
    hidden = [field for field in each.columns if field.mask]
    told = "; ".join(f"{field.name}: {masks.MASKS[str(field.mask)].title}" for field in hidden)
    words = f"{each.table} for those who need not know whom it is about. What is shown of a value: {told}."
    lines = [f"# {NOTE.format(source=_source(each))}", "models:", f"  - name: masked_{each.entity}"]
    lines += _description(words, each.grain, "    ")
    lines += ["    config:", *_mapping({"meta": {"title_zh": f"{each.title_zh}（脱敏）"}}, "      "), "    columns:"]
    for field in hidden:
        mask = masks.MASKS[str(field.mask)]
        lines += [
            f"      - name: {field.name}",
            f"        data_type: {field.physical_type}",
            f"        description: {_text(f'{field.description} Masked: {mask.title}, as {mask.example}.')}",
            f"        config: {{meta: {_flow({'title_zh': field.title_zh, 'mask': mask.name})}}}",
        ]
    return "\n".join(lines) + "\n"


def _quarantine_properties(each: Contract) -> str:
    words = (
        f"Records that break a rule of silver.{each.entity}: what they break and the row as the source sent it."
        " `is_withheld` tells whether the record is kept out of silver, or is in it with the broken field emptied."
    )
    meta = {"title_zh": f"{each.title_zh}隔离区", "contract_version": each.version}
    lines = [f"# {NOTE.format(source=_source(each))}", "models:", f"  - name: quarantine_{each.entity}"]
    lines += _description(words, "one row per record that breaks at least one rule", "    ")
    lines += ["    config:", *_mapping({"meta": meta}, "      "), "    columns:"]
    for name, data_type, description, title_zh in QUARANTINE_COLUMNS:
        lines += [
            f"      - name: {name}",
            f"        data_type: {data_type}",
            f"        description: {_text(description)}",
            f"        config: {{meta: {_flow({'title_zh': title_zh})}}}",
        ]
    return "\n".join(lines) + "\n"


def _description(words: str, grain: str, indent: str) -> list[str]:
    folded = textwrap.wrap(words, _WIDTH - len(indent) - 2, break_on_hyphens=False, break_long_words=False)
    return [f"{indent}description: >", *(f"{indent}  {line}" for line in folded), f"{indent}  Grain: {grain}."]


def _mapping(given: Mapping[str, Any], indent: str) -> list[str]:
    return [f"{indent}{key}: {_flow(value)}" for key, value in given.items()]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _flow(value: Any) -> str:
    """A value as YAML in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(each) for each in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    return (
        text
        if re.fullmatch(r"[A-Za-z_\u4e00-\u9fff][\w\u4e00-\u9fff()%（） -]*", text)
        and not text.endswith(" ")
        and text.lower() not in {"true", "false", "yes", "no", "on", "off", "null"}
        else _text(text)
    )


def _text(text: str) -> str:
    """A text as a quoted YAML scalar."""
    return json.dumps(text, ensure_ascii=False)
