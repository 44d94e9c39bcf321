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


def test_a_sign_is_text_not_yaml() -> None:
    """YAML reads | and # as nothing, - as a list: a delimiter would be lost."""
    signs = ["|", "#", "-", ";", "\t", "*", "~", "||"]
    assert [_nested({"delimiter": sign}) for sign in signs] == [{"delimiter": sign} for sign in signs]
    assert _nested({"a": "[1, 2]", "b": "''"}) == {"a": [1, 2], "b": ""}
