"""The BI tables of serve, carried to PostgreSQL.

From `serve.bi__<noun>` to the asset `postgres/serve/<noun>`. What goes out is the version that the last build let
people read: one whose checks passed, and whose sources' checks passed. A build that was held back changes nothing here.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from datong_platform import settings
from datong_platform.errors import DatongError
from pydantic import Field

from datong_assets import hops
from datong_assets.dbt import graph
from datong_assets.failing import explained, fail
from datong_assets.progress import Progress, tell

if TYPE_CHECKING:
    from datong_platform.lake.publish import PublishResult, PublishSpec

STEP = "publish"
GROUP = "publication"


class Publication(dg.Component, dg.Model, dg.Resolvable):
    """Publishes every `serve.bi__*` model of a dbt project to PostgreSQL, schema `serve`."""

    project: str = Field(default="", description="Folder of the dbt project; by default Datong's own.")
    owner: str = Field(default="team:data", description="Who answers for the published tables.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The published tables and the job `publish`."""
        from datong_platform.lake.publish import load_specs

        parsed = graph.load((context.path / self.project).resolve() if self.project else settings.DBT_PROJECT)
        tables = {published_key(spec): spec for spec in load_specs(parsed.path)} if parsed.built else {}
        job = dg.define_asset_job(
            "publish", selection=dg.AssetSelection.groups(GROUP), description="Publish the BI tables to PostgreSQL."
        )
        if not tables:
            return dg.Definitions(jobs=[job])

        @dg.multi_asset(
            name="publish_tables",
            specs=[self._asset(key, spec) for key, spec in tables.items()],
            can_subset=True,
        )
        def publish(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
            chosen = {key: spec for key, spec in tables.items() if key in context.selected_asset_keys}
            with hops.run(context.run), explained(STEP):
                yield from _publish(context, chosen)

        return dg.Definitions(assets=[publish], jobs=[job])

    def _asset(self, key: dg.AssetKey, spec: "PublishSpec") -> dg.AssetSpec:
        words = spec.description or f"The table {spec.source}, for BI tools."
        return dg.AssetSpec(
            key=key,
            deps=[dg.AssetKey([spec.source.schema, spec.source.name])],
            description=f"{spec.title_zh} · {words}" if spec.title_zh else words,
            group_name=GROUP,
            owners=[self.owner],
            kinds={"postgres", "table"},
            skippable=True,
            metadata={"dagster/table_name": f"serve.{spec.name}", "key": ", ".join(spec.key)},
        )


def published_key(spec: "PublishSpec") -> dg.AssetKey:
    """The asset of a published table."""
    return dg.AssetKey(["postgres", "serve", spec.name])


def _publish(
    context: dg.AssetExecutionContext, tables: "dict[dg.AssetKey, PublishSpec]"
) -> Iterator[dg.MaterializeResult[Any]]:
    from datong_platform.lake.publish import publish_table

    def one(spec: "PublishSpec") -> "PublishResult | DatongError":
        started_at = datetime.now(UTC)
        try:
            outcome = publish_table(spec)
        except DatongError as error:
            outcome = error
        hops.published(spec, started_at, outcome)
        return outcome

    failures: list[DatongError] = []
    with ThreadPoolExecutor(max_workers=4) as pool:
        for (key, spec), outcome in zip(tables.items(), pool.map(one, tables.values()), strict=True):
            if isinstance(outcome, DatongError):
                failures.append(outcome)
                context.log.error(str(outcome))
                tell(Progress("table", STEP, f"serve.{spec.name}", ok=False, error=outcome))
                continue
            yield dg.MaterializeResult(
                asset_key=key,
                metadata={
                    "dagster/row_count": outcome.rows,
                    "how": outcome.how,
                    "inserted": outcome.inserted,
                    "updated": outcome.updated,
                    "deleted": outcome.deleted,
                    "delta_version": outcome.delta_version,
                    "seconds": round(outcome.seconds, 3),
                },
            )
            tell(
                Progress(
                    "table", STEP, f"serve.{spec.name}", rows=outcome.rows, seconds=outcome.seconds, detail=outcome.how
                )
            )
    fail(failures)
