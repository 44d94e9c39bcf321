"""What `datong new source` makes of NAME=VALUE pairs."""

from __future__ import annotations

from datong_infra.cli.new_source import _nested  # pyright: ignore[reportPrivateUsage]


def test_a_placeholder_stays_text_and_other_values_are_read_as_yaml() -> None:
    """YAML reads {offset} as a mapping: every page would be asked for without its place."""
    given = {"arguments.start": "{offset}", "paging.limit": "200", "skip": "{a: 1}", "auth": "none"}
    assert _nested(given) == {
        "arguments": {"start": "{offset}"},
        "paging": {"limit": 200},
        "skip": {"a": 1},
        "auth": "none",
    }
