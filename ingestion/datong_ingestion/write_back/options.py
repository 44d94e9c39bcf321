"""What a flow's target can say that only its protocol knows."""

from __future__ import annotations

from typing import Literal

from datong_ingestion.connections.base import Model


class RestWrites(Model):
    """How a JSON API takes changes. In paths stand {resource}, {identity} (the record's key, its parts joined by a
    slash) and {action}."""

    update: Literal["PATCH", "PUT"] = "PATCH"
    """`PUT` sends the whole record as it was read, with the changed fields in it, so that no field gets lost."""
    read_only: tuple[str, ...] = ()
    """Fields that a PUT leaves out, because the API does not take them back."""
    record: str = "{resource}/{identity}"
    """Address of a record."""
    action: str = "{resource}/{identity}/{action}"
    """Address of an action of a record."""
    free_action: str = "{resource}/{action}"
    """Address of an action that belongs to no record."""
    action_method: Literal["POST", "PUT", "PATCH"] = "POST"
