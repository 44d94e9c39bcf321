"""Alerts of this installation: its definition, and one step over all that is wrong now.

The sensor `alerts` does a step every minute; `datong alerts check` does one at once.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from datong_ingestion.definitions import documents, line_of
from datong_platform import settings
from datong_platform.alerts import incidents
from datong_platform.alerts.config import AlertsConfig
from datong_platform.errors import ConfigurationError
from pydantic import ValidationError

from datong_assets import exchange_findings, findings, flow_findings

COMPONENT = "datong_assets.components.Alerts"


def load_alerts(defs: Path | None = None) -> AlertsConfig:
    """The channels and routes defined below `defs` (default: the project's definitions); without any, nobody is told.

    ConfigurationError with file and line for a mistake, and when there are two definitions.
    """
    found: list[tuple[Path, AlertsConfig]] = []
    for path in sorted((defs or settings.DEFS).glob("**/defs.yaml")):
        for node, attributes in documents(path, COMPONENT):
            try:
                found.append((path, AlertsConfig.model_validate(attributes or {})))
            except ValidationError as error:
                told = [
                    f"line {line_of(node, ('attributes', *item['loc']))}: "
                    f"{'.'.join(map(str, item['loc'])) or 'alerts'}: {item['msg']}"
                    for item in error.errors()
                ]
                raise ConfigurationError(
                    f"{path}", f"does not describe alerts: {'; '.join(told)}.", "mend these lines."
                ) from error
    if len(found) > 1:
        raise ConfigurationError(f"{found[1][0]}", f"defines alerts, as does {found[0][0]}.", "join the two.")
    return found[0][1] if found else AlertsConfig()


def check(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, config: AlertsConfig
) -> incidents.StepResult | None:
    """Bring incidents up to date and send what is due; None when another step is at it."""
    graph = repository.asset_graph
    jobs = {job.name: list(job.asset_layer.executable_asset_keys) for job in repository.get_all_jobs()}
    owners = findings.owners(graph)
    told = [
        *exchange_findings.findings(owners),
        *flow_findings.findings(owners),
        # what both know bears Dagster's words: it has the reason apart from the next step
        *findings.gather(instance, graph, jobs),
    ]
    return incidents.step(told, findings.upstream(graph), config)


def words(result: incidents.StepResult | None) -> str:
    """What a step did, in one line."""
    if result is None:
        return "Another step is at it."
    failed = "".join(f"; {error}" for error in result.failed.values())
    return f"{result.open} open, {result.opened} new, {result.closed} healed, {result.sent} messages sent{failed}"
