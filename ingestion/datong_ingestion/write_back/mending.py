"""Values that a person gives a row in place of its own: they keep the outbound contract, as what a flow makes does.

From a flow and the values of `datong flows mend`, or of the desk, to what is wrong with them, in words. It is asked
when the person decides, who so learns it at once, and again when the next run carries it out: the contract may have
changed in between. Neither the lake nor the target is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from datong_platform.errors import ConfigurationError
from datong_platform.lake.columns import parse_type
from datong_platform.standard.contract import Contract

from datong_ingestion.write_back import schemas
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.payload import Payload, PayloadBuilder

_TYPES = {"int": "integer", "bigint": "long"}


def check(flow: FlowConfig, key: str, given: Mapping[str, Any]) -> None:
    """ConfigurationError when a row of the flow cannot be sent with these values."""
    of = schemas.contract_of(flow)
    if of is None:
        return
    try:
        made = PayloadBuilder(flow, _schema(of), schemas.dialect(flow)).mended(given)
        words = breach(flow, made)
    except ValueError as error:
        words = str(error)
    if words:
        raise ConfigurationError(
            f"flow {flow.flow}, {key}",
            f"cannot be sent so: {words}.",
            f"give values that {of.path.name} allows; its fields are in `datong flows row {flow.flow} {key}`.",
        )


def breach(flow: FlowConfig, made: Payload) -> str:
    """How fields of a payload, as they go over the wire, break the flow's outbound contract; empty when they keep it.

    Empty as well where the serve table has no contract, which `datong flows check` tells.
    """
    of = schemas.contract_of(flow)
    if of is None:
        return ""
    import jsonschema

    whole = schemas.json_schema(flow, of, schemas.dialect(flow))
    # a field may be emptied unless the contract wants it; it stands in the request as null then
    named = {name: value for name, value in made.items() if value is not None or name in whole["required"]}
    validator = jsonschema.Draft202012Validator({**whole, "required": []})
    found = sorted(validator.iter_errors(named), key=lambda error: [str(step) for step in error.absolute_path])
    return "; ".join(f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in found[:5])


def _schema(of: Contract) -> pa.Schema:
    """The serve table's columns in the types of its contract."""
    types = {each.name: _TYPES.get(each.physical_type, each.physical_type) for each in of.fields}
    return pa.schema([(name, parse_type(kind)) for name, kind in types.items()])
