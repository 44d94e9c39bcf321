"""Lineage events for others: a sensor that tells the receiver every minute what the sync log has told since."""

import dagster as dg
from datong_platform.errors import DatongError
from datong_platform.settings import settings


def sensors() -> list[dg.SensorDefinition]:
    """The sensor `open_lineage`; none where no receiver is set."""
    if not settings().openlineage_url:
        return []

    @dg.sensor(
        name="open_lineage",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends what the sync log tells to DATONG_OPENLINEAGE_URL, as OpenLineage events.",
    )
    def open_lineage() -> dg.SkipReason:
        from datong_platform.lake import open_lineage as events

        try:
            sent = events.send()
        except DatongError as error:
            # it is a finding of its own, and the next tick goes on where this one ended
            return dg.SkipReason(str(error))
        return dg.SkipReason(f"{sent.now} events sent, {sent.refused} refused since ever.")

    return [open_lineage]
