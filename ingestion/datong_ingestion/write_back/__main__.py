"""`python -m datong_ingestion.write_back [FLOW…] [--release KEY]`: run the named flows, or all.

`--release` sends a key again that is in conflict because the target accepted it and does not show it.
The exit status is 0 only if nothing is left unverified.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from datong_platform.errors import DatongError

from datong_ingestion.write_back import FlowResult, load_flow, load_flows, run_flow


def main(arguments: Sequence[str]) -> int:
    """Run flows one after another; one that fails does not stop the others."""
    parser = argparse.ArgumentParser(prog="python -m datong_ingestion.write_back", description=__doc__)
    parser.add_argument("flow", nargs="*")
    parser.add_argument("--release", metavar="KEY", action="append", default=[])
    chosen = parser.parse_args(arguments)
    try:
        flows = [load_flow(name) for name in chosen.flow] or list(load_flows().values())
    except DatongError as error:
        print(error, file=sys.stderr)
        return 2
    good = True
    for flow in flows:
        try:
            result = run_flow(flow, release=chosen.release)
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
        f"{result.unknown} unknown, {result.cancelled} cancelled, {result.waiting} waiting, {result.seconds:.1f} s"
    )
    alike: dict[str, list[str]] = {}
    for key, words in result.problems.items():
        alike.setdefault(words, []).append(key)
    for words, keys in alike.items():
        print(f"  {', '.join(keys[:3])}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}: {words}")
    if result.stopped:
        print(f"  stopped: {result.stopped}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
