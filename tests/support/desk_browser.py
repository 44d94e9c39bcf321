"""The desk, served over a lake of its own, and people who visit it in the machine's Chromium."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from buckets import bucket_in_force
from datong_infra.desk import users
from datong_infra.desk.app import app
from datong_infra.services import processes
from datong_platform.settings import Settings
from playwright.sync_api import Browser, Page, expect, sync_playwright

WORD = "correct horse 打通"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: run .ci/servers as root")


_PATIENCE = 30_000  # milliseconds: a machine that builds something beside is slow
expect.set_options(timeout=_PATIENCE)


@contextmanager
def own_lake(services: Settings) -> Generator[str]:
    """A lake of its own, which is in force within the block and gone afterwards."""
    with bucket_in_force(f"desk-{uuid.uuid4().hex[:8]}") as bucket, pytest.MonkeyPatch.context() as patch:
        address = services.need("engine_address").split(";")[0]
        patch.setenv("DATONG_ENGINE_ADDRESS", f"{address};user_id=datong;session_id={uuid.uuid4()}")
        yield bucket


@contextmanager
def served(people: Mapping[str, str]) -> Generator[str]:
    """The desk at an address of this machine; `people` are names and roles of those who may log in."""
    users.ensure()
    for name, role in people.items():
        users.add(name, WORD, role)  # pyright: ignore[reportArgumentType]
    port = processes.free_port()
    server = uvicorn.Server(uvicorn.Config(app(), host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
        for name in people:
            users.remove(name)


@contextmanager
def chromium() -> Generator[Browser]:
    """The machine's Chromium, which asks nobody but the desk."""
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


class Visitors:
    """People at the desk; whatever the browser complains about is kept in `complaints`."""

    def __init__(self, url: str, browser: Browser) -> None:
        self.url = url
        self.browser = browser
        self.complaints: list[str] = []
        self._contexts: list[Any] = []

    def __call__(self, name: str = "mei", lang: str = "en", **options: Any) -> Page:
        """Somebody who has logged in."""
        context = self.browser.new_context(locale="zh-CN" if lang == "zh" else "en-GB", **options)
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(_PATIENCE)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.goto(f"{self.url}/log-in?next=/incidents")  # quicker to show than the start
        page.locator("[name=name]").fill(name)
        page.locator("[name=password]").fill(WORD)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{self.url}/incidents")
        return page

    def leave(self) -> None:
        """Everybody goes."""
        for context in self._contexts:
            context.close()


def violations(page: Page) -> list[tuple[str, str]]:
    """What axe finds wrong, by the rules of WCAG 2 and good practice: the rule, and the first place."""
    found = Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in found]


def runs_over(page: Page) -> list[str]:
    """What makes the page wider than its window: a table scrolls within its own frame, the page never does."""
    return page.evaluate(
        """() => {
          const room = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= room) return [];
          return [...document.querySelectorAll("body *")]
            .filter((one) => one.getBoundingClientRect().right > room + 1 && !one.closest(".wide, pre"))
            .map((one) => one.outerHTML.slice(0, 200));
        }"""
    )
