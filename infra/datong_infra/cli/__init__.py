"""The `datong` command."""


def main() -> None:
    """Entry point of the `datong` command."""
    raise SystemExit("the command line is being built")
