"""Write-back: decisions carried from serve tables back to the systems, each verified by reading it back.

`load_flows()` reads the definitions, `run_flow(flow)` runs one, `dry_run(flow)` tells what that would do. Run it alone:
`python -m datong_ingestion.write_back [FLOW…]`.
"""

from datong_ingestion.write_back.config import FlowConfig, load_flow, load_flows
from datong_ingestion.write_back.results import FlowResult, Preview
from datong_ingestion.write_back.run import dry_run, run_flow

__all__ = ["FlowConfig", "FlowResult", "Preview", "dry_run", "load_flow", "load_flows", "run_flow"]
