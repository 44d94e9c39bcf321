"""The proof of the way back with figures: changes of unclear outcome, and a process killed again and again (R6).

    uv run python tests/bench/unclear_outcomes.py --changes 100000 --kills 20 --runs 1

It starts a sandbox plant of its own. A tenth of the requests get no clear answer: lost before or after the effect, cut
off by the client's time limit while the effect still comes, an error after the effect, half a `$batch`. In the end the
ledger and the ERP's own change documents must be the same, row by row; else it ends with an error.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from frame import Benchmark, Session

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from two_systems import Systems
from unclear_outcomes import posted_once, shown_stale

BENCH = Benchmark(
    key="r6",
    title="Write-back of 100,000 changes, a tenth with an unclear outcome, under kills",
    goal="none lost, none twice; every 412 shown",
    quick={"changes": 300, "kills": 1, "rounds": 2},
)


def main() -> None:
    options = BENCH.options(__doc__)
    options.add_argument("--changes", type=int, default=100_000)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--share", type=float, default=0.1, help="share of requests without a clear answer")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument(
        "--rounds", type=int, default=50, help="changes of each of 40 work orders that people edit, too"
    )
    options.set_defaults(runs=1, warm_ups=0)
    with BENCH.session(options) as bench, bench.services("store", "engine", "postgres"):
        for _ in bench.turns():
            prove(bench)


def prove(bench: Session) -> None:
    """One proof, on a plant of its own."""
    asked = bench.asked
    with bench.folder() as folder, pytest.MonkeyPatch.context() as patch:
        systems = Systems(folder)
        systems.start(patch)
        try:
            with bench.measured("datong", "each change once", amount=asked.changes, unit="changes") as run:
                figures = posted_once(systems, asked.changes, seed=asked.seed, share=asked.share, kills=asked.kills)
            with bench.measured("datong", "stale writes") as stale:
                made, refused, shown = shown_stale(systems, systems.take(40), asked.rounds)
        finally:
            systems.stop()
    run.figures |= {name: value for name, value in asdict(figures).items() if isinstance(value, int | float)}
    stale.figures |= {"updates": made, "refused_412": refused, "shown_412": shown}
    if refused != shown:
        raise SystemExit(f"the MES refused {refused} stale writes, the ledger shows {shown}")


if __name__ == "__main__":
    main()
