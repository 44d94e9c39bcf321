"""`python -m datong_infra.cli` is the `datong` command."""

from datong_infra.cli import main

main()
