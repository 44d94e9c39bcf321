"""The engine behind Spark Connect: Sail by default, Apache Spark with Delta, or a company's own `sc://` address.

The address carries a fixed session id: Sail keeps its catalog per session, so dbt, Python and the command line share
one. The catalog is empty after a start and is registered again from storage.
"""

from __future__ import annotations

import sys
import uuid
from typing import Any

import psutil
from datong_platform.errors import ServiceError
from datong_platform.settings import from_environment, settings

from datong_infra.services.base import Launch, Service, key
from datong_infra.services.processes import Record

_SESSION_DAYS = 30


def session_id() -> str:
    """The fixed session of this home."""
    return str(uuid.UUID(hex=key("engine_session", 16)))


def version_at(address: str, timeout: float = 3.0) -> str:
    """The version of the Spark Connect server at `sc://host:port`, asked without loading PySpark.

    One AnalyzePlan request of Spark Connect's protocol (spark/connect/base.proto), written by hand: loading PySpark
    takes longer than the whole check.
    """
    import grpc

    def text(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    # session_id = 1, user_context = 2 {user_id = 1}, spark_version = 10 {}
    request = text(1, str(uuid.uuid4()).encode()) + text(2, text(1, b"datong-check")) + text(10, b"")
    target = address.removeprefix("sc://").split("/")[0]
    with grpc.insecure_channel(target) as channel:
        ask = channel.unary_unary(
            "/spark.connect.SparkConnectService/AnalyzePlan",
            request_serializer=bytes,
            response_deserializer=bytes,
        )
        answer: bytes = ask(request, timeout=timeout)
    # spark_version = 8 { version = 1 } of the answer; every field of it is shorter than 128 bytes
    fields: dict[int, bytes] = {}
    while answer:
        end = 2 + answer[1]
        fields[answer[0] >> 3] = answer[2:end]
        answer = answer[end:]
    return fields[8][2:].decode("ascii")


class Engine(Service):
    """The Spark Connect server."""

    name = "engine"
    needs = ("store",)
    launches_early = True

    def external(self) -> str | None:
        if settings().engine_kind == "remote":
            return settings().engine
        return from_environment("engine_address")

    def fits(self, record: Record) -> bool:
        now = settings()
        if record.extra.get("kind") != now.engine_kind:
            return False
        return now.engine_kind != "spark" or record.extra.get("workers", 0) == now.spark_workers

    @property
    def patience(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """A JVM on a busy machine takes its time."""
        return 180.0 if settings().engine_kind == "spark" else 30.0

    def prepare(self) -> None:
        session_id()
        if settings().engine_kind == "spark":
            from datong_infra.services.spark import server

            server.prepare()

    def launch(self, port: int) -> Launch:
        if settings().engine_kind == "spark":
            from datong_infra.services.spark import server

            return server.launch(port)
        now = settings()
        return Launch(
            [sys.executable, "-m", "datong_infra.services.sail", str(port), str(now.engine_limit_mib or _limit_mib())],
            environment={
                "AWS_ENDPOINT": now.need("s3_endpoint"),
                "AWS_ALLOW_HTTP": "true",
                "AWS_REGION": now.s3_region,
                "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": str(now.s3_virtual_hosted_style).lower(),
                **_keys(),
                "SAIL_SPARK__SESSION_TIMEOUT_SECS": str(_SESSION_DAYS * 24 * 3600),
                "RUST_LOG": "warn",
                # the session's time zone until a client sets it; after a renewal none does
                "TZ": "UTC",
            },
            extra={"kind": "sail"},
        )

    def settings(self, port: int) -> dict[str, Any]:
        return {
            "engine_address": f"sc://127.0.0.1:{port}/;user_id=datong;session_id={session_id()}",
        }

    def check(self, record: Record | None) -> str:
        address = settings().need("engine_address")
        if self.external():
            # a company's address can ask for TLS and a token, which only PySpark's own client reads
            from datong_platform import engine

            return f"Spark {engine.session().version} at {address.split(';')[0]}"
        try:
            version = version_at(address)
        except Exception as error:
            raise ServiceError(
                "engine",
                f"does not answer at {address.split('/;')[0]} ({type(error).__name__}).",
                "run `datong up`; `datong logs engine` shows what it said.",
            ) from error
        return f"{settings().engine_kind}, Spark {version}"

    def complete(self) -> None:
        from datong_platform.lake import catalog

        catalog.register()


def _limit_mib() -> int:
    """What the embedded engine may grow to before it is renewed: a tenth of the machine's memory, within reason."""
    return min(max(psutil.virtual_memory().total // 10 >> 20, 512), 1024)


def _keys() -> dict[str, str]:
    now = settings()
    if not (now.s3_access_key_id and now.s3_secret_access_key):
        return {}
    return {"AWS_ACCESS_KEY_ID": now.s3_access_key_id, "AWS_SECRET_ACCESS_KEY": now.s3_secret_access_key}
