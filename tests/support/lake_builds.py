"""A build that lets people read a table which a test wrote by itself."""

import uuid
from datetime import UTC, datetime

from datong_platform.lake import builds, history
from datong_platform.lake.builds import Build, BuiltTable, Published, Version
from datong_platform.names import TableName


def let_read(table: TableName) -> Build:
    """Record a build whose checks passed on the table as it is now; what others read stays as it is."""
    found = history.open_table(table)
    assert found is not None, f"{table} was not written"
    now, build_id = datetime.now(UTC), uuid.uuid4().hex
    version = Version(str(found.metadata().id), found.version())
    before = {name: shown for name, shown in builds.published().items() if name != table}
    others = [BuiltTable(name, "unchanged", published=shown) for name, shown in before.items()]
    mine = BuiltTable(table, "published", built=version, published=Published(version, build_id))
    return builds.record(Build(build_id, now, now, is_ok=True, tables=[*others, mine]))
