"""The desk's door: who gets in, which forms count, and what a page may never do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from datong_infra.desk import users
from datong_infra.desk.app import app
from datong_platform.errors import AuthenticationError, ConfigurationError
from datong_platform.settings import Settings
from starlette.testclient import TestClient

WORD = "correct horse 打通"


@pytest.fixture(scope="module")
def desk(services: Settings) -> Iterator[Any]:
    served = app()
    for name, role in (("mei", "steward"), ("tom", "viewer")):
        users.add(name, WORD, role)  # pyright: ignore[reportArgumentType]
    yield served
    for name in ("mei", "tom"):
        users.remove(name)


def visitor(desk: Any) -> TestClient:
    return TestClient(desk, base_url="http://127.0.0.1", follow_redirects=False, headers={"Accept-Language": "en"})


def logged_in(desk: Any, name: str = "mei") -> TestClient:
    client = visitor(desk)
    done = client.post("/log-in", data={"name": name, "password": WORD, "form_token": "", "next": ""})
    assert done.status_code == 303, done.text
    return client


def form_token(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found
    return found.group(1)


def test_a_stranger_sees_the_log_in_and_comes_back_to_the_page_that_was_asked_for(desk: Any) -> None:
    client = visitor(desk)
    sent = client.get("/dictionary?q=zhang")
    assert sent.headers["location"] == "/log-in?next=%2Fdictionary%3Fq%3Dzhang"
    done = client.post(
        "/log-in", data={"name": "mei", "password": WORD, "form_token": "", "next": "/dictionary?q=zhang"}
    )
    assert done.headers["location"] == "/dictionary?q=zhang"
    cookie = done.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()


@pytest.mark.parametrize(
    "elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_a_log_in_never_leads_to_another_site(desk: Any, elsewhere: str) -> None:
    done = visitor(desk).post("/log-in", data={"name": "mei", "password": WORD, "form_token": "", "next": elsewhere})
    assert done.headers["location"] == "/"


def test_a_wrong_password_is_refused_and_five_of_them_close_the_name_for_a_while(services: Settings, desk: Any) -> None:
    users.add("hasty", WORD)
    try:
        for _ in range(5):
            with pytest.raises(AuthenticationError, match="do not belong together"):
                users.log_in("hasty", "something else", "en")
        with pytest.raises(AuthenticationError, match="too often"):
            users.log_in("hasty", WORD, "en")
        users.set_password("hasty", WORD + "!")
        assert users.log_in("hasty", WORD + "!", "en")
    finally:
        users.remove("hasty")


def test_an_unknown_name_and_a_wrong_password_get_the_same_words(desk: Any) -> None:
    words = []
    for name in ("mei", "nobody"):
        with pytest.raises(AuthenticationError) as refused:
            users.log_in(name, "something else", "en")
        words.append(str(refused.value))
    assert words[0] == words[1]


def test_a_short_password_and_a_name_that_is_taken_are_refused(desk: Any) -> None:
    with pytest.raises(ConfigurationError, match="too short"):
        users.add("li", "short")
    with pytest.raises(ConfigurationError, match="is there already"):
        users.add("mei", WORD)


def test_the_database_holds_neither_passwords_nor_session_tokens(services: Settings, desk: Any) -> None:
    import psycopg

    client = logged_in(desk)
    token = client.cookies["datong_desk"]
    with psycopg.connect(services.need("postgres_url")) as connection:
        kept = str(connection.execute("select * from ops.desk_user").fetchall())
        kept += str(connection.execute("select * from ops.desk_session").fetchall())
    assert WORD not in kept
    assert token not in kept


def test_readers_of_the_bi_door_see_no_user(services: Settings, desk: Any) -> None:
    import psycopg

    with (
        psycopg.connect(services.need("postgres_reader_url")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("select * from ops.desk_user")


def test_a_form_without_the_sessions_token_or_from_another_site_changes_nothing(desk: Any) -> None:
    client = logged_in(desk)
    token = form_token(client.get("/").text)
    refused = client.post("/log-out", data={"form_token": "x" * len(token)})
    assert refused.status_code == 403
    refused = client.post("/log-out", data={"form_token": token}, headers={"Origin": "https://evil.example"})
    assert refused.status_code == 403
    assert client.get("/").status_code == 200
    done = client.post("/log-out", data={"form_token": token}, headers={"Origin": "http://127.0.0.1"})
    assert done.headers["location"] == "/log-in"
    assert client.get("/").status_code == 303


def test_the_token_of_one_session_does_not_open_the_forms_of_another(desk: Any) -> None:
    one, other = logged_in(desk), logged_in(desk, "tom")
    refused = other.post("/log-out", data={"form_token": form_token(one.get("/").text)})
    assert refused.status_code == 403


def test_another_name_than_ours_is_not_answered(desk: Any) -> None:
    client = TestClient(desk, base_url="http://rebound.example")
    assert client.get("/log-in").status_code == 400


def test_a_page_that_is_asked_for_wrongly_says_so_and_is_no_failure_of_a_service(desk: Any) -> None:
    answer = logged_in(desk).get("/golden")
    assert answer.status_code == 400
    assert "no golden records" in answer.text


def test_pages_load_nothing_from_elsewhere_and_are_framed_by_nobody(desk: Any) -> None:
    answer = logged_in(desk).get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"""(src|href)="(https?:)?//""", answer.text)


def test_the_language_is_chosen_once_and_stays(desk: Any) -> None:
    client = logged_in(desk)
    assert "Log out" in client.get("/").text
    assert "退出" in client.get("/?lang=zh").text
    page = client.get("/").text
    assert "退出" in page
    assert '<html lang="zh-CN">' in page


def test_who_has_been_removed_is_logged_out_at_once(desk: Any) -> None:
    users.add("short_stay", WORD)
    client = logged_in(desk, "short_stay")
    assert client.get("/").status_code == 200
    users.remove("short_stay")
    assert client.get("/").status_code == 303


def test_what_a_visitor_types_is_shown_as_text(desk: Any) -> None:
    nasty = '"><script>alert(1)</script>'
    answer = visitor(desk).post("/log-in", data={"name": nasty, "password": "x", "form_token": "", "next": nasty})
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text
