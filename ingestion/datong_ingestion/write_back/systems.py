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
    declared = system.connection
    connection = declared.resolved(f"write-back flow {flow.flow}").model_copy(update=changes)
    thing = f"{flow.target.system} {flow.target.resource} (write-back flow {flow.flow})"
    # writing to OData v4 is another dialect ($batch as JSON, no CSRF token), which is not spoken yet
    known = system.protocol != "odata_v4"
    if known and isinstance(connection, ODataConnection) and isinstance(declared, ODataConnection):
        from datong_ingestion.write_back.odata import ODataTarget

        client = HttpClient.of(thing, connection, declared)
        return ODataTarget(flow, connection, Wire(thing, client))
    if isinstance(connection, RestConnection) and isinstance(declared, RestConnection):
        from datong_ingestion.write_back.rest import RestTarget

        client = HttpClient.of(thing, connection, declared)
        return RestTarget(flow, connection, Wire(thing, client))
    raise ConfigurationError(
        f"write-back flow {flow.flow}",
        f"writes to system {flow.target.system}, whose protocol {system.protocol} cannot be written to.",
        "choose a system of protocol odata_v2 or rest.",
    )
