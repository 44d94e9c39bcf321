"""As many days of strikes as one likes: each seed is a day of a small lake, its runs struck at random points in random
ways, then one that is not; then everything is compared.

    python tests/faults/many_seeds.py --seeds 300
    python tests/faults/many_seeds.py --seeds 1 --first 117 --format json

It starts services of its own. To be back takes so many seconds, which mean little where the machine does much else,
and so many CPU seconds, which are told beside those of a run that was not struck. As root the lake lies on a disk of
its own that is filled, too. What differs is told with its seed, and the exit status is 1; a day that differs is
followed by a new lake, so that the next seed starts clean.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.append(str(Path(__file__).parents[1] / "bench"))
from frame import Meter, service_pids
from killed_lake import Day, DifferentError, Lake
from random_strikes import by_seed


@dataclass
class Summary:
    """What became of all seeds."""

    days: list[Day] = field(default_factory=list[Day])
    differences: dict[int, str] = field(default_factory=dict[int, str])
    calm: list[float] = field(default_factory=list[float])
    """CPU seconds of a run that was not struck, on each lake."""

    def told(self) -> dict[str, object]:
        """The figures; seconds are by the wall clock, and `load` is the machine's."""
        backs = sorted(day.back for day in self.days)
        used = sorted(day.cpu for day in self.days if day.cpu is not None)
        return {
            "seeds": len(self.days) + len(self.differences),
            "strikes": sum(day.struck for day in self.days),
            "by_kind": dict(Counter(strike.how for day in self.days for strike in day.strikes)),
            "points": len({strike.point for day in self.days for strike in day.strikes}),
            "seconds_to_be_back": {"median": statistics.median(backs), "most": backs[-1]} if backs else {},
            "cpu_seconds_to_be_back": {"median": statistics.median(used), "most": used[-1]} if used else {},
            "cpu_seconds_of_an_undisturbed_run": statistics.median(self.calm) if self.calm else None,
            "load": round(os.getloadavg()[1], 1),
            "differences": self.differences,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="how many days")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--no-disk", action="store_true", help="fill no disk, also as root")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    chosen = parser.parse_args()
    # so that who is stopped from outside takes its services and its disk down as well
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    disk = not chosen.no_disk and os.geteuid() == 0
    summary = Summary()
    seeds = iter(range(chosen.first, chosen.first + chosen.seeds))
    left = True
    while left:
        left = _one_lake(seeds, summary, disk=disk, loud=chosen.format == "text")
    told = summary.told()
    print(json.dumps(told, ensure_ascii=False, indent=2) if chosen.format == "json" else f"\n{told}")
    return 1 if summary.differences else 0


def _one_lake(seeds: Iterator[int], summary: Summary, *, disk: bool, loud: bool) -> bool:
    """Days on one lake, until the seeds are used up (False) or a day differs (True)."""
    with Lake(disk=disk, meter=lambda: Meter(lambda: {"runs": os.getpid(), **service_pids()})) as lake:
        lake.passed(random.Random(0))
        passed = lake.passed(random.Random(0))
        summary.calm += [lake.calm_cpu] if lake.calm_cpu is not None else []
        for seed in seeds:
            dice, started = random.Random(seed), time.monotonic()
            strikes = by_seed(dice, passed, disk=disk)
            try:
                day = lake.day(dice, strikes)
            except DifferentError as error:
                summary.differences[seed] = str(error)
                print(f"seed {seed}: DIFFERS: {error}", file=sys.stderr, flush=True)
                return True
            summary.days.append(day)
            if loud:
                words = ", ".join(str(one) for one in strikes)
                print(
                    f"seed {seed}: {time.monotonic() - started:.0f} s, back in {day.back} s, {day.cpu} CPU s: {words}",
                    flush=True,
                )
    return False


if __name__ == "__main__":
    sys.exit(main())
