"""A two-way synchronisation: fields that two systems both hold, kept equal without echoes.

From `serve.sync__<noun>` to the asset `write_back/<sync>`. It is defined in its `defs.yaml` (checked by
`datong_ingestion.two_way.config`) and runs with the write-back flows. What is not settled fails the check `verified`
and the run; values that were given up fail the check `nothing_given_up`, a warning.
"""

from typing import TYPE_CHECKING, Any

import dagster as dg
from datong_ingestion.two_way.config import SyncConfig, load_syncs
from datong_platform.errors import ConfigurationError, DatongError, TerminalError
from pydantic import BaseModel

from datong_assets.components.as_written import as_written
from datong_assets.components.written_back import VERIFIED, Checked, Steps, Told, WrittenBack, described

if TYPE_CHECKING:
    from datong_ingestion.two_way.results import SyncResult

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
        sync = self.config
        words = sync.description or f"Keeps {', '.join(sync.fields)} equal in {' and '.join(sync.systems)}."
        return WrittenBack(
            name=sync.sync,
            op=f"two_way_{sync.sync}",
            table=sync.table,
            description=described(sync.title_zh, words),
            owner=sync.owner,
            systems=list(sync.systems),
            metadata={
                "systems": " and ".join(sync.systems),
                "fields": ", ".join(sync.fields),
                "key": sync.key,
                "guards": dg.MetadataValue.json(sync.guards.model_dump(mode="json", by_alias=True)),
                "flows_in_ledger": ", ".join(map(sync.flow_name, sync.systems)),
                "given_up": "ops.two_way_conflict",
            },
            checks={
                VERIFIED: "Both systems were read, and agree on all that was looked at.",
                GIVEN_UP: "No value of one system was given up for the other's in this run.",
            },
            run=lambda on_step: _run(sync, on_step),
        ).definitions()


def _run(sync: SyncConfig, on_step: Steps) -> Told:
    from datong_ingestion.two_way.run import run_sync

    result = run_sync(sync, on_step=on_step)
    error = _unsettled(sync, result)
    return Told(
        rows=result.verified,
        seconds=result.seconds,
        detail=result.in_words(),
        metadata=_metadata(result),
        problems=result.problems,
        checks=[
            Checked(
                VERIFIED,
                result.is_green,
                str(error) if error else result.in_words(),
                # what waits for a person's approval is no failure, and not green either
                warns=error is None,
            ),
            Checked(
                GIVEN_UP, not result.given_up, _lost(sync, result), warns=True, metadata={"given_up": result.given_up}
            ),
        ],
        failed=result.failed + result.conflict + result.unknown + result.waiting,
        error=error,
    )


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
        "looked": result.looked,
        "agreed": result.agreed,
        "verified": result.verified,
        "given_up": result.given_up,
        "failed": result.failed,
        "conflict": result.conflict,
        "unknown": result.unknown,
        "waiting": result.waiting,
        "waiting_for_approval": result.waiting_for_approval,
        "ledger_run": result.run_id,
        **{f"sent_to_{system}": count for system, count in result.sent.items()},
    }
