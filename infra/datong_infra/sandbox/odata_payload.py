"""Bodies of writing requests: JSON into the values of the store, checked against the entity type."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from datong_infra.sandbox.model import MILLI, EntitySet, Field
from datong_infra.sandbox.odata_query import ODataError, moment_ms, time_seconds

_DATE = re.compile(r"/Date\((-?\d+)(?:[+-]\d{4})?\)/\Z")


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body, with or without the envelope `d`."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ODataError(
            400, "/IWBEP/CM_MGW_RT/176", f"The request payload cannot be parsed as JSON: {error}"
        ) from None
    if isinstance(given, dict) and set(given) == {"d"}:
        given = given["d"]
    if not isinstance(given, dict):
        raise ODataError(400, "/IWBEP/CM_MGW_RT/176", "The request payload is not a JSON object")
    return given


def read_values(entity: EntitySet, given: dict[str, Any]) -> dict[str, Any]:
    """The properties of a payload as the store holds them; navigation properties and __metadata are left out."""
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name == "__metadata" or entity.navigation(name):
            continue
        field = entity.fields.get(name)
        if field is None:
            raise ODataError(
                400,
                "/IWBEP/CM_MGW_RT/021",
                f"Property '{name}' is invalid: {entity.type_name} does not have it",
                target=name,
            )
        values[name] = _value(field, value)
    return values


def read_children(given: dict[str, Any], navigation: str) -> list[dict[str, Any]]:
    """The inline entities of a deep insert, given as a list or as {"results": […]}."""
    inline = given.get(navigation)
    if isinstance(inline, dict):
        inline = inline.get("results")
    if inline is None:
        return []
    if not isinstance(inline, list) or not all(isinstance(child, dict) for child in inline):
        raise ODataError(400, "/IWBEP/CM_MGW_RT/176", f"'{navigation}' is not a list of entities", target=navigation)
    return inline


def _value(field: Field, value: Any) -> Any:
    if value is None:
        return field.initial
    try:
        return _READ[field.kind](field, value)
    except (ValueError, TypeError, InvalidOperation):
        raise ODataError(
            400,
            "/IWCOR/CX_DS_EDM_FACET_ERROR/001",
            f"Property '{field.name}' has the invalid value '{value}' for {field.edm}",
            target=field.name,
        ) from None


def _string(field: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if len(value) > field.length:
        raise ODataError(
            400,
            "/IWCOR/CX_DS_EDM_FACET_ERROR/002",
            f"Property '{field.name}' has the invalid value '{value}': longer than {field.length} characters",
            target=field.name,
        )
    return value


def _decimal(field: Field, value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    number = Decimal(str(value))
    milli = number * MILLI
    if milli != milli.to_integral_value() or not number.is_finite():
        raise ValueError
    if abs(number) >= 10 ** (field.length - field.scale):
        raise ValueError
    return int(milli)


def _moment(_: Field, value: Any) -> int:
    match = _DATE.match(value)
    return int(match[1]) if match else moment_ms(value)


def _boolean(_: Field, value: Any) -> int:
    if not isinstance(value, bool):
        raise TypeError
    return int(value)


_READ = {
    "S": _string,
    "N": _decimal,
    "D": _moment,
    "O": _moment,
    "T": lambda _, value: time_seconds(value),
    "B": _boolean,
}
