"""From a flow's definition to its target, opened: the connection is that of the source system it names."""

from __future__ import annotations

from typing import Any

from datong_platform.errors import ConfigurationError

from datong_ingestion.connections.edi import EdiConnection
from datong_ingestion.connections.files import FilesConnection
from datong_ingestion.connections.kafka import KafkaConnection
from datong_ingestion.connections.odata import ODataConnection
from datong_ingestion.connections.rabbitmq import RabbitMqConnection
from datong_ingestion.connections.rest import RestConnection
from datong_ingestion.connections.soap import SoapConnection
from datong_ingestion.connections.sql import SqlConnection
from datong_ingestion.http import HttpClient
from datong_ingestion.pace import Pace
from datong_ingestion.systems_config import SystemConfig, load_system
from datong_ingestion.write_back.config import FlowConfig
from datong_ingestion.write_back.shared_rate import SharedRate
from datong_ingestion.write_back.target import Target
from datong_ingestion.write_back.wire import Wire


def open_target(  # noqa: PLR0911 one way out per protocol
    flow: FlowConfig, definition: SystemConfig | None = None, **changes: Any
) -> Target:
    """The target of a flow.

    `definition` stands for the system that it names; `changes` replace settings of its connection, such as
    timeout_seconds.

    ConfigurationError when its system is not defined, cannot be written to, or lacks a value.
    """
    system = definition or load_system(flow.target.system)
    declared = system.connection.model_copy(update=changes)
    shared = SharedRate(system.system, system.writes_per_second) if system.writes_per_second else None
    pace = Pace(flow.rate, max_wait_seconds=declared.max_wait_seconds, shared=shared)
    if isinstance(declared, ODataConnection):
        from datong_ingestion.protocols.odata_v2 import ODataV2
        from datong_ingestion.protocols.odata_v4 import ODataV4
        from datong_ingestion.write_back.odata import ODataTarget

        changed = system.model_copy(update={"connection": declared})
        if system.protocol == "odata_v4":
            return ODataTarget(flow, ODataV4(changed), "odata_v4", pace)
        return ODataTarget(flow, ODataV2(changed), "odata_v2", pace)
    if isinstance(declared, SoapConnection):
        from datong_ingestion.write_back.soap import SoapTarget

        return SoapTarget(flow, system.model_copy(update={"connection": declared}), pace)
    if isinstance(declared, KafkaConnection):
        from datong_ingestion.write_back.kafka import KafkaTarget

        return KafkaTarget(flow, system.model_copy(update={"connection": declared}), pace)
    if isinstance(declared, RabbitMqConnection):
        from datong_ingestion.write_back.rabbitmq import RabbitMqTarget

        return RabbitMqTarget(flow, system.model_copy(update={"connection": declared}), pace)
    if isinstance(declared, FilesConnection):
        from datong_ingestion.write_back.files import FilesTarget

        return FilesTarget(flow, declared, pace)
    if isinstance(declared, EdiConnection):
        from datong_ingestion.write_back.edi import EdiTarget

        return EdiTarget(flow, declared, pace)
    connection = declared.resolved(f"write-back flow {flow.flow}")
    thing = f"{flow.target.system} {flow.target.resource} (write-back flow {flow.flow})"
    if isinstance(connection, RestConnection) and isinstance(declared, RestConnection):
        from datong_ingestion.write_back.rest import RestTarget

        client = HttpClient.of(thing, connection, declared)
        return RestTarget(flow, connection, Wire(thing, client), pace)
    if isinstance(connection, SqlConnection):
        from datong_ingestion.write_back.sql import SqlTarget

        return SqlTarget(flow, connection, declared.names_of("url") or "the user and the password", pace)
    raise ConfigurationError(
        f"write-back flow {flow.flow}",
        f"writes to system {flow.target.system}, whose protocol {system.protocol} cannot be written to.",
        "choose a system of protocol odata_v2, odata_v4, rest, soap, sql, kafka, rabbitmq, files or edi.",
    )
