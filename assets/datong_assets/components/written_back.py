"""What a flow and a two-way synchronisation have in common: an asset that carries rows back to the systems.

From a serve table to the asset `write_back/<name>`. What is not settled fails the check `verified` and the run. Every
hop of a run belongs to its Dagster run, and to the cycle that it is part of.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from datong_platform.errors import DatongError
from datong_platform.names import TableName

from datong_assets import hops
from datong_assets.failing import fail
from datong_assets.progress import Progress, tell

STEP = "write-back"
VERIFIED = "verified"

Steps = Callable[[str, str], None]
"""Told each step of a run and what it did."""


@dataclass(frozen=True)
class Checked:
    """A check of a run: whether it passed, and if not, whether that is a warning only."""

    name: str
    passed: bool
    words: str
    warns: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Told:
    """What a run came to. `error` fails it; `failed` counts the rows that are not where they should be."""

    rows: int
    seconds: float
    detail: str
    metadata: Mapping[str, Any]
    checks: Sequence[Checked]
    failed: int = 0
    error: DatongError | None = None
    problems: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class WrittenBack:
    """The asset of a flow or a synchronisation, and how it is run."""

    name: str
    op: str
    table: TableName
    description: str
    owner: str
    systems: Sequence[str]
    metadata: Mapping[str, Any]
    checks: Mapping[str, str]
    """Its checks by name, and what each says."""
    run: Callable[[Steps], Told]
    after: Sequence[str] = ()
    """Flows that come first."""

    def definitions(self) -> dg.Definitions:
        """The asset with its checks."""
        key = flow_key(self.name)

        @dg.multi_asset(
            name=self.op,
            specs=[
                dg.AssetSpec(
                    key=key,
                    deps=[dg.AssetKey([self.table.schema, self.table.name]), *map(flow_key, self.after)],
                    description=self.description,
                    group_name="write_back",
                    owners=[self.owner or "team:integration"],
                    kinds={*self.systems, "api"},
                    skippable=True,
                    metadata={**self.metadata, "ledger": "ops.write_back_ledger"},
                )
            ],
            check_specs=[dg.AssetCheckSpec(name, asset=key, description=says) for name, says in self.checks.items()],
        )
        def write_back(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
            with hops.run(context.run):
                yield from self._materialize(context)

        return dg.Definitions(assets=[write_back])

    def _materialize(
        self, context: dg.AssetExecutionContext
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        key = flow_key(self.name)
        try:
            told = self.run(lambda step, what: context.log.info(f"{step}: {what}"))
        except DatongError as error:
            tell(Progress("flow", STEP, self.name, ok=False, error=error))
            fail([error])
            return
        problems = {"problems": dg.MetadataValue.json(dict(told.problems))} if told.problems else {}
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={"dagster/row_count": told.rows, **told.metadata, "seconds": told.seconds, **problems},
        )
        for check in told.checks:
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=check.name,
                passed=check.passed,
                severity=dg.AssetCheckSeverity.WARN if check.warns else dg.AssetCheckSeverity.ERROR,
                description=check.words,
                metadata=check.metadata,
            )
        tell(
            Progress(
                "flow",
                STEP,
                self.name,
                ok=told.error is None,
                rows=told.rows,
                seconds=told.seconds,
                detail=told.detail,
                failed=told.failed,
                error=told.error,
            )
        )
        if told.error:
            fail([told.error])


def flow_key(flow: str) -> dg.AssetKey:
    """The asset of a flow or a synchronisation."""
    return dg.AssetKey(["write_back", flow])


def described(title_zh: str, words: str) -> str:
    """An asset's description, with its Chinese title first."""
    return f"{title_zh} · {words}" if title_zh else words
