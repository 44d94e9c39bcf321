"""Alerts: who is told when something is wrong, and on which channel.

The attributes are those of `datong_platform.alerts.config.AlertsConfig`. It gives the sensor `alerts`, which looks at
runs and checks every minute, keeps the incidents, and sends what is due.
"""

import dagster as dg
from datong_platform.alerts.config import AlertsConfig
from datong_platform.errors import DatongError
from pydantic import BaseModel

from datong_assets.alerting import check, load_alerts, words
from datong_assets.components.as_written import as_written


class Alerts(dg.Component):
    """Channels and routes of alerts."""

    def __init__(self, config: AlertsConfig) -> None:
        self.config = config

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return as_written(AlertsConfig)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> "Alerts":
        """As its file defines it; ConfigurationError with file and line when it is wrong."""
        return cls(load_alerts(context.path))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The sensor."""
        config = self.config

        @dg.sensor(
            name="alerts",
            minimum_interval_seconds=60,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description="Keeps the incidents of what is wrong now, and tells those who can mend it.",
        )
        def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
            if context.repository_def is None:
                return dg.SkipReason("No definitions are loaded.")
            try:
                return dg.SkipReason(words(check(context.instance, context.repository_def, config)))
            except DatongError as error:
                # a tick that fails every minute would hide what it is about
                return dg.SkipReason(str(error))

        return dg.Definitions(sensors=[alerts])
