"""From a flow's definition to its target, opened: the connection is that of the source system it names."""

from __future__ import annotations

from typing import Any

from datong_platform.errors import ConfigurationError

from datong_ingestion.connections.odata import ODataConnection
from datong_ingestion.connections.rest import RestConnection
from datong_ingestion.http import HttpClient
from datong_ingestion.systems_config import load_system
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.target import Target
from datong_ingestion.write_back.wire import Wire


def open_target(flow: FlowConfig, **changes: Any) -> Target:
    """The target of a flow; `changes` replace settings of its connection, such as timeout_seconds.

    ConfigurationError when its system is not defined, cannot be written to, or lacks a value.
    """
    system = load_system(flow.target.system)
    connection = system.connection.resolved(f"write-back flow {flow.flow}").model_copy(update=changes)
    thing = f"{flow.target.system} {flow.target.resource} (write-back flow {flow.flow})"
    credentials = system.connection.names_of("user", "password", "token") or "the credentials"
    if isinstance(connection, ODataConnection):
        from datong_ingestion.write_back.odata import ODataTarget

        client = HttpClient(
            thing,
            connection.base_url,
            auth="basic" if connection.user else "none",
            user=connection.user,
            secret=connection.password,
            headers=connection.headers,
            params=connection.params,
            credentials=credentials,
            concurrency=connection.concurrency,
            timeout_seconds=connection.timeout_seconds,
            attempts=connection.attempts,
            max_wait_seconds=connection.max_wait_seconds,
        )
        return ODataTarget(flow, connection, Wire(thing, client))
    if isinstance(connection, RestConnection):
        from datong_ingestion.write_back.rest import RestTarget

        client = HttpClient(
            thing,
            connection.base_url,
            auth=connection.auth,
            user=connection.user,
            secret=connection.password if connection.auth == "basic" else connection.token,
            api_key_name=connection.api_key_name,
            api_key_in=connection.api_key_in,
            headers=connection.headers,
            params=connection.params,
            credentials=credentials,
            concurrency=connection.concurrency,
            timeout_seconds=connection.timeout_seconds,
            attempts=connection.attempts,
            max_wait_seconds=connection.max_wait_seconds,
        )
        return RestTarget(flow, connection, Wire(thing, client))
    raise ConfigurationError(
        f"write-back flow {flow.flow}",
        f"writes to system {flow.target.system}, whose protocol {system.protocol} cannot be written to.",
        "choose a system of protocol odata_v2 or rest.",
    )
