"""What all pages of the desk share: who visits and in which language, the navigation, forms, pages of a long list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode

from datong_platform import page
from datong_platform.errors import ConfigurationError, DatongError
from datong_platform.page import Lang, Markup

from datong_infra.desk.users import Session

SESSION, LANGUAGE = "datong_desk", "datong_language"
"""The names of our cookies."""
ROWS = 50
"""Rows that one page of a list shows."""


_T = TypeVar("_T")


@dataclass(frozen=True)
class Answer:
    """What is sent back: a page, or the way to another one."""

    body: str = ""
    status: int = 200
    to: str = ""
    """Where to go on, for an answer without a page."""
    notice: str = ""
    """Words for the page that follows."""
    kind: str = "text/html"
    cookies: Mapping[str, str] = field(default_factory=dict[str, str])
    """Cookies to set; an empty one is taken away."""


@dataclass(frozen=True)
class Visit:
    """One request, as pages need it."""

    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    """The fields of a form that was sent; empty for a request that only reads."""
    lang: Lang
    session: Session | None
    sections: Sequence[Section] = ()
    place: Mapping[str, str] = field(default_factory=dict[str, str])
    """The parts of the address that stand for something, such as the entity."""

    def t(self, en: str, zh: str) -> str:
        """The words in the visitor's language."""
        return zh if self.lang == "zh" else en

    @property
    def who(self) -> str:
        """The name of the one who is logged in."""
        if self.session is None:
            raise ConfigurationError("this page", "needs somebody who is logged in.", "log in.")
        return self.session.name

    @property
    def decides(self) -> bool:
        """Whether the visitor may decide."""
        return self.session is not None and self.session.decides

    def asked(self, name: str) -> str:
        """A part of the address's query, without blanks around it; empty when it is not given."""
        return self.query.get(name, "").strip()

    def given(self, name: str, what: str) -> str:
        """A field of the form that must be filled in. ConfigurationError when it is not."""
        value = self.form.get(name, "").strip()
        if not value:
            raise ConfigurationError(
                self.t(f"the field {what!r}", f"“{what}”一栏"),
                self.t("is empty.", "没有填写。"),
                self.t("fill it in.", "请填写。"),
            )
        return value

    def back(self, start: str) -> str:
        """Where the form says that one goes on: a page of this desk, else `start`."""
        return own_address(self.form.get("back", ""), start)

    def number(self) -> int:
        """Which page of a list is asked for, from 1."""
        asked = self.asked("page")
        return max(1, int(asked)) if asked.isdecimal() and len(asked) < 8 else 1

    def moment(self, name: str) -> datetime | None:
        """A moment of the address's query, UTC; None when none is given. ConfigurationError when it is none."""
        text = self.asked(name).replace(" ", "+")
        if not text:
            return None
        try:
            found = datetime.fromisoformat(text)
        except ValueError as error:
            raise ConfigurationError(
                text,
                self.t("is no day.", "不是日期。"),
                self.t("write it as 2026-03-01.", "请写成 2026-03-01。"),
            ) from error
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def end_of_day(self, name: str) -> datetime | None:
        """The end of a day of the query, UTC."""
        day = self.moment(name)
        return day + timedelta(days=1) if day else None

    def here(self, **changes: str | int | None) -> str:
        """The address of this page with its query, changed; what is None or empty is left out."""
        query = {**self.query, **changes}
        kept = {name: value for name, value in query.items() if value not in (None, "") and name != "lang"}
        return f"{self.path}?{urlencode(kept)}" if kept else self.path


@dataclass(frozen=True)
class Section:
    """A place in the navigation."""

    path: str
    title: str
    title_zh: str
    second: bool = False
    """Whether it stands in the second line: the work on data, below the work on the exchange with systems."""


Handler = Callable[[Visit], Answer]


@dataclass(frozen=True)
class Page:
    """An address and who answers there. `{name}` in the path stands for a part that the handler gets in `place`."""

    path: str
    handler: Handler
    method: Literal["GET", "POST"] = "GET"
    is_open: bool = False
    """Whether somebody who is not logged in may come here."""
    decides: bool = False
    """Whether it needs somebody who may decide; every form that changes something does, save the visitor's own."""


