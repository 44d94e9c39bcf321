"""The profile of an entity as metadata of its bronze asset, where the Dagster UI shows it beside the table's own.

A profile is an observation: it says what the source is like, not that the table was made anew. No value of a text
field goes into it.
"""

from __future__ import annotations

import dagster as dg
from datong_ingestion.discovery.profile import EntityProfile
from datong_ingestion.discovery.profile_page import key_words, markdown
from datong_platform import names

from datong_assets import instance as instances


def observation(profile: EntityProfile, page: str = "") -> dg.AssetObservation:
    """The profile as an observation of the bronze asset; `page` is where its HTML page lies."""
    table = names.bronze(profile.system, profile.entity)
    keys = [f"{', '.join(key.fields)}: {key_words(key)}{' (declared)' if key.declared else ''}" for key in profile.keys]
    worst = max(profile.fields, key=lambda item: item.null_rate, default=None)
    metadata: dict[str, dg.MetadataValue] = {
        "profile": dg.MetadataValue.md(markdown(profile)),
        "profiled_rows": dg.MetadataValue.int(profile.rows),
        "profiled_whole": dg.MetadataValue.bool(profile.complete),
        "candidate_keys": dg.MetadataValue.text("; ".join(keys) or "none"),
        "rescued": dg.MetadataValue.int(profile.rescued),
        "refused": dg.MetadataValue.int(profile.refused),
        "profile_seconds": dg.MetadataValue.float(round(profile.seconds, 3)),
    }
    if worst is not None:
        metadata["highest_null_rate"] = dg.MetadataValue.float(round(worst.null_rate, 6))
        metadata["fields_always_null"] = dg.MetadataValue.text(
            ", ".join(item.name for item in profile.fields if item.rows and item.nulls == item.rows)
        )
    if page:
        metadata["profile_page"] = dg.MetadataValue.path(page)
    return dg.AssetObservation(
        asset_key=dg.AssetKey([table.schema, table.name]),
        description=f"Profile of {profile.rows:,} rows of {profile.address}.",
        metadata=metadata,
    )


def record(profile: EntityProfile, page: str = "", *, instance: dg.DagsterInstance | None = None) -> str:
    """Add the profile to the bronze asset; returns the asset's name. ServiceError when there is no Dagster yet."""
    event = observation(profile, page)
    (instance or instances.instance()).report_runless_asset_event(event)
    return event.asset_key.to_user_string()
