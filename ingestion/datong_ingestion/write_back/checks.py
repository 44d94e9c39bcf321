"""A flow held against what others say: the contract of its serve table, and the target itself. Nothing is sent.

From `FlowConfig` to what is wrong with it, in words. That it makes sense by itself is checked when it is read (config).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from datong_platform.errors import ConfigurationError, DatongError

from datong_ingestion.write_back import schemas
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.ledger import Ledger
from datong_ingestion.write_back.plan import Source
from datong_ingestion.write_back.target import check_operations


@dataclass(frozen=True)
class Checked:
    """What came of a check: `unknown` where the target could not be asked."""

    flow: str
    state: Literal["ok", "failed", "unknown"]
    words: str


def check_flow(flow: FlowConfig) -> Checked:
    """Hold a flow against its contract and its target: fields, operations, whether we are let in."""
    from datong_ingestion.write_back.systems import open_target

    try:
        schemas.of_flow(flow)
        target = open_target(flow)
    except DatongError as error:
        return Checked(flow.flow, "failed", str(error))
    try:
        check_operations(flow, target)
        key = Source(flow, Ledger(flow.flow)).any_key()
        if key is None:
            return Checked(flow.flow, "unknown", f"{flow.source} has no row by which the target could be asked.")
        found = target.lookup([key], {})[key]
        if isinstance(found, DatongError):
            raise found
        return Checked(flow.flow, "ok", f"the target answers; it holds {len(found)} records of {key}.")
    except DatongError as error:
        return Checked(flow.flow, "failed" if isinstance(error, ConfigurationError) else "unknown", str(error))
    finally:
        target.close()
