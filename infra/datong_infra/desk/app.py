"""The desk's door: finds the visitor, guards the forms, calls the page, and says in words what went wrong.

Against pages of others in the same browser: cookies are SameSite and unreadable for scripts, every form carries a
token of its session, a form that another site sends is refused by its Origin, and the name under which we are called
must be one of ours (DNS rebinding). A page may load nothing from elsewhere and be framed by nobody.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

from datong_platform import page
from datong_platform.errors import AuthenticationError, DatongError, TerminalError
from datong_platform.page import Lang
from datong_platform.settings import settings
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from datong_infra.desk import frame, users
from datong_infra.desk.frame import LANGUAGE, SESSION, Answer, Page, Visit
from datong_infra.desk.pages import PAGES as EVERY_PAGE
from datong_infra.desk.pages import SECTIONS

if TYPE_CHECKING:
    from starlette.requests import Request

LOCAL = ("127.0.0.1", "localhost", "[::1]")

_LARGEST_FORM = 4 * 1024 * 1024
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_log = logging.getLogger(__name__)


def app() -> Starlette:
    """The application. Makes the tables of users and sessions where they are missing."""
    users.ensure()
    routes = [
        Route("/health", _health),
        Route("/metrics", _metrics),
        Route("/desk.js", _script),
        Route("/favicon.ico", _no_icon),
        *(Route(one.path, _endpoint(one), methods=[one.method]) for one in EVERY_PAGE),
        # every other address: the same words for what is not there as for what is not allowed to be known
        Route("/{path:path}", _endpoint(Page("/", _missing))),
    ]
    hosts = [*LOCAL, *(name.strip() for name in settings().desk_hosts.split(",") if name.strip())]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts),
            Middleware(GZipMiddleware, minimum_size=2000),
        ],
    )


def _health(_request: Request) -> Response:
    return PlainTextResponse("ok")


async def _metrics(request: Request) -> Response:
    """What Prometheus scrapes, for those who have the token; without one for this machine only."""
    token, told = settings().metrics_token, request.headers.get("authorization", "")
    if token:
        allowed = hmac.compare_digest(told.encode(), f"Bearer {token}".encode())
    else:
        # a proxy asks from this machine, too, for whoever asked it
        through = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "x-real-ip"))
        allowed = not through and request.client is not None and request.client.host in {"127.0.0.1", "::1"}
    if not allowed:
        words = "Metrics are for this machine, or for who sends DATONG_METRICS_TOKEN as bearer token.\n"
        return PlainTextResponse(words, 401 if token else 403, {"WWW-Authenticate": "Bearer"} if token else None)
    from datong_infra import metrics

    body, kind = await run_in_threadpool(metrics.exposition, request.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": kind, "Cache-Control": "no-store"})


def _no_icon(_request: Request) -> Response:
    return Response(status_code=204)


def _script(_request: Request) -> Response:
    return FileResponse(
        Path(__file__).with_name("desk.js"), media_type="text/javascript", headers={"Cache-Control": "no-cache"}
    )


def _endpoint(one: Page):
    async def answer(request: Request) -> Response:
        form = await _form(request) if one.method == "POST" else {}
        made = await run_in_threadpool(_answer, one, request, form)
        response = Response(made.body, made.status, media_type=f"{made.kind}; charset=utf-8", headers=dict(_HEADERS))
        if made.to:
            # 303: what follows is always read, never sent again
            response.status_code = 303
            response.headers["Location"] = made.to
        for name, value in made.cookies.items():
            if value:
                age = 365 * 86400 if name == LANGUAGE else None
                safe = request.url.scheme == "https"
                response.set_cookie(name, value, max_age=age, httponly=True, samesite="lax", secure=safe)
            else:
                response.delete_cookie(name)
        return response

    return answer


async def _form(request: Request) -> Mapping[str, str] | None:
    """The fields of a form; None when it is larger than any of ours."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_FORM:
            return None
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10_000))


