"""Kinds of definitions. `defs/` holds the instances: one `defs.yaml` each, and no code."""

from datong_assets.components.alerts import Alerts
from datong_assets.components.dbt_models import DbtModels
from datong_assets.components.publication import Publication
from datong_assets.components.quality import Quality
from datong_assets.components.source_system import SourceSystem
from datong_assets.components.two_way_sync import TwoWaySync
from datong_assets.components.upkeep import Upkeep
from datong_assets.components.write_back_flow import WriteBackFlow

__all__ = ["Alerts", "DbtModels", "Publication", "Quality", "SourceSystem", "TwoWaySync", "Upkeep", "WriteBackFlow"]
