"""Two-way synchronisation: fields that two systems hold both, kept equal without echoes.

`load_syncs()` reads the definitions, `run_sync(sync)` runs one, `dry_run(sync)` tells what that would do. Run it alone:
`python -m datong_ingestion.two_way [SYNC…]`. How it decides is in `decide`, what it remembers in `agreed`, in which
order it does things in `run`.
"""

from datong_ingestion.two_way.config import SyncConfig, load_sync, load_syncs
from datong_ingestion.two_way.preview import dry_run
from datong_ingestion.two_way.results import SyncPreview, SyncResult
from datong_ingestion.two_way.run import run_sync

__all__ = ["SyncConfig", "SyncPreview", "SyncResult", "dry_run", "load_sync", "load_syncs", "run_sync"]
