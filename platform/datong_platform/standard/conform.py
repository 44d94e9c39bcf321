"""The SQL that makes a system's records conform: cast, normalise, check, all from the contract.

From a relation of a part (`int_<system>__<entity>`), whose columns have the contract's names, to the same rows with
every field of the contract in its type, the values as sent beside those that have a code or a type (`source_<field>`),
and `_failures`, the rules that the row breaks. `datong standard compile` writes it as the macro `conform__<entity>`;
`sql()` gives the same text for a relation of one's own, which is how a single record is checked: one law for import
and for manual entry.

The part says what only it can know:

- `parents`: for each entity that the contract refers to, the CTE or table that lists its records; none (`none`) where
  the part made the reference from the other record itself;
- `as_text`: the typed fields that come as text, to be read in all the forms that people write;
- `computed`: the coded fields that the part makes itself, so that nothing was sent for them;
- `carry`: further columns of the part that other models need;
- `sent`: the columns that hold the rows as sent, when there are more than `source_row`: what staging could not read of
  a typed field is looked up in them; none where the part made its rows itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datong_platform.errors import ConfigurationError
from datong_platform.standard.contract import Contract, Field, Rule, contracts
from datong_platform.standard.normalise import NORMALISERS, typed
from datong_platform.standard.rules import Check, rule
from datong_platform.standard.sql_text import indented

_INDENT = "    "
KEYS = ("source_system", "source_key")
MACROS = ("overrides_of", "fixes_of", "conform_demands", "unreadable")
"""Macros that the generated ones call; who renders them without dbt gives their own."""


def macro_name(entity: str) -> str:
    return f"conform__{entity}"


def macro(of: Contract) -> str:
    """The macro `conform__<entity>`, as dbt reads it."""
    parents = [rule for rule in of.rules if rule.kind == "refers_to"]
    wanted = sorted({str(each.params["entity"]) for each in parents})
    text = [
        f"{{% macro {macro_name(of.entity)}(relation, parents={{}}, as_text=[], computed=[], carry=[],"
        " sent=['source_row']) -%}",
        f"{_INDENT}{{#- {of.title} · {of.title_zh}, contract {of.version}. -#}}",
        f"{_INDENT}{{%- do conform_demands('{of.entity}', {wanted!r}, {_typed_names(of)!r}, {_coded_names(of)!r},"
        f" parents, as_text, computed) -%}}",
        _outer(of, parents),
        "{%- endmacro %}",
    ]
    return "\n".join(text)


def sql(
    of: Contract,
    relation: str,
    *,
    parents: Mapping[str, str | None],
    as_text: Iterable[str] | None = None,
    computed: Iterable[str] = (),
    carry: Iterable[str] = (),
) -> str:
    """The same SQL for a relation of one's own, without dbt: no overrides and no fixes are looked up.

    `relation` and the values of `parents` are SQL in parentheses, or names. `as_text` is every typed field when it is
    not given. ConfigurationError when a parent is not named.
    """
    import jinja2

    wanted = {str(one.params["entity"]) for one in of.rules if one.kind == "refers_to"}
    if missing := sorted(wanted - set(parents)):
        raise ConfigurationError(
            f"conform {of.entity}", f"needs to know the records of {', '.join(missing)}.", "name their relations."
        )

    def nothing(_: str, fields: Sequence[str] = ()) -> str:
        texts = "".join(f", cast(null as string) as {each}" for each in fields)
        return (
            "(select cast(null as string) as source_system, cast(null as string) as source_key,"
            f" cast(null as array<string>) as _overrides, cast(null as string) as _decision_id{texts} where false)"
        )

    environment = jinja2.Environment(autoescape=False, extensions=["jinja2.ext.do"])  # noqa: S701 - it renders SQL
    template = environment.from_string(
        macro(of),
        globals={
            "conform_demands": lambda *_: "",
            "overrides_of": nothing,
            "fixes_of": nothing,
            "unreadable": lambda *_: "cast(null as string)",
            **NORMALISERS,
        },
    )
    rendered = getattr(template.module, macro_name(of.entity))(
        relation,
        parents=dict(parents),
        as_text=list(_typed_names(of) if as_text is None else as_text),
        computed=list(computed),
        carry=list(carry),
    )
    return str(rendered).strip()


def _typed_names(of: Contract) -> list[str]:
    return [each.name for each in of.fields if each.logical_type != "string" and not each.derived_from]


def _coded_names(of: Contract) -> list[str]:
    return [each.name for each in of.fields if each.code_set]


def _has_source(of: Contract, each: Field) -> bool:
    """Whether the value as sent is kept beside the field: where a rule has to show it."""
    if each.name in KEYS or each.derived_from:
        return False
    return bool(each.code_set) or any(one.kind not in {"required", "refers_to"} for one in of.rules_of(each.name))


def _outer(of: Contract, parents: Sequence[Rule]) -> str:
    columns = [_published(of, each) for each in of.fields]
    columns += [f"source_{each.name}" for each in of.fields if each.code_set]
    columns += _technical(of)
    listed = ",\n".join(columns)
    return (
        "select\n"
        f"{_INDENT}{indented(listed)},\n"
        f"{_INDENT}{{%- for column in carry %}}\n"
        f"{_INDENT}{{{{ column }}}},\n"
        f"{_INDENT}{{%- endfor %}}\n"
        f"{_INDENT}_failures\n"
        "from (\n"
        f"{_INDENT}{indented(_checked(of, parents))}\n"
        ") as checked"
    )


def _emptying(of: Contract, each: Field) -> list[Rule]:
    """The rules that empty the field; a value that has no type or no counterpart is empty already."""
    empty_already = {"type", "known_code"}
    return [one for one in of.rules_of(each.name) if one.on_failure == "empty" and one.kind not in empty_already]


def _heeds_overrides(of: Contract) -> bool:
    return any(_emptying(of, each) for each in of.fields)


def _published(of: Contract, each: Field) -> str:
    """A field as silver has it: empty where a rule says so, unless a steward let the value pass."""
    emptying = _emptying(of, each)
    if not emptying:
        return each.name
    names = ", ".join(f"'{one.name}'" for one in emptying)
    passes = " or ".join(f"array_contains(_overrides, '{each.name}.{one.name}')" for one in emptying)
    broken = f"exists(_failures, failure -> failure.field = '{each.name}' and failure.rule in ({names}))"
    return f"case when not coalesce({broken}, false) or coalesce({passes}, false) then {each.name} end as {each.name}"


def _checked(of: Contract, parents: Sequence[Rule]) -> str:
    joins = "".join(_parent_join(one) for one in parents)
    return (
        "select\n"
        f"{_INDENT}normalised.*,\n"
        f"{_INDENT}{indented(_all_failures(of))} as _failures\n"
        "from (\n"
        f"{_INDENT}{indented(_normalised(of))}\n"
        ") as normalised"
        f"{joins}"
    )


def _all_failures(of: Contract) -> str:
    """As `rules.failures` writes it; a reference that the part vouches for is left out when the model is compiled."""
    asked = [one for one in of.rules if one.field not in KEYS]
    always = next(one for one in asked if one.kind != "refers_to")
    conditions: list[str] = []
    elements: list[str] = []
    for one in (always, *(each for each in asked if each is not always)):
        check = _check(of, one)
        condition, element = f"({indented(check.condition)})", indented(check.element, 3)
        if one is not always:
            condition, element = f"\n    or {condition}", f",\n            {element}"
        if one.kind == "refers_to":
            opening = f"\n{{%- if parents['{one.params['entity']}'] %}}"
            condition, element = (f"{opening}{text}\n{{%- endif %}}" for text in (condition, element))
        conditions.append(condition)
        elements.append(element)
    return (
        f"case\n    when {indented(''.join(conditions))}\n"
        f"    then filter(\n        array(\n            {''.join(elements)}\n        ),\n"
        "        failure -> failure is not null\n    )\nend"
    )


def _check(of: Contract, one: Rule) -> Check:
    params: dict[str, Any] = dict(one.params)
    withholds = one.on_failure == "withhold"
    kind = rule(one.kind)
    if not one.field:
        params.pop("fields", None)
        return kind.failure(of.entity, _shown_of_row(one.params), params, title_zh=of.title_zh, withholds=withholds)
    each = of.field(one.field)
    if one.kind == "refers_to":
        known = contracts()
        entity = str(params["entity"])
        params = {"entity": entity, "found": _found(one)}
        if entity in known:
            params["entity_zh"] = known[entity].title_zh
    elif _has_source(of, each):
        params["source"] = f"source_{each.name}"
    if one.kind == "type":
        # of what staging could not read the value has no column of its own
        unread = f"coalesce(cast(source_{each.name} as string), {{{{ unreadable('{each.name}', sent) }}}})"
        params["source"] = _either(each.name, f"source_{each.name}", unread)
    if one.kind == "unique":
        params["occurrences"] = f"_occurrences_{each.name}"
    check = kind.failure(each.name, each.name, params, title_zh=each.title_zh, withholds=withholds)
    if one.kind == "decimals":
        # a value that has a type already is compared, which is cheaper than to look at its digits
        compared = f"source_{each.name} <> {each.name}"
        return dataclasses.replace(check, condition=_either(each.name, check.condition, compared))
    return check


def _shown_of_row(params: Mapping[str, Any]) -> str:
    fields = [str(each) for each in params.get("fields", ())]
    return f"concat_ws(' / ', {', '.join(fields)})" if fields else "source_key"


def _found(one: Rule) -> str:
    return f"_known_{one.params['entity']}_{one.field}"


def _parent_join(one: Rule) -> str:
    """The keys that are known, each once: a parent that comes twice must not double its children."""
    entity, found = str(one.params["entity"]), _found(one)
    targets, sources = list(one.params["targets"]), list(one.params["fields"])
    names = [f"{found}_{place}" for place in range(len(targets))]
    listed = ", ".join(f"{target} as {name}" for target, name in zip(targets, names, strict=True))
    matched = " and ".join(f"normalised.{source} = {name}" for source, name in zip(sources, names, strict=True))
    return (
        f"\n{{%- if parents['{entity}'] %}}\n"
        f"left join (select distinct {listed}, true as {found} from {{{{ parents['{entity}'] }}}})\n"
        f"    on {matched}"
        "\n{%- endif %}"
    )


def _normalised(of: Contract) -> str:
    columns: list[str] = []
    for each in of.fields:
        columns.append(_as(_value(of, each), each.name))
        if each.code_set:
            columns.append(f"source_{each.name}")
        elif _has_source(of, each):
            columns.append(f"{each.name} as source_{each.name}")
        if any(one.kind == "unique" for one in of.rules_of(each.name)):
            columns.append(f"count(*) over (partition by source_system, {each.name}) as _occurrences_{each.name}")
    columns += [*_technical(of), *(("_overrides",) if _heeds_overrides(of) else ())]
    listed = ",\n".join(columns)
    return (
        "select\n"
        f"{_INDENT}{indented(listed)}\n"
        f"{_INDENT}{{%- for column in carry + (sent | reject('equalto', 'source_row') | list) %}},\n"
        f"{_INDENT}{{{{ column }}}}\n"
        f"{_INDENT}{{%- endfor %}}\n"
        "from (\n"
        f"{_INDENT}{indented(_mended(of))}\n"
        ") as mended"
    )


def _mended(of: Contract) -> str:
    """The rows as the part delivers them, with what stewards put in place of single values."""
    columns: list[str] = []
    fixable = [each.name for each in of.fields if each.name not in KEYS and not each.derived_from]
    for each in of.fields:
        if each.name in KEYS:
            columns.append(f"given.{each.name}")
        elif each.logical_type == "string" and not each.derived_from:
            columns.append(f"coalesce(fixes.{each.name}, given.{each.name}) as {each.name}")
        elif not each.derived_from:
            text = f"coalesce(fixes.{each.name}, cast(given.{each.name} as string))"
            plain = f"coalesce(try_cast(fixes.{each.name} as {each.physical_type}), given.{each.name})"
            columns.append(f"{_either(each.name, text, plain)} as {each.name}")
        if each.code_set:
            source = f"{{{{ '{each.name}' if '{each.name}' in computed else 'source_{each.name}' }}}}"
            columns.append(f"given.{source} as source_{each.name}")
    # what is decided about a record makes it another version of it: a table that is merged takes only those
    decided = ["fixes._decision_id", *(("overrides._decision_id",) if _heeds_overrides(of) else ())]
    version = f"concat_ws(' ', given._datong_version, {', '.join(decided)}) as _datong_version"
    columns += [version if name == "_datong_version" else f"given.{name}" for name in _technical(of)]
    overrides = ""
    if _heeds_overrides(of):
        columns.append("overrides._overrides")
        overrides = (
            f"\nleft join {{{{ overrides_of('{of.entity}') }}}} as overrides\n"
            "    on given.source_system = overrides.source_system and given.source_key = overrides.source_key"
        )
    listed = ",\n".join(columns)
    return (
        "select\n"
        f"{_INDENT}{indented(listed)}\n"
        f"{_INDENT}{{%- for column in carry + (sent | reject('equalto', 'source_row') | list) %}},\n"
        f"{_INDENT}given.{{{{ column }}}}\n"
        f"{_INDENT}{{%- endfor %}}\n"
        "from {{ relation }} as given\n"
        f"left join {{{{ fixes_of('{of.entity}', {fixable!r}) }}}} as fixes\n"
        "    on given.source_system = fixes.source_system and given.source_key = fixes.source_key"
        f"{overrides}"
    )


def _technical(of: Contract) -> list[str]:
    return [*(("_datong_version",) if of.is_merged else ()), "_datong_batch_id", "_datong_ingested_at", "source_row"]


def _as(value: str, name: str) -> str:
    return name if value == name else f"{value} as {name}"


def _value(of: Contract, each: Field) -> str:
    """The field's own SQL; a normaliser is the call of its macro, so that the compiled SQL shows it once."""
    if each.name in KEYS:
        return each.name
    if each.derived_from:
        parent = of.field(each.derived_from)
        return _calls((*parent.normalise, *each.normalise), parent.name)
    if each.logical_type == "string":
        return _calls(each.normalise, each.name)
    return _either(each.name, _read(each), f"try_cast({each.name} as {each.physical_type})")


def _read(each: Field) -> str:
    """The value of a text, in the forms that the contract names, or else in all that its type can have."""
    if each.normalise:
        return f"try_cast({_calls(each.normalise, each.name)} as {each.physical_type})"
    if each.logical_type == "number":
        return f"try_cast({_calls(('number',), each.name)} as {each.physical_type})"
    if each.logical_type in {"date", "timestamp", "boolean"}:
        return _calls((each.logical_type,), each.name)
    return typed(each.name, each.physical_type)


def _calls(names: Sequence[str], column: str) -> str:
    if not names:
        return column
    call = f"'{column}'"
    for name in names:
        call = f"{name}({call})"
    return f"{{{{ {call} }}}}"


def _either(name: str, as_text: str, as_it_is: str) -> str:
    """One of two texts, as the part delivers the field."""
    return f"{{% if '{name}' in as_text %}}{as_text}{{% else %}}{as_it_is}{{% endif %}}"
