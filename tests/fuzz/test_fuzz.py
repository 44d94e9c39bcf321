"""The parsers' targets with the kept corpus and with mutations of it by seed; at night each with coverage guidance for
two minutes, and `run.py` for as long as one likes."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_targets import TARGETS, Target

CORPUS = Path(__file__).parent / "corpus"


def mutated(body: bytes, other: bytes, target: Target, dice: random.Random) -> bytes:
    """An input near another: bytes changed, cut, doubled, moved in from elsewhere."""
    made = bytearray(body)
    for _ in range(dice.randrange(1, 6)):
        place = dice.randrange(len(made) + 1)
        end = min(len(made), place + dice.randrange(1, 24))
        kind = dice.randrange(7)
        if kind == 0 and made:
            made[dice.randrange(len(made))] = dice.randrange(256)
        elif kind == 1:
            del made[place:end]
        elif kind == 2:
            made[place:place] = made[place:end]
        elif kind == 3 and target.words:
            made[place:place] = dice.choice(target.words)
        elif kind == 4 and other:
            start = dice.randrange(len(other))
            made[place:end] = other[start : start + dice.randrange(1, 40)]
        elif kind == 5 and made:
            made[dice.randrange(len(made))] ^= 1 << dice.randrange(8)
        else:
            made[place:end] = bytes(
                dice.choice(b'0123456789-+.,"\n\r<>{}[]\\/e \x00\xff') for _ in range(dice.randrange(4))
            )
    return bytes(made)


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_once_broke_a_parser_no_longer_does(path: Path) -> None:
    TARGETS[path.parent.name].run(path.read_bytes())


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_guided_fuzzing_tries_breaks_a_parser(name: str) -> None:
    pytest.importorskip("atheris")
    command = [sys.executable, str(Path(__file__).with_name("run.py")), name, "--seconds", "120"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_breaks_no_parser_and_changes_nothing_in_silence(name: str) -> None:
    target, dice = TARGETS[name], random.Random(f"fuzz {name}")
    seeds = target.seeds()
    for body in seeds:
        target.run(body)
    for _ in range(60):
        target.run(mutated(dice.choice(seeds), dice.choice(seeds), target, dice))
