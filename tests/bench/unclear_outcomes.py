"""The proof of the way back with figures: changes of unclear outcome, and a process killed again and again.

With the services up (`datong up`):

    python tests/bench/unclear_outcomes.py --changes 100000 --kills 20

It starts a sandbox plant of its own. A tenth of the requests get no clear answer: lost before or after the effect, cut
off by the client's time limit while the effect still comes, an error after the effect, half a `$batch`. In the end the
ledger and the ERP's own change documents must be the same, row by row; else it ends with an error.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from two_systems import Systems
from unclear_outcomes import posted_once, shown_stale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.1, help="share of requests without a clear answer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--rounds", type=int, default=50, help="changes of each of 40 work orders that people edit, too"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        systems = Systems(Path(home))
        systems.start(patch)
        try:
            figures = posted_once(systems, chosen.changes, seed=chosen.seed, share=chosen.share, kills=chosen.kills)
            made, refused, shown = shown_stale(systems, systems.take(40), chosen.rounds)
        finally:
            systems.stop()
    assert refused == shown, f"the MES refused {refused} stale writes, the ledger shows {shown}"
    print(json.dumps(asdict(figures) | {"updates": made, "refused_412": refused, "shown_412": shown}))


if __name__ == "__main__":
    main()
