"""What the desk takes for the same value on both sides, and what it never does."""

from __future__ import annotations

import pytest
from datong_infra.desk.exchange import flat, meaning


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("1", "1.0"),
        ("10.500", "10.5"),
        ("2026-11-09T00:00:00+08:00", "2026-11-08T16:00:00.000+00:00"),
        ("/Date(1772323200000)/", "2026-03-01T00:00:00+00:00"),
    ],
)
def test_one_value_written_in_two_ways_is_the_same(ours: str, theirs: str) -> None:
    assert meaning(ours) == meaning(theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("0010", "10"),
        ("1e3", "1000"),
        ("2026-11-09T00:00:00", "2026-11-09T00:00:00+00:00"),
        ("2026-13-45T00:00:00Z", "2026-13-45T00:00:01Z"),
        ("", "0"),
        ("KG", "kg"),
    ],
)
def test_keys_moments_without_a_zone_and_texts_are_never_taken_for_each_other(ours: str, theirs: str) -> None:
    assert meaning(ours) != meaning(theirs)


def test_items_of_a_deep_insert_stand_beside_each_other_whatever_wraps_them() -> None:
    items = [{"Material": "M-1"}, {"Material": "M-2"}]
    wanted = {"Header": "H", "to_Item 1.Material": "M-1", "to_Item 2.Material": "M-2"}
    assert flat({"Header": "H", "to_Item": items}) == wanted
    assert flat({"Header": "H", "to_Item": {"results": items}}) == wanted
