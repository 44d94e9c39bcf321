"""Alerts on every channel: signed where asked, refusals with status 200 told, no secret in any error."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from alert_receivers import DING_SECRET, FEISHU_SECRET, HOOK_SECRET, Receivers
from datong_infra.services import processes
from datong_platform.alerts.channels import AnyChannel, Channel, Message, deliver
from datong_platform.errors import AuthenticationError, ConfigurationError, DatongError, TransientError
from pydantic import TypeAdapter

MESSAGE = Message(
    "ERP 采购订单未到达 / ERP orders do not arrive",
    ("bronze.erp__sales_order: the ERP answers 503.", "Behind it wait 12 tables."),
    "error",
    datetime(2026, 3, 1, 8, 0, tzinfo=UTC),
    "http://127.0.0.1:9/incident/7",
    (("system", "erp"),),
)
SECRETS = (DING_SECRET, FEISHU_SECRET, HOOK_SECRET, "wecom-key", "mail-word")


def channel(**definition: Any) -> Channel:
    return TypeAdapter[Any](AnyChannel).validate_python({"name": "night shift", **definition})


@pytest.fixture
def receivers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receivers]:
    found = Receivers()
    for name, path in PATHS.items():
        monkeypatch.setenv(f"{name.upper()}_ROBOT", found.url + path)
    monkeypatch.setenv("DING_KEY", DING_SECRET)
    monkeypatch.setenv("FEISHU_KEY", FEISHU_SECRET)
    monkeypatch.setenv("HOOK_KEY", HOOK_SECRET)
    yield found
    found.stop()


PATHS = {
    "wecom": "/cgi-bin/webhook/send?key=wecom-key",
    "dingtalk": "/robot/send?access_token=ding-token",
    "feishu": "/open-apis/bot/v2/hook/abc",
    "slack": "/services/T0/B0/x",
    "webhook": "/hook",
}
KEYS = {"dingtalk": "${DING_KEY}", "feishu": "${FEISHU_KEY}", "webhook": "${HOOK_KEY}"}
WEB = sorted(PATHS)


def web(kind: str, **changes: Any) -> Channel:
    secret = {"secret": KEYS[kind]} if kind in KEYS else {}
    return channel(**{"kind": kind, "url": f"${{{kind.upper()}_ROBOT}}", **secret, **changes})


@pytest.mark.parametrize("kind", WEB)
def test_a_message_arrives_whole_and_signed(receivers: Receivers, kind: str) -> None:
    web(kind).send(MESSAGE)
    [body] = receivers.taken[PATHS[kind].partition("?")[0]]
    told = repr(body)
    for words in (MESSAGE.title, *MESSAGE.lines, MESSAGE.link):
        assert words in told


@pytest.mark.parametrize("kind", ["dingtalk", "feishu", "webhook"])
def test_a_wrong_secret_is_told_though_the_platform_answers_200(receivers: Receivers, kind: str) -> None:
    with pytest.raises(AuthenticationError, match="night shift") as raised:
        web(kind, secret="another").send(MESSAGE)
    assert "secret" in raised.value.next_step
    assert not receivers.taken


def test_an_unknown_robot_of_wecom_is_told_though_it_answers_200(
    receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WECOM_ROBOT", f"{receivers.url}/cgi-bin/webhook/send?key=wrong")
    with pytest.raises(AuthenticationError, match="93000 invalid webhook url"):
        web("wecom").send(MESSAGE)


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("wecom", (200, {"errcode": 45009, "errmsg": "api freq out of limit"}, {})),
        ("dingtalk", (200, {"errcode": 130101, "errmsg": "send too fast"}, {})),
        ("feishu", (200, {"code": 11232, "msg": "frequency limited"}, {})),
        ("slack", (429, "rate_limited", {"Retry-After": "30"})),
        ("webhook", (503, "", {})),
    ],
)
def test_a_limit_of_the_platform_asks_for_a_later_try(receivers: Receivers, kind: str, answer: Any) -> None:
    receivers.faults = [answer]
    with pytest.raises(TransientError) as raised:
        web(kind).send(MESSAGE)
    if kind == "slack":
        assert raised.value.retry_after == 30
    web(kind).send(MESSAGE)


@pytest.mark.parametrize("kind", WEB)
def test_what_is_no_such_platform_is_told_and_not_taken_for_success(receivers: Receivers, kind: str) -> None:
    receivers.faults = [(200, "<html>Please log in</html>", {})]
    if kind == "webhook":
        return  # a general receiver may answer what it likes
    with pytest.raises(ConfigurationError, match="Please log in"):
        web(kind).send(MESSAGE)


@pytest.mark.parametrize("kind", WEB)
def test_no_error_tells_an_address_or_a_secret(
    receivers: Receivers, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[DatongError] = []
    receivers.faults = [(404, "nothing here", {}), (500, "", {}), (401, "", {})]
    for _ in range(3):
        deliver([web(kind)], MESSAGE, lambda _channel, error: errors.append(error))
    receivers.stop()
    deliver([web(kind)], MESSAGE, lambda _channel, error: errors.append(error))
    monkeypatch.delenv(f"{kind.upper()}_ROBOT")
    deliver([web(kind)], MESSAGE, lambda _channel, error: errors.append(error))
    assert len(errors) == 5
    for error in errors:
        assert not any(secret in str(error) for secret in (*SECRETS, "ding-token", "bot/v2/hook", "/services/"))
        assert "night shift" in str(error)
    assert f"{kind.upper()}_ROBOT" in str(errors[-1])


def test_a_long_message_is_cut_to_what_wecom_takes(receivers: Receivers) -> None:
    web("wecom").send(Message("标题", ("数据" * 5000,), "error", MESSAGE.at))
    assert receivers.taken


def test_one_channel_that_fails_does_not_stop_the_others(receivers: Receivers) -> None:
    failed: list[str] = []
    channels = [web("dingtalk", secret="wrong", name="first"), web("slack", name="second")]
    assert deliver(channels, MESSAGE, lambda one, _: failed.append(one.name)) == 1
    assert failed == ["first"]


class _Mailbox:
    """What a real SMTP server keeps; it refuses one recipient, and is busy on request."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.busy = False

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        if address.startswith("gone"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.busy:
            return "451 4.3.0 try later"
        self.mails.append(envelope.content)
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[tuple[_Mailbox, int]]:
    box, port = _Mailbox(), processes.free_port()
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=port,
        auth_require_tls=False,
        authenticator=lambda *told: AuthResult(success=told[-1].password == b"mail-word", handled=False),
    )
    controller.start()
    yield box, port
    controller.stop()


