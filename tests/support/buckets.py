"""Buckets of a test's own."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from datong_platform.lake import storage


@contextmanager
def bucket_in_force(name: str = "") -> Generator[str]:
    """The lake is in a bucket of its own within the block, and the bucket is gone after it: the store holds so many."""
    name = name or f"test-{uuid.uuid4().hex[:12]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATONG_BUCKET", name)
        storage.ensure_bucket()
        yield name
        for key in list(storage.keys("")):
            storage.delete(key)
        storage.client().delete_bucket(Bucket=name)
