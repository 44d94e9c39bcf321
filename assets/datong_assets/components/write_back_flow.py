"""A write-back flow: rows of a serve table, carried to the system that should hold them.

From `serve.<consumer>__<noun>` to the asset `write_back/<flow>`. The flow is defined in its `defs.yaml` (checked by
`datong_ingestion.write_back.config`). It starts from the version that the last build let people read: one whose checks
passed. A row that is not verified fails
the check `verified` and the run; what was verified stays so.
"""

from typing import TYPE_CHECKING, Any

import dagster as dg
from datong_ingestion.write_back.config import FlowConfig, load_flows
from datong_platform.errors import ConfigurationError, DatongError, TerminalError
from pydantic import BaseModel

from datong_assets.components.as_written import as_written
from datong_assets.components.written_back import VERIFIED, Checked, Steps, Told, WrittenBack, described

if TYPE_CHECKING:
    from datong_ingestion.write_back.results import FlowResult


class WriteBackFlow(dg.Component):
    """A flow of decisions from a serve table back to a system.

    The attributes are those of `datong_ingestion.write_back.config.FlowConfig`.
    """

    def __init__(self, config: FlowConfig) -> None:
        self.config = config

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return as_written(FlowConfig)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "WriteBackFlow":
        """The flow as its file defines it; ConfigurationError with file and line when it is wrong."""
        flows = load_flows(context.path)
        name = getattr(attributes, "flow", "")
        if name not in flows:
            raise ConfigurationError(f"{context.path}", "names no flow.", "write `flow: order_to_mes`, for example.")
        return cls(flows[name])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The flow as an asset with its check."""
        flow = self.config
        words = flow.description or f"Rows of {flow.source}, written to {flow.target.resource} of {flow.target.system}."
        return WrittenBack(
            name=flow.flow,
            op=f"write_back_{flow.flow}",
            table=flow.table,
            after=[first.flow for first in flow.after if not first.by],
            description=described(flow.title_zh, words),
            owner=flow.alert or flow.owner,
            systems=[flow.target.system],
            metadata={
                "target_system": flow.target.system,
                "target_resource": flow.target.resource,
                "operations": ", ".join(flow.operations),
                "key": flow.key,
                "after": ", ".join(first.flow for first in flow.after),
                "on_conflict": flow.on_conflict,
                "guards": dg.MetadataValue.json(flow.guards.model_dump(mode="json", by_alias=True)),
                "retry": dg.MetadataValue.json(flow.retry.model_dump(mode="json")),
            },
            checks={VERIFIED: "Every planned row was read back at the target, and is as planned."},
            run=lambda on_step: _run(flow, on_step),
        ).definitions()


def _run(flow: FlowConfig, on_step: Steps) -> Told:
    from datong_ingestion.write_back.run import run_flow

    result = run_flow(flow, on_step=on_step)
    error = _unverified(flow, result)
    return Told(
        rows=result.verified,
        seconds=result.seconds,
        detail=f"{result.verified} of {result.planned} rows verified" if result.is_green else _left(result),
        metadata=_metadata(result),
        problems=result.problems,
        checks=[
            Checked(
                VERIFIED,
                result.is_green,
                str(error) if error else _left(result),
                # what waits by the flow's own rules is no failure, and not green either
                warns=error is None,
                metadata={"planned": result.planned, "verified": result.verified},
            )
        ],
        failed=0 if error is None else _failed(result),
        error=error,
    )


def _unverified(flow: FlowConfig, result: "FlowResult") -> DatongError | None:
    if result.ok:
        return None
    counts = {
        "failed": result.failed,
        "dead": result.dead,
        "in conflict": result.conflict,
        "of unknown outcome": result.unknown,
        "not sent": result.waiting,
    }
    left = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    examples = "; ".join(f"{key}: {words}" for key, words in list(result.problems.items())[:3])
    return TerminalError(
        f"write-back flow {flow.flow}",
        f"{left or 'stopped'} of {result.planned} rows. {examples or result.stopped or ''}".strip(),
        f"see `datong flows rows {flow.flow}`: failed rows come back by themselves; conflicts and dead letters are for "
        "a person to decide.",
    )


def _failed(result: "FlowResult") -> int:
    return result.failed + result.dead + result.conflict + result.unknown + result.waiting - result.gated


def _left(result: "FlowResult") -> str:
    """What was verified, and what waits by the flow's own rules."""
    waits = {"for approval": result.waiting_for_approval, "to be sent": result.waiting}
    told = ", ".join(f"{count} wait {words}" for words, count in waits.items() if count)
    return "; ".join(words for words in (f"{result.verified} rows verified", told, result.held) if words) + "."


def _metadata(result: "FlowResult") -> dict[str, Any]:
    return {
        "planned": result.planned,
        "verified": result.verified,
        "failed": result.failed,
        "conflict": result.conflict,
        "unknown": result.unknown,
        "dead": result.dead,
        "cancelled": result.cancelled,
        "waiting_for_approval": result.waiting_for_approval,
        "waiting": result.waiting,
        "sent": result.sent,
        "already_there": result.already,
        "ledger_run": result.run_id,
        **({"held": result.held} if result.held else {}),
    }