def mail(port: int, **changes: Any) -> Channel:
    return channel(
        **{
            "kind": "email",
            "host": "127.0.0.1",
            "port": port,
            "security": "none",
            "user": "datong",
            "password": "mail-word",
            "sender": "datong@plant.example",
            "to": ["zhang@plant.example"],
            **changes,
        }
    )


def test_a_mail_arrives_in_both_languages(mailbox: tuple[_Mailbox, int]) -> None:
    box, port = mailbox
    mail(port).send(MESSAGE)
    [content] = box.mails
    found = message_from_bytes(content, policy=policy.default)
    assert found["Subject"] == f"[error] {MESSAGE.title}"
    assert MESSAGE.lines[1] in found.get_content()


def test_what_a_mail_server_refuses_is_told_apart_from_what_it_puts_off(mailbox: tuple[_Mailbox, int]) -> None:
    box, port = mailbox
    with pytest.raises(AuthenticationError, match="refused the log-in") as wrong:
        mail(port, password="wrong").send(MESSAGE)
    assert "wrong" not in str(wrong.value)
    with pytest.raises(ConfigurationError, match="gone@plant"):
        mail(port, to=["gone@plant.example"]).send(MESSAGE)
    with pytest.raises(ConfigurationError, match=r"gone@plant.*the others have it"):
        mail(port, to=["zhang@plant.example", "gone@plant.example"]).send(MESSAGE)
    box.busy = True
    with pytest.raises(TransientError, match="451"):
        mail(port).send(MESSAGE)
