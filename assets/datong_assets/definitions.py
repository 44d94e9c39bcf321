"""Everything that Dagster runs: what `defs/` defines, the cycle, its schedule, and the sensor of lineage events.

Loading it needs no service, no secret and no engine. `defs/<name>/defs.yaml` names a kind of `components/` and gives
its attributes; adding a source system or a write-back flow is one such file.
"""

from pathlib import Path

import dagster as dg

from datong_assets import cycle, lineage
from datong_assets.components.written_back import STEP


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions of the code location `datong`."""
    write_back = dg.define_asset_job(
        "write_back",
        selection=dg.AssetSelection.groups("write_back"),
        description=f"Run every {STEP} flow.",
    )
    return dg.Definitions.merge(
        dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
        dg.Definitions(
            jobs=[cycle.cycle, write_back],
            schedules=[cycle.schedule()],
            sensors=lineage.sensors(),
            # a process per step would load everything again for each; steps use threads and the engine
            executor=dg.in_process_executor,
        ),
    )
