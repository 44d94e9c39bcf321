"""Ways to log in that are more than a header, each declared in a definition."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from datong_ingestion.connections.rest import RestConnection
from datong_ingestion.http import HttpClient
from datong_platform.errors import AuthenticationError, ConfigurationError, TransientError
from pydantic import ValidationError

_SPEC = importlib.util.spec_from_file_location("vendors", Path(__file__).with_name("vendors.py"))
assert _SPEC
assert _SPEC.loader
vendors = importlib.util.module_from_spec(_SPEC)
__import__("sys").modules["vendors"] = vendors
_SPEC.loader.exec_module(vendors)

CLIENT, SECRET = "datong-client", "cl-secret-55e0"


class Microsoft:
    """A token end point and an API behind it."""

    def __init__(self) -> None:
        self.good: set[str] = set()
        self.given = 0
        self.lasts: Any = 3600
        self.token_status = 200
        self.server = vendors.Server(self.answer)

    def answer(self, asked: Any) -> Any:
        if asked.path == "/token":
            self.given += 1
            form = dict(part.split("=") for part in asked.body.decode().split("&"))
            basic = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
            known = form.get("client_secret") == SECRET or asked.headers.get("authorization") == basic
            if self.token_status != 200 or not known or form["grant_type"] != "client_credentials":
                status = self.token_status if self.token_status != 200 else 401
                return vendors.Reply({"error": "invalid_client", "error_description": "AADSTS7000215"}, status)
            token = f"bearer-token-{self.given}"
            self.good.add(token)
            return vendors.Reply({"access_token": token, "token_type": "Bearer", "expires_in": self.lasts})
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        return vendors.Reply({"ok": 1}) if token in self.good else vendors.Reply({"error": f"bad {token}"}, 401)


def client(**declared: Any) -> HttpClient:
    connection = RestConnection.model_validate({"attempts": 3, "max_wait_seconds": 0.1, **declared})
    return HttpClient.of("system x", connection, connection)


@pytest.fixture
def microsoft() -> Any:
    made = Microsoft()
    yield made
    made.server.stop()


def oauth2(microsoft: Microsoft, **changes: Any) -> HttpClient:
    declared = {"token_url": f"{microsoft.server.address}/token", "client_id": CLIENT, "client_secret": SECRET}
    return client(base_url=microsoft.server.address, auth="oauth2", oauth2=declared | changes)


@pytest.mark.parametrize("send_as", ["body", "basic"])
def test_a_token_is_fetched_once_and_used_until_it_is_refused(microsoft: Microsoft, send_as: str) -> None:
    http = oauth2(microsoft, send_as=send_as, scope="https://org.example/.default")
    for _ in range(3):
        assert http.request("GET", http.below("things")).json() == {"ok": 1}
    assert microsoft.given == 1
    microsoft.good.clear()
    assert http.request("GET", http.below("things")).json() == {"ok": 1}
    assert microsoft.given == 2
    assert b"scope=https%3A%2F%2Forg.example%2F.default" in microsoft.server.asked[0].body


def test_a_token_is_renewed_before_it_expires(microsoft: Microsoft, monkeypatch: pytest.MonkeyPatch) -> None:
    http = oauth2(microsoft)
    microsoft.lasts = 1000
    http.request("GET", http.below("things"))
    from datong_ingestion import http_auth

    real = http_auth.time.monotonic
    monkeypatch.setattr(http_auth.time, "monotonic", lambda: real() + 930)
    http.request("GET", http.below("things"))
    assert microsoft.given == 1
    monkeypatch.setattr(http_auth.time, "monotonic", lambda: real() + 945)
    http.request("GET", http.below("things"))
    assert microsoft.given == 2


def test_many_threads_whose_token_is_refused_renew_it_once(microsoft: Microsoft) -> None:
    http = oauth2(microsoft)
    http.request("GET", http.below("things"))
    microsoft.good.clear()
    gate = threading.Barrier(4)

    def ask(_: int) -> int:
        gate.wait()
        return http.request("GET", http.below("things")).status_code

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [200] * 4
    assert microsoft.given == 2


def test_a_wrong_client_secret_is_told_without_the_secret(microsoft: Microsoft) -> None:
    http = oauth2(microsoft, client_secret="wrong-secret-1")
    with pytest.raises(AuthenticationError, match="AADSTS7000215") as caught:
        http.request("GET", http.below("things"))
    assert "wrong-secret-1" not in str(caught.value)
    assert microsoft.given == 1, "a refusal is not tried again: accounts get locked"


def test_a_token_end_point_that_is_down_is_tried_again(microsoft: Microsoft, no_waiting: list[float]) -> None:
    microsoft.token_status = 503
    http = oauth2(microsoft)
    with pytest.raises(TransientError, match="503"):
        http.request("GET", http.below("things"))
    assert microsoft.given == 3


def test_a_token_that_the_api_never_accepts_ends_and_is_not_shown(microsoft: Microsoft) -> None:
    class Forgetful(set[str]):
        def add(self, _token: str) -> None:
            pass

    microsoft.good = Forgetful()
    http = oauth2(microsoft)
    with pytest.raises(AuthenticationError) as caught:
        http.request("GET", http.below("things"))
    assert microsoft.given == 2
    assert "bearer-token" not in str(caught.value)


def test_a_signed_request_is_verified_by_the_other_side_each_time_anew() -> None:
    seen: list[str] = []

    def answer(asked: Any) -> Any:
        stamp, nonce = asked.headers["x-timestamp"], asked.headers["x-nonce"]
        text = (
            f"{asked.method}\n{asked.path}\na=1&b=%E4%BB%B6\n{stamp}\n{nonce}\n{hashlib.sha256(asked.body).hexdigest()}"
        )
        right = base64.b64encode(hmac.new(b"s-55", text.encode(), "sha256").digest()).decode()
        seen.append(nonce)
        good = asked.headers["x-signature"] == right and asked.headers["x-key"] == "app-1"
        return vendors.Reply({"ok": 1}) if good else vendors.Reply({"error": "bad signature"}, 401)

    server = vendors.Server(answer)
    http = client(
        base_url=server.address,
        auth="signed",
        signed={
            "key_id": "app-1",
            "secret": "s-55",
            "text": "{method}\n{path}\n{query}\n{timestamp}\n{nonce}\n{body_hash}",
            "encoding": "base64",
            "timestamp": "milliseconds",
            "send": {
                "X-Key": "{key_id}",
                "X-Timestamp": "{timestamp}",
                "X-Nonce": "{nonce}",
                "X-Signature": "{signature}",
            },
        },
    )
    for content in (None, b'{"x":1}'):
        params = {"b": "件", "a": "1"}
        assert http.request("POST", http.below("x/y"), params=params, content=content).json() == {"ok": 1}
    assert len(set(seen)) == 2
    server.stop()


def test_an_old_signature_that_hashes_the_secret_goes_into_the_query() -> None:
    def answer(asked: Any) -> Any:
        signed = {name: value for name, value in asked.query.items() if name != "sign"}
        text = "s-55" + "".join(f"{name}{signed[name]}" for name in ("method",)) + signed["ts"] + "s-55"
        good = asked.query["sign"] == hashlib.md5(text.encode()).hexdigest().upper()
        return vendors.Reply({"ok": good})

    server = vendors.Server(answer)
    signed = {"secret": "s-55", "text": "{secret}{joined}{timestamp}{secret}", "algorithm": "md5", "encoding": "HEX"}
    signed |= {"timestamp": "%Y%m%d%H%M%S", "send_in": "query", "send": {"ts": "{timestamp}", "sign": "{signature}"}}
    http = client(base_url=server.address, auth="signed", signed=signed)
    assert http.request("GET", http.below("router"), params={"method": "order.list"}).json() == {"ok": True}
    server.stop()


def session(server: Any, **changes: Any) -> HttpClient:
    declared = {
        "path": "login",
        "body": {"user": "{user}", "pass": "{password}", "company": "{company}"},
        "success_path": "code",
        "success_values": [0],
        "message_path": "msg",
        "session_path": "data.sid",
        "send": {"X-Session": "{session}"},
        "expired_texts": ["session expired"],
        "logout_path": "logout",
    }
    return client(
        base_url=server.address,
        auth="session",
        user="reader",
        password="pw-4471",
        variables={"company": "001"},
        session=declared | changes,
    )


@pytest.mark.parametrize("over", ["401", "words at status 200"])
def test_a_session_is_opened_used_renewed_and_closed(over: str) -> None:
    good: set[str] = set()

    def answer(asked: Any) -> Any:
        if asked.path == "/login":
            right = asked.json == {"user": "reader", "pass": "pw-4471", "company": "001"}
            sid = f"sid-{len(server.asked)}-long"
            good.add(sid)
            return vendors.Reply({"code": 0, "data": {"sid": sid}} if right else {"code": 9, "msg": "no"})
        sid = asked.headers.get("x-session")
        if sid not in good:
            return vendors.Reply({"msg": "session expired"}, 401 if over == "401" else 200)
        if asked.path == "/logout":
            good.discard(sid)
        return vendors.Reply({"ok": 1})

    server = vendors.Server(answer)
    http = session(server)
    assert http.request("GET", http.below("a")).json() == {"ok": 1}
    assert http.request("GET", http.below("b")).json() == {"ok": 1}
    good.clear()
    assert http.request("GET", http.below("c")).json() == {"ok": 1}
    http.close()
    assert [asked.path for asked in server.asked] == ["/login", "/a", "/b", "/c", "/login", "/c", "/logout"]
    assert not good, "nothing is left open: a session costs a licence"
    server.stop()


def test_a_refused_log_in_says_why_and_hides_the_password() -> None:
    server = vendors.Server(lambda _asked: vendors.Reply({"code": 7, "msg": "user locked, tried pw-4471"}))
    with pytest.raises(AuthenticationError, match="user locked") as caught:
        session(server).request("GET", f"{server.address}/a")
    assert "pw-4471" not in str(caught.value)
    server.stop()


@pytest.mark.parametrize("scheme", ["oauth2", "signed", "session", "basic", "bearer", "api_key"])
def test_a_log_in_without_its_parts_is_a_mistake_of_the_definition(scheme: str) -> None:
    with pytest.raises(ValidationError, match=f"auth {scheme} needs"):
        RestConnection.model_validate({"base_url": "http://x", "auth": scheme})


def test_references_within_a_log_in_are_looked_up_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = RestConnection.model_validate(
        {
            "base_url": "http://x",
            "auth": "oauth2",
            "oauth2": {"token_url": "http://t", "client_id": "${WEB_ID}", "client_secret": "${WEB_SECRET}"},
        }
    )
    assert declared.names_of("oauth2") == "${WEB_ID}, ${WEB_SECRET}"
    monkeypatch.setenv("WEB_ID", "one")
    with pytest.raises(ConfigurationError, match="WEB_SECRET"):
        declared.resolved("system x")
    monkeypatch.setenv("WEB_SECRET", "two")
    found = declared.resolved("system x")
    assert found.oauth2
    assert (found.oauth2.client_id, found.oauth2.client_secret) == ("one", "two")
    assert "two" not in repr(found)
