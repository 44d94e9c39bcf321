"""The guides lead where they say: every protocol and guide is in the index, and every link has an end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from datong_ingestion.systems_config import PROTOCOLS

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ROOT / "ingestion" / "guides"
PAGES = [ROOT / "assets" / "ADD_A_SOURCE.md", ROOT / "README.md", *sorted(GUIDES.glob("*.md"))]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_what_is_there(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def test_the_index_has_every_protocol_with_the_ways_to_read_it() -> None:
    index = (GUIDES / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|", index, re.MULTILINE))
    rows.pop("protocol", None)
    told = {name: set(modes.replace(",", " ").split()) for name, modes in rows.items()}
    assert told == {name: set(kind.modes) for name, kind in PROTOCOLS.items()}


def test_every_guide_is_in_the_index() -> None:
    index = (GUIDES / "README.md").read_text(encoding="utf-8")
    assert [
        page.name for page in GUIDES.glob("*.md") if f"({page.name})" not in index and page.name != "README.md"
    ] == []
