"""The sandbox plant's controls, from Python: status, advance, truth, faults. It talks HTTP to the running sandbox.

    from datong_infra.sandbox import client
    client.advance(days=7, seed=42)
    client.add_fault("erp", "rate_limit", count=2, match="A_SalesOrder")

Every function raises ServiceError when no sandbox runs, ConfigurationError when it refuses what was asked.
"""

from __future__ import annotations

from typing import Any

import httpx
from datong_platform import settings
from datong_platform.errors import ConfigurationError, ServiceError

_PATIENCE = 900.0
"""Seconds; many days at a large scale take their time."""


def address() -> str:
    """Where the sandbox listens, as it wrote it to connections.json."""
    found = settings.read_state("connections.json").get("SANDBOX_URL")
    if not found:
        raise ServiceError("sandbox", "was never started here.", "start it with `datong up`.")
    return str(found)


def _ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    base = address()
    try:
        answer = httpx.request(method, base + path, json=body, timeout=httpx.Timeout(_PATIENCE, connect=5))
    except httpx.TransportError as error:
        raise ServiceError("sandbox", f"does not answer at {base}: {error}", "start it with `datong up`.") from error
    if answer.is_success:
        return answer.json() if answer.content else None
    try:
        reason = answer.json()["error"]
    except (ValueError, KeyError):
        reason = f"answered {answer.status_code}: {answer.text[:200]}"
    kind = ConfigurationError if answer.status_code in {400, 422} else ServiceError
    raise kind("sandbox", reason)


def status() -> dict[str, Any]:
    """Scale, seed, the plant's day and time, rows of each entity, memory."""
    return _ask("GET", "/_sandbox/status")


def advance(days: int = 1, seed: int | None = None) -> dict[str, Any]:
    """Let the plant live for some more days; returns the new time and how many rows are new, by entity."""
    return _ask("POST", "/_sandbox/advance", {"days": days, "seed": seed})


def truth() -> dict[str, Any]:
    """What a perfect platform would know; see `datong_infra.sandbox.truth`."""
    return _ask("GET", "/_sandbox/truth")


def edit(
    system: str, key: str, fields: dict[str, Any], *, entity: str = "A_ProductionOrder_2", who: str = "person"
) -> None:
    """Change a record as a person does on the system's own screen; ConfigurationError with the system's words when it
    refuses."""
    _ask("POST", "/_sandbox/edit", {"system": system, "key": key, "fields": fields, "entity": entity, "who": who})


def log(system: str | None = None, since: int = 0) -> list[dict[str, Any]]:
    """The systems' own change documents after number `since`: each write from outside that had an effect."""
    return _ask("GET", f"/_sandbox/log?since={since}" + (f"&system={system}" if system else ""))


def faults() -> list[dict[str, Any]]:
    """The faults that are on."""
    return _ask("GET", "/_sandbox/faults")


def add_fault(target: str, kind: str, **more: Any) -> dict[str, Any]:
    """Switch a fault on; see `datong_infra.sandbox.faults` for the kinds and their fields."""
    return _ask("POST", "/_sandbox/faults", {"target": target, "kind": kind, **more})


def clear_faults(number: int | None = None) -> int:
    """Switch one fault off, or all; returns how many were on."""
    return _ask("DELETE", "/_sandbox/faults" + (f"/{number}" if number is not None else ""))["removed"]
