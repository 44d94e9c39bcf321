"""The dbt project as assets and checks.

From `dbt_project/` to assets [schema, table]. Sources bear the keys of the bronze assets, so the graph is one.
"""

import dagster as dg
from datong_platform import settings
from pydantic import Field

from datong_assets.dbt import graph
from datong_assets.dbt.building import assets_of, facts_of


class DbtModels(dg.Component, dg.Model, dg.Resolvable):
    """A dbt project as assets and checks."""

    project: str = Field(default="", description="Folder of the dbt project; by default Datong's own.")
    owner: str = Field(default="team:data", description="Who answers for tables whose meta.owner names nobody.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The assets, the checks and the job `build`."""
        parsed = graph.load((context.path / self.project).resolve() if self.project else settings.DBT_PROJECT)
        facts = facts_of(parsed, self.owner)
        dbt_build, job = assets_of(facts, parsed.built, parsed.tests)
        written = [facts.source(id_) for id_, node in parsed.sources.items() if node["schema"] == "ops"]
        return dg.Definitions(assets=[dbt_build, *written], jobs=[job])
