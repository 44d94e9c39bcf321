"""Old files of gold and serve go, those of what people read do not."""

import pyarrow as pa
import pytest
from datong_platform.lake import builds, upkeep
from datong_platform.names import TableName
from datong_platform.settings import Settings
from deltalake import write_deltalake
from lake_builds import let_read

pytestmark = pytest.mark.slow


def test_the_version_that_people_read_outlives_the_versions_around_it(
    services: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = TableName("gold", "kept_by_a_build")

    def write(number: int) -> None:
        rows = pa.table({"number": [number]})
        write_deltalake(services.table_uri(table), rows, mode="overwrite", storage_options=services.storage_options())

    write(1)
    write(2)
    read = let_read(table).published[table].version
    write(3)
    write(4)
    monkeypatch.setattr(upkeep, "KEPT_DAYS", 0)
    assert upkeep.vacuum_builds()[table] == 2
    assert builds.open_published(table).to_pyarrow_table()["number"].to_pylist() == [2]
    assert builds.open_published(table).version() == read.number
