"""Names of tables, in one place: built and parsed here and nowhere else.

Schemas: bronze, staging, silver, gold, serve, quarantine, ops.
`bronze.<system>__<entity>`, `staging.stg_<system>__<entity>`, `silver.<entity>`, `gold.dim_<noun>`,
`gold.fct_<event>`, `serve.<consumer>__<noun>`, `quarantine.<entity>`, `quarantine.<system>__<entity>` (what a source
sent and nobody could read), `ops.<noun>`.

What people read of gold and serve is the last version that passed its checks. dbt builds in `gold_candidate` and
`serve_candidate`: the same Delta tables, as they were built last (see lake.builds).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from datong_platform.errors import ConfigurationError

Schema = Literal["bronze", "staging", "silver", "gold", "serve", "masked", "quarantine", "ops"]
SCHEMAS: tuple[Schema, ...] = get_args(Schema)

CANDIDATE = "_candidate"
CANDIDATES: dict[Schema, str] = {"gold": f"gold{CANDIDATE}", "serve": f"serve{CANDIDATE}"}
"""The schemas that people read, and where the engine has what is built for them before it is checked."""
HISTORY = "history"
"""The engine's schema of every version of those tables: `select * from history.gold__<table> version as of 7`."""

BATCH_ID = "_datong_batch_id"
INGESTED_AT = "_datong_ingested_at"
OPERATION = "_datong_operation"
RESCUED = "_datong_rescued"
BRONZE_COLUMNS = (BATCH_ID, INGESTED_AT, OPERATION, RESCUED)
"""What bronze adds to the source's own fields."""

_WORD = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")


@dataclass(frozen=True, order=True)
class TableName:
    """A table's name: schema and name within it. `str()` gives `schema.name`."""

    schema: Schema
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def path(self) -> str:
        """The table's place below the lake's root: `schema/name`."""
        return f"{self.schema}/{self.name}"

    @property
    def candidate(self) -> str:
        """The engine's name for the table as it was built last, checked or not."""
        return f"{CANDIDATES.get(self.schema, self.schema)}.{self.name}"

    @property
    def history(self) -> str:
        """The engine's name for any version of a table that people read."""
        return f"{HISTORY}.{self.schema}__{self.name}"


def public_schema(schema: str) -> str:
    """The schema that people read, for a schema in which dbt builds; any other as it is."""
    return schema.removesuffix(CANDIDATE) if schema in CANDIDATES.values() else schema


def word(value: str, what: str) -> str:
    """`value` if it is snake_case with single underscores, else ConfigurationError: a double one is a separator."""
    if not _WORD.match(value):
        raise ConfigurationError(
            f"{what} {value!r}",
            "is not a name: lower-case letters, digits and single underscores, starting with a letter.",
            f"rename it, for example {re.sub(r'[^a-z0-9]+', '_', value.lower()).strip('_') or 'sales_order'!r}.",
        )
    return value


def bronze(system: str, entity: str) -> TableName:
    """The bronze table of a system's entity."""
    return TableName("bronze", f"{word(system, 'system')}__{word(entity, 'entity')}")


def quarantine(system: str, entity: str) -> TableName:
    """The table of what a system sent for an entity and could not be read."""
    return TableName("quarantine", bronze(system, entity).name)


def parse(text: str) -> TableName:
    """`schema.name` as a TableName; ConfigurationError when the schema is none of ours."""
    schema, _, name = text.partition(".")
    if schema not in SCHEMAS or not name:
        raise ConfigurationError(
            f"table {text!r}",
            f"is not schema.name with a schema of {', '.join(SCHEMAS)}.",
            "write it in full, as in silver.material.",
        )
    return TableName(schema, name)


def system_and_entity(table: TableName) -> tuple[str, str]:
    """The system and entity of a bronze table; ConfigurationError for any other table."""
    system, separator, entity = table.name.partition("__")
    if table.schema != "bronze" or not separator:
        raise ConfigurationError(f"table {table}", "is not a bronze table (bronze.<system>__<entity>).")
    return system, entity
