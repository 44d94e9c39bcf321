"""`python -m datong_ingestion.write_back [FLOW…]`: run the named flows, or all, each after those it comes after.

The exit status is 0 only if nothing went wrong; what waits by a flow's own rules is told.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from datong_platform.errors import DatongError

from datong_ingestion.write_back import FlowResult, load_flow, load_flows, run_flow
from datong_ingestion.write_back.config import ordered


def main(arguments: Sequence[str]) -> int:
    """Run flows one after another; one that fails does not stop the others."""
    parser = argparse.ArgumentParser(prog="python -m datong_ingestion.write_back", description=__doc__)
    parser.add_argument("flow", nargs="*")
    chosen = parser.parse_args(arguments)
    try:
        flows = [load_flow(name) for name in chosen.flow] or ordered(load_flows())
    except DatongError as error:
        print(error, file=sys.stderr)
        return 2
    good = True
    for flow in flows:
        try:
            result = run_flow(flow)
        except DatongError as error:
            print(f"{flow.flow}: FAILED: {error}", file=sys.stderr)
            good = False
            continue
        _show(result)
        good = good and result.ok
    return 0 if good else 1


def _show(result: FlowResult) -> None:
    print(
        f"{result.flow}: {result.planned} planned, {result.sent} sent, {result.verified} verified "
        f"({result.already} held already), {result.failed} failed, {result.conflict} in conflict, "
        f"{result.unknown} unknown, {result.dead} dead, {result.cancelled} cancelled, "
        f"{result.waiting_for_approval} waiting for approval, {result.waiting} waiting, {result.seconds:.1f} s"
    )
    alike: dict[str, list[str]] = {}
    for key, words in result.problems.items():
        alike.setdefault(words, []).append(key)
    for words, keys in alike.items():
        print(f"  {', '.join(keys[:3])}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}: {words}")
    if result.held:
        print(f"  held: {result.held}")
    if result.stopped:
        print(f"  stopped: {result.stopped}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
