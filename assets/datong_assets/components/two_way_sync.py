"""A two-way synchronisation: fields that two systems both hold, kept equal without echoes.

From `serve.sync__<noun>` to the asset `write_back/<sync>`. It is defined in its `defs.yaml` (checked by
`datong_ingestion.two_way.config`) and runs with the write-back flows. What is not settled fails the check `verified`
and the run; values that were given up fail the check `nothing_given_up`, a warning.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
from datong_ingestion.two_way.config import SyncConfig, load_syncs
from datong_platform.errors import ConfigurationError, DatongError, TerminalError
from pydantic import BaseModel

from datong_assets.components.as_written import as_written
from datong_assets.components.write_back_flow import STEP, VERIFIED, flow_key
from datong_assets.failing import fail
from datong_assets.progress import Progress, tell

if TYPE_CHECKING:
    from datong_ingestion.two_way.run import SyncResult

GIVEN_UP = "nothing_given_up"


class TwoWaySync(dg.Component):
    """Fields that two systems both hold, kept equal.

    The attributes are those of `datong_ingestion.two_way.config.SyncConfig`.
    """

    def __init__(self, config: SyncConfig) -> None:
        self.config = config

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return as_written(SyncConfig)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "TwoWaySync":
        """The synchronisation as its file defines it; ConfigurationError with file and line when it is wrong."""
        found = load_syncs(context.path)
        name = getattr(attributes, "sync", "")
        if name not in found:
            raise ConfigurationError(f"{context.path}", "names no synchronisation.", "write `sync: order_dates`.")
        return cls(found[name])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The synchronisation as an asset with its checks."""
        sync, key = self.config, flow_key(self.config.sync)
        words = sync.description or f"Keeps {', '.join(sync.fields)} equal in {' and '.join(sync.systems)}."

        @dg.multi_asset(
            name=f"two_way_{sync.sync}",
            specs=[
                dg.AssetSpec(
                    key=key,
                    deps=[dg.AssetKey([sync.table.schema, sync.table.name])],
                    description=f"{sync.title_zh} · {words}" if sync.title_zh else words,
                    group_name="write_back",
                    owners=[sync.owner or "team:integration"],
                    kinds={*sync.systems, "api"},
                    skippable=True,
                    metadata={
                        "systems": " and ".join(sync.systems),
                        "fields": ", ".join(sync.fields),
                        "key": sync.key,
                        "flows_in_ledger": ", ".join(map(sync.flow_name, sync.systems)),
                        "ledger": "ops.write_back_ledger",
                        "given_up": "ops.two_way_conflict",
                    },
                )
            ],
            check_specs=[
                dg.AssetCheckSpec(
                    VERIFIED, asset=key, description="Both systems were read, and agree on all that was looked at."
                ),
                dg.AssetCheckSpec(
                    GIVEN_UP, asset=key, description="No value of one system was given up for the other's in this run."
                ),
            ],
        )
        def two_way(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
            yield from _two_way(context, sync)

        return dg.Definitions(assets=[two_way])


def _two_way(
    context: dg.AssetExecutionContext, sync: SyncConfig
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    from datong_ingestion.two_way.run import run_sync

    try:
        result = run_sync(sync, on_step=lambda step, what: context.log.info(f"{step}: {what}"))
    except DatongError as error:
        tell(Progress("flow", STEP, sync.sync, ok=False, error=error))
        fail([error])
        return
    error = _unsettled(sync, result)
    key = flow_key(sync.sync)
    yield dg.MaterializeResult(asset_key=key, metadata=_metadata(result))
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name=VERIFIED,
        passed=error is None,
        severity=dg.AssetCheckSeverity.ERROR,
        description=str(error) if error else result.in_words(),
    )
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name=GIVEN_UP,
        passed=not result.given_up,
        severity=dg.AssetCheckSeverity.WARN,
        description=_lost(sync, result),
        metadata={"given_up": result.given_up},
    )
    tell(
        Progress(
            "flow",
            STEP,
            sync.sync,
            ok=error is None,
            rows=result.verified,
            seconds=result.seconds,
            detail=result.in_words(),
            failed=result.failed + result.conflict + result.unknown + result.waiting,
            error=error,
        )
    )
    if error:
        fail([error])


def _unsettled(sync: SyncConfig, result: "SyncResult") -> DatongError | None:
    if result.ok:
        return None
    examples = "; ".join(f"{key}: {words}" for key, words in list(result.problems.items())[:3])
    return TerminalError(
        f"write-back flow {sync.sync}",
        f"did not settle everything: {result.in_words()}. {examples}".strip(),
        f"mend what is named, then run `datong write-back {sync.sync}`: what is settled is not sent again.",
    )


def _lost(sync: SyncConfig, result: "SyncResult") -> str:
    """Whose values were given up, for the people of the system that lost them."""
    if not result.given_up:
        return "No value was given up."
    from datong_ingestion.two_way.agreed import conflicts

    told = [
        f"{row['key']} {row['field']}: {row['loser']} had {row['loser_value']}, {row['winner']} (owner) has "
        f"{row['winner_value']}"
        for row in conflicts(sync.sync, limit=result.given_up)
        if row["run_id"] == result.run_id
    ]
    more = f" and {result.given_up - 3} more" if result.given_up > 3 else ""
    return (
        f"{result.given_up} values were given up, because both systems had changed them: {'; '.join(told[:3])}{more}. "
        f"See `datong two-way conflicts {sync.sync}`."
    )


def _metadata(result: "SyncResult") -> dict[str, Any]:
    return {
        "dagster/row_count": result.verified,
        "looked": result.looked,
        "agreed": result.agreed,
        "verified": result.verified,
        "given_up": result.given_up,
        "failed": result.failed,
        "conflict": result.conflict,
        "unknown": result.unknown,
        "waiting": result.waiting,
        "seconds": result.seconds,
        "ledger_run": result.run_id,
        **{f"sent_to_{system}": count for system, count in result.sent.items()},
        **({"problems": dg.MetadataValue.json(dict(result.problems))} if result.problems else {}),
    }
