"""What a read agrees on before it begins: which fields, in which types, and what becomes of a schema that changed.

The types declared for an entity come first, then those of its bronze table, then the source's own. What a change of
the source's schema does is the entity's `schema_policy`: `evolve` takes new fields and wider types into the table,
`rescue` keeps the table as it is and puts what is new, or does not fit, into each row's rescue JSON, `freeze` stops
before anything is read. Whatever it does, it tells: as an event in the batch's commit.

From a source's `Description` to an `Agreement`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from datong_platform.errors import ConfigurationError, SchemaError
from datong_platform.lake import load
from datong_platform.lake.columns import compute, parse_type, type_name, widens
from datong_platform.names import TableName

from datong_ingestion.source import Description, Page
from datong_ingestion.systems_config import EntityConfig
from datong_ingestion.values import Rescue


@dataclass(frozen=True)
class Agreement:
    """What a read gives, and what of it goes into the table."""

    description: Description
    """What the source is asked for."""
    landed: pa.Schema
    """The fields that are landed as such."""
    extra: tuple[str, ...] = ()
    """Fields that are read, and go into the rescue JSON."""
    events: tuple[str, ...] = ()
    """How the source's schema differs from that of the table, and what was done about it."""


def agreed(description: Description, config: EntityConfig, table: TableName, known: pa.Schema | None) -> Agreement:
    """The agreement on an entity whose bronze table has the fields `known`.

    ConfigurationError when a field that the definition names is not there. SchemaError when the schema changed in a way
    that the policy does not allow.
    """
    thing = f"{table.name.replace('__', '.', 1)} ({config.address})"
    fields = {column.name: column.type for column in description.schema}
    fields |= {name: parse_type(kind) for name, kind in config.fields.items() if name in fields}
    notes = list(description.notes)
    if absent := [name for name in config.fields if name not in fields]:
        notes.append(f"declared and not in the source: {', '.join(absent)}")
    keys = tuple(config.keys) or description.keys
    _check_named(thing, config, keys, fields)
    if config.mode not in description.modes:
        raise ConfigurationError(
            thing,
            f"cannot be read in mode {config.mode}.",
            f"use {' or '.join(sorted(description.modes))}.",
        )
    extra: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    if known is not None:
        if gone := [name for name in known.names if name not in fields]:
            notes.append(f"no longer in the source, null from now on: {', '.join(gone)}")
        if config.schema_policy == "freeze":
            _refuse_changes(thing, table, fields, known)
        elif config.schema_policy == "rescue":
            fields, extra, events = _rescued(fields, known)
        else:
            fields, events = _evolved(table, fields, known)
    description = replace(
        description,
        schema=pa.schema(list(fields.items())),
        keys=keys,
        cursors=(config.cursor,) if config.cursor else (),
        unique=description.unique and keys == description.keys,
        notes=tuple(notes),
    )
    landed = pa.schema([field for field in description.schema if field.name not in extra])
    return Agreement(description, landed, extra, events)


def _check_named(thing: str, config: EntityConfig, keys: tuple[str, ...], fields: dict[str, pa.DataType]) -> None:
    wanted = {
        "key": keys,
        "cursor": (config.cursor,) if config.cursor else (),
        "soft_delete": (config.soft_delete.column,) if config.soft_delete else (),
    }
    for what, names in wanted.items():
        if missing := [name for name in names if name not in fields]:
            raise ConfigurationError(
                thing,
                f"has no field {', '.join(missing)}, which is named as {what}.",
                f"choose from {', '.join(fields)}.",
            )


def _evolved(
    table: TableName, fields: dict[str, pa.DataType], known: pa.Schema
) -> tuple[dict[str, pa.DataType], tuple[str, ...]]:
    """New fields and wider types go into the table; SchemaError for a type that does not widen."""
    merged, added, widened = load.merge_schemas(table, known, pa.schema(list(fields.items())))
    events = [f"new field {name} ({type_name(fields[name])}): added to the table" for name in added]
    events += [
        f"field {name} was {type_name(known.field(name).type)} and is {type_name(fields[name])}: the table is widened"
        for name in widened
    ]
    return {name: merged.field(name).type for name in fields}, tuple(events)


def _rescued(
    fields: dict[str, pa.DataType], known: pa.Schema
) -> tuple[dict[str, pa.DataType], tuple[str, ...], tuple[str, ...]]:
    """The table keeps its fields and types; what is new is read all the same."""
    extra = tuple(name for name in fields if name not in known.names)
    events = [f"new field {name} ({type_name(fields[name])}): its values are rescued" for name in extra]
    kept = {name: known.field(name).type if name in known.names else kind for name, kind in fields.items()}
    events += [
        f"field {name} was {type_name(kept[name])} and is {type_name(kind)}: values that do not fit are rescued"
        for name, kind in fields.items()
        if not widens(kind, kept[name])
    ]
    return kept, extra, tuple(events)


def _refuse_changes(thing: str, table: TableName, fields: dict[str, pa.DataType], known: pa.Schema) -> None:
    changes = [f"field {name} ({type_name(kind)}) is new" for name, kind in fields.items() if name not in known.names]
    changes += [f"field {name} is gone" for name in known.names if name not in fields]
    changes += [
        f"field {name} was {type_name(known.field(name).type)} and is {type_name(kind)}"
        for name, kind in fields.items()
        if name in known.names and kind != known.field(name).type
    ]
    if changes:
        raise frozen(thing, table, changes)


def frozen(thing: str, table: TableName, changes: list[str]) -> SchemaError:
    """The refusal of a changed schema, for an entity that does not allow any."""
    return SchemaError(
        thing,
        f"changed its schema, and schema_policy is freeze: {'; '.join(changes)}.",
        "if the change is right, set schema_policy to evolve (or to rescue, which keeps the table as it is), or make "
        f"the table anew: run `datong ingest {table.name.replace('__', ' ', 1)} --rebuild`.",
    )


def without_extra(page: Page, extra: tuple[str, ...]) -> Page:
    """A page whose extra fields went into the rescue JSON."""
    if not extra:
        return page
    rescue = Rescue()
    for name in extra:
        column: Any = page.rows.column(name)
        there = compute.indices_nonzero(compute.is_valid(column))
        for row, value in zip(there.to_pylist(), column.take(there).to_pylist(), strict=True):
            rescue.add(row, name, value)
    rescued = _merged(page.rescued, rescue.column(len(page.rows)))
    return replace(page, rows=page.rows.drop_columns(list(extra)), rescued=rescued)


def _merged(one: pa.Array | None, two: pa.Array | None) -> pa.Array | None:
    if one is None or two is None:
        return two if one is None else one
    texts = [
        json.dumps(json.loads(first) | json.loads(second), ensure_ascii=False) if first and second else first or second
        for first, second in zip(one.to_pylist(), two.to_pylist(), strict=True)
    ]
    return pa.array(texts, pa.string())
