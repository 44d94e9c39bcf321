"""Dagster's storage that goes away in the middle of a run is said in words, and the next step of a cycle is tried."""

from __future__ import annotations

from typing import Any

import pytest
from dagster_postgres.utils import DagsterPostgresException
from datong_assets import runs
from datong_platform.errors import ServiceError
from sqlalchemy.exc import OperationalError


@pytest.mark.parametrize(
    "error",
    [
        DagsterPostgresException("too many retries for DB connection"),
        OperationalError("select 1", {}, Exception("server closed the connection unexpectedly")),
    ],
    ids=["retries", "closed"],
)
def test_a_run_whose_storage_is_lost_says_so_and_what_to_do(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Job:
        def execute_in_process(self, **_: Any) -> None:
            raise error

    monkeypatch.setattr(runs, "_job", lambda _name: Job())
    instance: Any = object()
    with pytest.raises(ServiceError, match=r"broke off while publish ran: .*Next step: run `datong doctor`") as told:
        runs.publish(instance=instance)
    assert "\n" not in str(told.value)
