"""The rate that a system bears from all flows together, in whatever process they run.

PostgreSQL (`ops.write_back_rate`) keeps the moment up to which a system's time is given away. A run takes some of it at
once, about half a second's changes, and waits until its part begins; so what it costs is two short statements a second.
"""

from __future__ import annotations

import logging

from datong_platform import operational
from datong_platform.errors import ServiceError

_TABLES = """
create schema if not exists ops;
create table if not exists ops.write_back_rate (system text primary key, given_until timestamptz not null);
"""
_TAKE = """
insert into ops.write_back_rate as known (system, given_until)
    values (%(system)s, clock_timestamp() + %(seconds)s * interval '1 second')
on conflict (system) do update
    set given_until = greatest(known.given_until, clock_timestamp()) + %(seconds)s * interval '1 second'
returning extract(epoch from given_until - clock_timestamp())::float8 - %(seconds)s
"""
_LOG = logging.getLogger(__name__)


class SharedRate:
    """What one system bears, in changes per second."""

    def __init__(self, system: str, rate: float) -> None:
        self.system, self.rate = system, rate
        self.block = max(1, int(rate / 2))
        """How many changes are taken at once."""

    def take(self, changes: int) -> float:
        """Take time for so many changes; how many seconds from now it begins."""
        seconds = changes / self.rate
        try:
            with operational.connected(_TABLES, "ops.write_back_rate") as database:
                row = database.execute(_TAKE, {"system": self.system, "seconds": seconds}).fetchone()
        except ServiceError as error:
            # by itself this run keeps the rate, and its lock, which is in the same database, ends it before long
            _LOG.warning("the rate of %s is kept by this run alone: %s", self.system, error)
            return seconds
        return max(0.0, float(row[0])) if row else seconds
