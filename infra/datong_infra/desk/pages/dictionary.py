"""The data dictionary in the desk's frame; its pages are those of `datong dictionary`."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from datong_platform import page

from datong_infra.desk.frame import Answer, Page, Section, Visit, shown

if TYPE_CHECKING:
    from datong_assets.dictionary import Dictionary


_SCORES_SECONDS = 60
"""How old the quality scores of a page may be."""


def _dictionary() -> Dictionary:
    from datong_assets.dbt import graph as graphs
    from datong_platform.standard import contract

    # what was parsed last will do: a person who looks up a word does not wait for dbt
    with graphs.as_last_parsed():
        graph = graphs.load()
    files = tuple((path, path.stat().st_mtime_ns) for path in (graph.path, *contract.contract_files()))
    return _made(files, _scores(int(time.monotonic()) // _SCORES_SECONDS))


@lru_cache(maxsize=2)
def _made(_files: tuple[tuple[Path, int], ...], scores: tuple[tuple[str, float], ...]) -> Dictionary:
    from datong_assets.dbt import graph as graphs
    from datong_assets.dictionary import dictionary

    with graphs.as_last_parsed():
        return dictionary(graph=graphs.load(), scores=dict(scores))


@lru_cache(maxsize=1)
def _scores(_period: int) -> tuple[tuple[str, float], ...]:
    from datong_platform.quality import scores

    return tuple(sorted(scores.overall().items()))


def _start(_visit: Visit) -> Answer:
    return Answer(to="/dictionary/index.html")


def _page(visit: Visit) -> Answer:
    from datong_assets import dictionary_page as pages

    name = visit.place["name"]
    if name == pages.SCRIPT:
        return Answer(pages.script(), kind="text/javascript")
    if name == pages.WORDS:
        return Answer(pages.words(_dictionary(), visit.lang), kind="text/javascript")
    found = pages.content(_dictionary(), name, visit.lang)
    if found is None:
        words = visit.t("The dictionary has no such page.", "数据字典中没有这一页。")
        back = page.link("/dictionary/index.html", visit.t("Data dictionary", "数据字典"))
        return shown(visit, visit.t("Not found", "找不到"), words, [back], status=404)
    scripts = [f"/dictionary/{pages.WORDS}", f"/dictionary/{pages.SCRIPT}"]
    return shown(visit, found.title, found.under, found.body, scripts=scripts)


SECTION = Section("/dictionary", "Dictionary", "数据字典", second=True)
PAGES = [Page("/dictionary", _start), Page("/dictionary/{name}", _page)]
