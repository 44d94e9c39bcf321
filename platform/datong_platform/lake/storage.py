"""Objects in the lake's bucket, and the probe that tells whether its conditional writes can be trusted."""

from __future__ import annotations

import threading
import uuid
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from datong_platform.errors import ServiceError
from datong_platform.settings import settings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from datetime import datetime
    from typing import IO


_PIECE = 8 << 20
_making = threading.Lock()


class Listed(NamedTuple):
    """An object as a listing tells it: bytes, the store's mark of this very content, and when it was written (UTC)."""

    key: str
    size: int
    etag: str
    written_at: datetime


@lru_cache(maxsize=4)
def _client(endpoint: str | None, region: str, key: str | None, secret: str | None, virtual_hosted: bool) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(
            retries={"max_attempts": 5, "mode": "standard"},
            s3={"addressing_style": "virtual" if virtual_hosted else "path"},
            max_pool_connections=32,
        ),
    )


def client() -> Any:
    """A boto3 S3 client for the lake's bucket."""
    now = settings()
    # threads that begin together would each make one, which costs as much as a hundred requests
    with _making:
        return _client(
            now.s3_endpoint, now.s3_region, now.s3_access_key_id, now.s3_secret_access_key, now.s3_virtual_hosted_style
        )


@contextmanager
def _named() -> Generator[None]:
    """The driver's errors as a ServiceError that names the store."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, S3UploadFailedError) as error:
        raise ServiceError(
            f"store at {settings().s3_endpoint or 'AWS'}, bucket {settings().bucket}",
            f"failed: {error}.",
            "run `datong doctor`, then `datong up`; work that was under way goes on where it stopped.",
        ) from error


def _status(error: Any) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def put(key: str, body: bytes) -> None:
    """Write an object, replacing what was there. ServiceError when the store fails, as from all that follow."""
    with _named():
        client().put_object(Bucket=settings().bucket, Key=key, Body=body)


def upload(key: str, file: IO[bytes]) -> None:
    """Write a file's content as an object, in parts where it is large, replacing what was there."""
    with _named():
        client().upload_fileobj(file, settings().bucket, key)


def put_if_absent(key: str, body: bytes) -> bool:
    """Write an object only if there is none: True when this call made it, False when another one is there.

    False also when this call made it, the reply was lost and the driver asked again: whoever must know compares.
    """
    from botocore.exceptions import ClientError

    with _named():
        try:
            client().put_object(Bucket=settings().bucket, Key=key, Body=body, IfNoneMatch="*")
        except ClientError as error:
            if _status(error) in {409, 412}:
                return False
            raise
    return True


def get(key: str) -> bytes | None:
    """An object's content, or None when there is none."""
    from botocore.exceptions import ClientError

    with _named():
        try:
            return client().get_object(Bucket=settings().bucket, Key=key)["Body"].read()
        except ClientError as error:
            if _status(error) == 404:
                return None
            raise


def opened(key: str) -> tuple[str, Iterator[bytes]] | None:
    """An object's mark (ETag), and its content in pieces of 8 MiB; None when there is none."""
    from botocore.exceptions import ClientError

    with _named():
        try:
            answer = client().get_object(Bucket=settings().bucket, Key=key)
        except ClientError as error:
            if _status(error) == 404:
                return None
            raise
    return answer["ETag"], _pieces(answer["Body"])


def _pieces(body: Any) -> Iterator[bytes]:
    with _named():
        yield from body.iter_chunks(_PIECE)


def copy(key: str, target: str) -> bool:
    """Copy an object within the bucket, in the store itself: False when there is none."""
    from botocore.exceptions import ClientError

    bucket = settings().bucket
    with _named():
        try:
            client().copy_object(Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": key})
        except ClientError as error:
            if _status(error) == 404:
                return False
            raise
    return True


def exists(key: str) -> bool:
    """Whether there is such an object."""
    from botocore.exceptions import ClientError

    with _named():
        try:
            client().head_object(Bucket=settings().bucket, Key=key)
        except ClientError as error:
            if _status(error) == 404:
                return False
            raise
    return True


def delete(key: str) -> None:
    """Remove an object; nothing happens when there is none."""
    with _named():
        client().delete_object(Bucket=settings().bucket, Key=key)


def listing(prefix: str = "", *, after: str = "") -> Iterator[Listed]:
    """The objects below a prefix, in the order of their keys; only those whose key comes `after` a text."""
    asked = {"Bucket": settings().bucket, "Prefix": prefix, **({"StartAfter": after} if after else {})}
    with _named():
        for page in client().get_paginator("list_objects_v2").paginate(**asked):
            for item in page.get("Contents", []):
                yield Listed(item["Key"], item["Size"], item["ETag"], item["LastModified"])


def keys(prefix: str) -> Iterator[str]:
    """The keys below a prefix, in order."""
    return (found.key for found in listing(prefix))


def folders(prefix: str) -> Iterator[str]:
    """The names directly below a prefix (which ends in `/`) that hold objects."""
    pages = client().get_paginator("list_objects_v2")
    with _named():
        for page in pages.paginate(Bucket=settings().bucket, Prefix=prefix, Delimiter="/"):
            for item in page.get("CommonPrefixes", []):
                yield item["Prefix"][len(prefix) :].rstrip("/")


def ensure_bucket() -> None:
    """Make the lake's bucket when there is none. ServiceError when the store can't be reached or refuses us."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = settings().bucket
    try:
        try:
            client().head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
                raise
            client().create_bucket(Bucket=bucket)
    except (ClientError, BotoCoreError) as error:
        raise ServiceError(
            f"store at {settings().s3_endpoint or 'AWS'}, bucket {bucket}",
            f"cannot be opened or made: {error}",
            "check DATONG_S3_ENDPOINT, the keys and that they may use this bucket.",
        ) from error


def probe(rounds: int = 4, writers: int = 8) -> None:
    """Refuse a store whose conditional writes cannot be trusted: ServiceError.

    Every commit of the lake is a put that must fail when the object is there. In each round several writers put one
    key at once: exactly one may win, the object must hold the winner's bytes, and a later put must lose.
    """
    from concurrent.futures import ThreadPoolExecutor

    place = f"store at {settings().s3_endpoint or 'AWS'}"
    advice = (
        "use a store with safe `If-None-Match: *` (SeaweedFS from `datong up`, AWS, MinIO, Ceph, s3proxy); "
        "commits on this one can be lost."
    )
    with ThreadPoolExecutor(max_workers=writers) as pool:
        for _ in range(rounds):
            key = f"_datong/probe/{uuid.uuid4().hex}"
            bodies = [f"writer {number}".encode() for number in range(writers)]
            try:
                won = [
                    body
                    for body, first in zip(bodies, pool.map(partial(put_if_absent, key), bodies), strict=True)
                    if first
                ]
                late = put_if_absent(key, b"late")
                held = get(key)
            finally:
                client().delete_object(Bucket=settings().bucket, Key=key)
            if late:
                raise ServiceError(place, "ignores `If-None-Match: *`: it replaced an object that was there.", advice)
            if len(won) != 1 or held != won[0]:
                raise ServiceError(
                    place,
                    f"told {len(won)} of {writers} concurrent writers that theirs was the first.",
                    advice,
                )