def address(*parts: str) -> str:
    """An address of the desk made of parts that may hold any letter."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def own_address(to: str, start: str) -> str:
    """`to` when it is an address of this desk, else `start`: nobody shall be led from here to another site."""
    is_own = to.startswith("/") and not to.startswith(("//", "/\\")) and not any(ord(letter) < 32 for letter in to)
    return to if is_own else start


def query(**asked: str) -> str:
    """What stands behind an address to ask for something; nothing where nothing is asked."""
    kept = {name: value for name, value in asked.items() if value}
    return f"?{urlencode(kept)}" if kept else ""


def shown(
    visit: Visit,
    title: str,
    under: Any,
    body: Iterable[Any],
    *,
    notice: str = "",
    status: int = 200,
    scripts: Iterable[str] = (),
) -> Answer:
    """A page in the frame of the desk."""
    parts = [page.element("div", notice, class_="note good", role="status")] if notice else []
    return Answer(
        page.document(title, under, [*parts, *body], lang=visit.lang, top=_top(visit), scripts=["/desk.js", *scripts]),
        status,
    )


def _top(visit: Visit) -> Markup:
    other: Lang = "en" if visit.lang == "zh" else "zh"
    language = page.link(
        visit.here() + ("&" if "?" in visit.here() else "?") + f"lang={other}",
        "English" if other == "en" else "中文",
        lang="en" if other == "en" else "zh-CN",
    )
    parts: list[Markup] = [page.link("/", visit.t("Datong desk", "打通工作台"), class_="brand")]
    below: list[Markup] = []
    if visit.session is not None:
        for section in visit.sections:
            is_here = visit.path == section.path or visit.path.startswith(f"{section.path}/")
            (below if section.second else parts).append(
                page.link(
                    section.path, visit.t(section.title, section.title_zh), aria_current="page" if is_here else None
                )
            )
    rest = [language]
    if visit.session is not None:
        out = page.element("button", visit.t("Log out", "退出"), title=visit.session.name)
        rest += [
            page.element("span", f" {visit.session.name} ", class_="soft"),
            page.element("form", page.joined([token(visit), out]), method="post", action="/log-out", class_="line"),
        ]
    parts.append(page.element("span", page.joined(rest), class_="rest"))
    if below:
        parts += [page.element("span", class_="fold"), *below]
    skip = page.link("#main", visit.t("To the content", "跳到正文"), class_="skip")
    nav = page.element("nav", page.joined(parts), class_="top", aria_label=visit.t("Sections", "栏目"))
    return page.joined([skip, nav])


def token(visit: Visit) -> Markup:
    """The hidden field by which a form is known to be of this session."""
    return hidden("form_token", visit.session.form_token if visit.session else "")


def hidden(name: str, value: str) -> Markup:
    """A field that is sent along."""
    return page.element("input", type="hidden", name=name, value=value)


def field_of(label: str, control: Markup) -> Markup:
    """A control below its label."""
    return page.element("label", page.joined([page.element("span", label), control]))


def entry(name: str, value: str = "", **attributes: str | bool | None) -> Markup:
    """A line to type in."""
    return page.element("input", name=name, value=value, **{"type": "text", "autocomplete": "off", **attributes})


def choice(name: str, options: Iterable[tuple[str, str]], chosen: str = "", **attributes: str | bool | None) -> Markup:
    """A list to choose from: value and words of each option."""
    made = (page.element("option", words, value=value, selected=value == chosen) for value, words in options)
    return page.element("select", page.joined(made), name=name, **attributes)


def tick_all(visit: Visit) -> Markup:
    """A box for the head of a table that ticks all of its rows."""
    return page.element("input", type="checkbox", data_all=True, aria_label=visit.t("tick all of these", "全选"))


def button(words: str, *, tone: str = "", key: str = "", **attributes: str | bool | None) -> Markup:
    """A button; `key` is the letter that presses it, tone is main or bad."""
    label = page.joined([words, " ", page.element("kbd", key)]) if key else words
    return page.element("button", label, class_=tone or None, data_key=key or None, **attributes)


def form(
    visit: Visit, action: str, parts: Iterable[Markup], *, shape: Literal["form", "line", "wide"] = "form"
) -> Markup:
    """A form that changes something: fields below each other, in a line of text, or as wide as the page."""
    content = page.joined([token(visit), *parts])
    return page.element("form", content, method="post", action=action, class_=shape if shape != "wide" else None)


def why(visit: Visit) -> Markup:
    """The field that every decision needs: why it is made."""
    area = page.element("textarea", name="why", rows="2", required=True, maxlength="2000")
    return field_of(visit.t("Why (kept with the decision)", "理由（随决定一并保存）"), area)


def filters(visit: Visit, parts: Iterable[Markup]) -> Markup:
    """A form that narrows the list below it."""
    content = [*parts, page.element("button", visit.t("Show", "筛选"))]
    return page.element("form", page.joined(content), method="get", action=visit.path, class_="filters", role="search")


def pager(visit: Visit, total: int, rows: int = ROWS) -> Markup:
    """Where in a long list this page is, and the way to the one before and the next."""
    if not total:
        return Markup("")
    at = visit.number()
    last = max(1, -(-total // rows))
    first_row, last_row = (at - 1) * rows + 1, min(at * rows, total)
    words = visit.t(f"{first_row:,} to {last_row:,} of {total:,}", f"第 {first_row:,}–{last_row:,} 条，共 {total:,} 条")
    parts: list[Any] = [words if first_row <= total else visit.t(f"{total:,} in all", f"共 {total:,} 条")]
    if at > 1:
        parts.append(
            page.link(visit.here(page=min(at - 1, last)), visit.t("Previous", "上一页"), rel="prev", data_key="p")
        )
    if at < last:
        parts.append(page.link(visit.here(page=at + 1), visit.t("Next", "下一页"), rel="next", data_key="n"))
    return page.element("div", page.joined(parts), class_="pager")


def older(visit: Visit, found: Sequence[_T], at: Callable[[_T], datetime]) -> tuple[Sequence[_T], Markup]:
    """What a page of a list shows, the newest first, and the way to what is older.

    `found` are `ROWS` and one more, asked for before the moment `before` of the query. Those of one moment stay
    together, so that none falls between two pages.
    """
    shown_ = found[:ROWS]
    links: list[Markup] = []
    if visit.asked("before"):
        links.append(page.link(visit.here(before=None), visit.t("The newest", "最新")))
    if len(found) > ROWS:
        shown_ = [one for one in shown_ if at(one) > at(found[ROWS])] or shown_
        before = at(shown_[-1]).astimezone(UTC).isoformat()
        links.append(page.link(visit.here(before=before), visit.t("Older", "更早"), rel="next", data_key="n"))
    return shown_, page.element("div", page.joined(links), class_="pager") if links else Markup("")


def empty(words: str) -> Markup:
    """What stands where a list has nothing."""
    return page.element("p", words, class_="empty")


def problem(visit: Visit, error: DatongError) -> Markup:
    """An error for people: the thing, the reason, the next step."""
    parts: list[Any] = [page.element("b", error.thing), ": ", error.reason]
    if error.next_step:
        parts += [Markup("<br>"), visit.t("Next step: ", "下一步："), error.next_step]
    return page.element("div", page.joined(parts), class_="note bad", role="alert")


def moment(value: datetime | str | None) -> str:
    """A time to the minute, UTC."""
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    known = value if value.tzinfo else value.replace(tzinfo=UTC)
    return f"{known.astimezone(UTC):%Y-%m-%d %H:%M}"


def counted(visit: Visit, number: int, one: str, many: str, zh: str) -> str:
    """So many of something: one thing is no many things in English; `zh` has the measure word before the thing."""
    return visit.t(f"{number:,} {one if number == 1 else many}", f"{number:,} {zh}")


def yes(visit: Visit, value: bool) -> str:
    """Yes or no."""
    return visit.t("yes", "是") if value else visit.t("no", "否")
