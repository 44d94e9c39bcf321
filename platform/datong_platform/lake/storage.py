"""Objects in the lake's bucket, and the probe that tells whether its conditional writes can be trusted."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from datong_platform.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    return _client(
        now.s3_endpoint, now.s3_region, now.s3_access_key_id, now.s3_secret_access_key, now.s3_virtual_hosted_style
    )


def put(key: str, body: bytes) -> None:
    """Write an object, replacing what was there."""
    client().put_object(Bucket=settings().bucket, Key=key, Body=body)


def put_if_absent(key: str, body: bytes) -> bool:
    """Write an object only if there is none: True when this call made it, False when another one is there."""
    from botocore.exceptions import ClientError

    try:
        client().put_object(Bucket=settings().bucket, Key=key, Body=body, IfNoneMatch="*")
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in {409, 412}:
            return False
        raise
    return True


def get(key: str) -> bytes | None:
    """An object's content, or None when there is none."""
    try:
        return client().get_object(Bucket=settings().bucket, Key=key)["Body"].read()
    except client().exceptions.NoSuchKey:
        return None


def keys(prefix: str) -> Iterator[str]:
    """The keys below a prefix, in order."""
    for page in client().get_paginator("list_objects_v2").paginate(Bucket=settings().bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            yield item["Key"]


def folders(prefix: str) -> Iterator[str]:
    """The names directly below a prefix (which ends in `/`) that hold objects."""
    for page in (
        client().get_paginator("list_objects_v2").paginate(Bucket=settings().bucket, Prefix=prefix, Delimiter="/")
    ):
        for item in page.get("CommonPrefixes", []):
            yield item["Prefix"][len(prefix) :].rstrip("/")
