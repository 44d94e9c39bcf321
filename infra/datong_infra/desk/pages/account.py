"""Logging in and out."""

from __future__ import annotations

from datong_platform import page
from datong_platform.errors import AuthenticationError
from datong_platform.page import Markup

from datong_infra.desk import users
from datong_infra.desk.frame import (
    SESSION,
    Answer,
    Page,
    Visit,
    button,
    entry,
    field_of,
    form,
    hidden,
    own_address,
    problem,
    shown,
)


def _form(visit: Visit, trouble: Markup | None = None) -> Answer:
    to = visit.form.get("next") or visit.asked("next")
    body: list[Markup] = [trouble] if trouble else []
    if not users.users():
        words = visit.t(
            "Nobody may log in yet. On the machine that runs Datong: ", "还没有用户。请在运行打通的机器上执行："
        )
        body.append(page.element("div", page.joined([words, page.code("datong user add NAME")]), class_="note warn"))
    name = entry("name", visit.form.get("name", ""), required=True, autofocus=True, autocomplete="username")
    password = entry("password", type="password", required=True, autocomplete="current-password")
    body.append(
        form(
            visit,
            "/log-in",
            [
                hidden("next", to),
                field_of(visit.t("Name", "用户名"), name),
                field_of(visit.t("Password", "密码"), password),
                button(visit.t("Log in", "登录"), tone="main"),
            ],
        )
    )
    under = visit.t(
        "What goes back to the systems, what is wrong, and what waits for a person's decision.",
        "回写流程、告警，以及等待人工决定的数据。",
    )
    return shown(visit, visit.t("Log in", "登录"), under, body, status=403 if trouble else 200)


def _ask(visit: Visit) -> Answer:
    return Answer(to="/") if visit.session else _form(visit)


def _log_in(visit: Visit) -> Answer:
    try:
        token = users.log_in(visit.form.get("name", "").strip(), visit.form.get("password", ""), visit.lang)
    except AuthenticationError as error:
        return _form(visit, problem(visit, _said(visit, error)))
    return Answer(to=own_address(visit.form.get("next", ""), "/"), cookies={SESSION: token})


def _said(visit: Visit, error: AuthenticationError) -> AuthenticationError:
    if visit.lang == "en":
        return error
    if "too often" in error.reason:
        return AuthenticationError("登录", "密码错误次数过多。", "请一分钟后再试。")
    return AuthenticationError("登录", "用户名与密码不符。", "请重试。")


def _log_out(visit: Visit) -> Answer:
    if visit.session:
        users.log_out(visit.session)
    return Answer(to="/log-in", cookies={SESSION: ""})


PAGES = [
    Page("/log-in", _ask, is_open=True),
    Page("/log-in", _log_in, "POST", is_open=True),
    Page("/log-out", _log_out, "POST"),
]
