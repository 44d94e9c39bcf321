"""`python -m datong_ingestion.two_way [SYNC…]`: run the named synchronisations, or all.

The exit status is 0 only if both systems of each agree on what was looked at.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from datong_platform.errors import DatongError

from datong_ingestion.two_way import load_sync, load_syncs, run_sync


def main(arguments: Sequence[str]) -> int:
    """Run synchronisations one after another; one that fails does not stop the others."""
    parser = argparse.ArgumentParser(prog="python -m datong_ingestion.two_way", description=__doc__)
    parser.add_argument("sync", nargs="*")
    chosen = parser.parse_args(arguments)
    try:
        syncs = [load_sync(name) for name in chosen.sync] or list(load_syncs().values())
    except DatongError as error:
        print(error, file=sys.stderr)
        return 2
    good = True
    for sync in syncs:
        try:
            result = run_sync(sync)
        except DatongError as error:
            print(f"{sync.sync}: FAILED: {error}", file=sys.stderr)
            good = False
            continue
        print(f"{sync.sync}: {result.in_words()}")
        for key, words in result.problems.items():
            print(f"  {key}: {words}")
        good = good and result.ok
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
