"""Fuzz the parsers with coverage guidance: `python tests/fuzz/run.py csv --seconds 600`, or `all`.

Each parser runs in a process of its own, with libFuzzer's mutations and the coverage of Datong's own code. It begins
with the seeds of its target and the corpus that is kept in `corpus/TARGET`; inputs that reach something new stay in
`~/.cache/datong-fuzz/TARGET` and are the beginning of the next run. An input that breaks a parser is written to
`found/TARGET`, and its path is printed: mend the parser, and move the file to `corpus/TARGET`, where every test run
tries it again. Needs the development dependencies (atheris, Linux on x86-64).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
HELD = Path.home() / ".cache" / "datong-fuzz"


def fuzz(name: str, arguments: list[str]) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris

    sys.path[:0] = [str(HERE), str(HERE.parent / "support")]
    with atheris.instrument_imports(include=["datong_ingestion", "datong_platform.lake.columns"]):
        import fuzz_targets

    target = fuzz_targets.TARGETS[name]

    @atheris.instrument_func
    def one(data: bytes) -> None:
        target.run(data)

    corpus = HELD / name
    corpus.mkdir(parents=True, exist_ok=True)
    for place, seed in enumerate(target.seeds()):
        (corpus / f"seed-{place}").write_bytes(seed)
    found = HERE / "found" / name
    found.mkdir(parents=True, exist_ok=True)
    words = corpus.parent / f"{name}.words"
    words.write_text("".join('"{}"\n'.format("".join(f"\\x{byte:02x}" for byte in word)) for word in target.words))
    kept = HERE / "corpus" / name
    folders = [str(corpus), *([str(kept)] if kept.is_dir() else [])]
    atheris.Setup([sys.argv[0], *folders, f"-dict={words}", f"-artifact_prefix={found}/", *arguments], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz the targets one after the other; 1 when one of them broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="a target, or all")
    parser.add_argument("--seconds", type=int, default=300, help="for each target")
    parser.add_argument("--memory-mb", type=int, default=3000, help="more than this is a finding")
    parser.add_argument("--slow-seconds", type=int, default=20, help="an input that takes longer is a finding")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        limits = [f"-rss_limit_mb={given.memory_mb}", f"-timeout={given.slow_seconds}"]
        fuzz(given.target, [f"-max_total_time={given.seconds}", "-max_len=8192", "-print_final_stats=1", *limits])
        return 0
    if given.target == "all":
        sys.path[:0] = [str(HERE), str(HERE.parent / "support")]
        import fuzz_targets

        names = list(fuzz_targets.TARGETS)
    else:
        names = [given.target]
    broken = [
        name
        for name in names
        if subprocess.run([sys.executable, __file__, name, "--here", *sys.argv[2:]], check=False).returncode
    ]
    print(
        f"broken: {', '.join(broken)}; inputs are in {HERE / 'found'}"
        if broken
        else f"nothing found in {', '.join(names)}"
    )
    return int(bool(broken))


if __name__ == "__main__":
    raise SystemExit(main())
