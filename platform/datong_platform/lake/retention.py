"""How long the lake keeps what a source brought, beside the newest state of each record, which it always keeps.

Said in a source's definition (`retention:` of the system or of an entity), kept to by the load and by upkeep. Of what
people read the contract says it (`slaProperties: retention`).
"""

from __future__ import annotations

from dataclasses import dataclass

LANDED_BATCHES = 20
"""Of how many loaded batches the landed files are kept, where nothing else is said; bronze is the record."""
VERSIONS_DAYS = 30
"""For how long a version of a table can be read, where nothing else is said."""


@dataclass(frozen=True)
class Retention:
    """What is kept of one entity, and how long."""

    landed_batches: int = LANDED_BATCHES
    """Landed files of so many loaded batches."""
    landed_days: float = 0
    """And of every batch of so many days, however many there are."""
    versions_days: int = VERSIONS_DAYS
    """Versions of the bronze table that can be read as they were."""
    history_days: int | None = None
    """States of a record that a later one took the place of, for so long after it did; None: for ever."""
