"""A write-back flow: rows of a serve table, carried to the system that should hold them.

From `serve.<consumer>__<noun>` to the asset `write_back/<flow>`. The flow is defined in its `defs.yaml` (checked by
`datong_ingestion.write_back.config`). It starts from the version that the last build let people read: one whose checks
passed. A row that is not verified fails
the check `verified` and the run; what was verified stays so.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
from datong_ingestion.write_back.config import FlowConfig, load_flows
from datong_platform.errors import ConfigurationError, DatongError, TerminalError
from pydantic import BaseModel

from datong_assets import hops
from datong_assets.components.as_written import as_written
from datong_assets.failing import fail
from datong_assets.progress import Progress, tell

if TYPE_CHECKING:
    from datong_ingestion.write_back.run import FlowResult

STEP = "write-back"
VERIFIED = "verified"


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
        flow, key = self.config, flow_key(self.config.flow)
        words = flow.description or f"Rows of {flow.source}, written to {flow.target.resource} of {flow.target.system}."

        @dg.multi_asset(
            name=f"write_back_{flow.flow}",
            specs=[
                dg.AssetSpec(
                    key=key,
                    deps=[
                        dg.AssetKey([flow.table.schema, flow.table.name]),
                        *(flow_key(first.flow) for first in flow.after if not first.by),
                    ],
                    description=f"{flow.title_zh} · {words}" if flow.title_zh else words,
                    group_name="write_back",
                    owners=[flow.alert or flow.owner or "team:integration"],
                    kinds={flow.target.system, "api"},
                    skippable=True,
                    metadata={
                        "target_system": flow.target.system,
                        "target_resource": flow.target.resource,
                        "operations": ", ".join(flow.operations),
                        "key": flow.key,
                        "after": ", ".join(first.flow for first in flow.after),
                        "on_conflict": flow.on_conflict,
                        "guards": dg.MetadataValue.json(flow.guards.model_dump(mode="json", by_alias=True)),
                        "retry": dg.MetadataValue.json(flow.retry.model_dump(mode="json")),
                        "ledger": "ops.write_back_ledger",
                    },
                )
            ],
            check_specs=[
                dg.AssetCheckSpec(
                    VERIFIED, asset=key, description="Every planned row was read back at the target, and is as planned."
                )
            ],
        )
        def write_back(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
            with hops.run(context.run):
                yield from _write_back(context, flow)

        return dg.Definitions(assets=[write_back])


def flow_key(flow: str) -> dg.AssetKey:
    """The asset of a flow."""
    return dg.AssetKey(["write_back", flow])


def _write_back(
    context: dg.AssetExecutionContext, flow: FlowConfig
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    from datong_ingestion.write_back.run import run_flow

    try:
        result = run_flow(flow, on_step=lambda step, what: context.log.info(f"{step}: {what}"))
    except DatongError as error:
        tell(Progress("flow", STEP, flow.flow, ok=False, error=error))
        fail([error])
        return
    error = _unverified(flow, result)
    yield dg.MaterializeResult(asset_key=flow_key(flow.flow), metadata=_metadata(result))
    yield dg.AssetCheckResult(
        asset_key=flow_key(flow.flow),
        check_name=VERIFIED,
        passed=result.is_green,
        # what waits by the flow's own rules is no failure, and not green either
        severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
        description=str(error) if error else _left(result),
        metadata={"planned": result.planned, "verified": result.verified},
    )
    tell(
        Progress(
            "flow",
            STEP,
            flow.flow,
            ok=error is None,
            rows=result.verified,
            seconds=result.seconds,
            detail=f"{result.verified} of {result.planned} rows verified" if result.is_green else _left(result),
            failed=0 if error is None else _failed(result),
            error=error,
        )
    )
    if error:
        fail([error])


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
        "dagster/row_count": result.verified,
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
        "seconds": result.seconds,
        "ledger_run": result.run_id,
        **({"held": result.held} if result.held else {}),
        **({"problems": dg.MetadataValue.json(dict(result.problems))} if result.problems else {}),
    }