def _answer(one: Page, request: Request, form: Mapping[str, str] | None) -> Answer:
    """Call the page, or say why not. Never raises: what nobody foresaw is logged and told without its inside."""
    visit = Visit(request.url.path, dict(request.query_params), form or {}, _language(request), None, SECTIONS)
    try:
        token = request.cookies.get(SESSION)
        session = users.session(token) if token else None
        asked = visit.query.get("lang")
        chosen: dict[str, str] = {LANGUAGE: asked} if asked in {"en", "zh"} else {}
        if session and asked in {"en", "zh"} and asked != session.language:
            users.speak(session, asked)  # pyright: ignore[reportArgumentType]
        lang: Lang = visit.lang if chosen or session is None else session.language
        visit = Visit(
            visit.path,
            visit.query,
            visit.form,
            lang,
            session,
            SECTIONS,
            {k: str(v) for k, v in request.path_params.items()},
        )
        made = _guarded(one, request, visit, form)
        if made.notice and session:
            users.leave_notice(session, made.notice)
        return replace(made, cookies={**chosen, **made.cookies})
    except DatongError as error:
        return _refused(visit, error)
    except Exception:  # noqa: BLE001 - nobody shall see a traceback, and the next request is served
        _log.exception("%s %s", request.method, request.url.path)
        what = page.element(
            "p", visit.t("What went wrong is in the log: datong logs desk", "原因见日志：datong logs desk")
        )
        title = visit.t("This page failed", "页面出错")
        return frame.shown(visit, title, "", [what], status=500)


def _guarded(one: Page, request: Request, visit: Visit, form: Mapping[str, str] | None) -> Answer:
    if visit.session is None and not one.is_open:
        if one.method == "POST":
            return Answer(to="/log-in")
        return Answer(to=f"/log-in?next={quote(visit.here(), safe='')}")
    if one.method == "POST":
        if form is None:
            raise TerminalError(
                visit.t("the form", "表单"),
                visit.t("is too large.", "过大。"),
                visit.t("send less at once.", "请分批提交。"),
            )
        if not _is_own(request, visit):
            words = visit.t(
                "was not sent by a page of this desk, or its session ended.", "不是由本工作台发出，或会话已结束。"
            )
            raise AuthenticationError(
                visit.t("the form", "表单"), words, visit.t("open the page again.", "请重新打开页面。")
            )
        if one.decides and not visit.decides:
            words = visit.t("may look, but not decide: the role is viewer.", "只能查看，不能决定：角色为 viewer。")
            step = visit.t("ask for the role steward.", "请申请 steward 角色。")
            raise AuthenticationError(visit.who, words, step)
    made = one.handler(visit)
    if one.method == "GET" and visit.session and made.kind == "text/html" and not made.to:
        notice = users.take_notice(visit.session)
        if notice:
            shown = page.element("div", notice, class_="note good", role="status")
            return Answer(made.body.replace("</nav>", f"</nav>{shown}", 1), made.status, cookies=made.cookies)
    return made


def _is_own(request: Request, visit: Visit) -> bool:
    """Whether a form comes from a page of ours."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return False
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    # a log-in has no session yet; a stranger's page could not have sent it
    kept = visit.session.form_token if visit.session else ""
    return hmac.compare_digest(visit.form.get("form_token", ""), kept)


def _language(request: Request) -> Lang:
    asked = request.query_params.get("lang") or request.cookies.get(LANGUAGE)
    if asked in {"en", "zh"}:
        return asked  # pyright: ignore[reportReturnType]
    first = request.headers.get("accept-language", "").split(",")[0].strip().lower()
    return "zh" if first.startswith("zh") else "en"


def _refused(visit: Visit, error: DatongError) -> Answer:
    # what is asked for wrongly, and what does not answer at this moment
    status = 403 if isinstance(error, AuthenticationError) else 400 if isinstance(error, TerminalError) else 503
    back = page.element("p", page.link("/", visit.t("To the start", "返回首页")))
    title = visit.t("That did not work", "未能完成")
    return frame.shown(visit, title, "", [frame.problem(visit, error), back], status=status)


def _missing(visit: Visit) -> Answer:
    words = visit.t("There is no such page.", "没有这个页面。")
    return frame.shown(
        visit, visit.t("Not found", "找不到"), words, [page.link("/", visit.t("To the start", "返回首页"))], status=404
    )
