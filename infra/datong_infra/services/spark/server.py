"""How the local Spark Connect server is launched: Delta, the lake's S3, safe commits, set for one small machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import psutil
from datong_platform.settings import settings

from datong_infra.services.base import Launch, data_folder
from datong_infra.services.spark import jars, java

# what Spark's own launcher opens to it of the Java runtime (JavaModuleOptions), less the module that wheels leave out
_OPENS = (
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
)
_SESSION = "720h"
WORKER_MEMORY = 1024
"""MiB of a worker's heap."""


def prepare() -> None:
    """Fetch the jars and compile the log store when this machine has not yet."""
    jars.prepare()


def properties(port: int, place: Path, *, safe: Sequence[str] = ("s3a", "s3")) -> dict[str, str]:
    """Spark's properties. A scheme that is not in `safe` has Delta's own log store, which loses commits."""
    now = settings()
    endpoint = now.s3_endpoint
    s3a = {
        "endpoint": endpoint,
        "endpoint.region": now.s3_region,
        "access.key": now.s3_access_key_id,
        "secret.key": now.s3_secret_access_key,
        "path.style.access": str(not now.s3_virtual_hosted_style).lower(),
        "connection.ssl.enabled": str(not (endpoint or "").startswith("http:")).lower(),
        # a table's folder is a prefix, not an object: markers would only cost requests
        "directory.marker.retention": "keep",
    }
    if now.s3_access_key_id:
        s3a["aws.credentials.provider"] = "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
    return {
        "spark.app.name": "datong",
        **_where_it_works(now.spark_workers),
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.connect.session.manager.defaultSessionTimeout": _SESSION,
        "spark.connect.session.manager.maxSessionTimeout": _SESSION,
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(place / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        # Spark's default (INT96) says nothing of the zone, and Sail refuses to read it as a time in UTC
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # without it, a commit whose reply was lost is written twice on retry
        "spark.databricks.delta.commit.idempotencyCheck.enabled": "true",
        **{f"spark.delta.logStore.{scheme}.impl": jars.LOG_STORE for scheme in safe},
        # Spark copies every condition once for each column that has another name elsewhere: a contract's judgement of a
        # row becomes ten thousand of them, minutes of planning and all of the memory
        "spark.sql.constraintPropagation.enabled": "false",
        # small work on one machine: about a tenth faster
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.shuffle.partitions": str(max(2, now.spark_workers or os.cpu_count() or 2)),
        "spark.databricks.delta.snapshotPartitions": "1",
        "spark.databricks.delta.writeChecksumFile.enabled": "false",
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        **{f"spark.hadoop.fs.s3a.{name}": value for name, value in s3a.items() if value is not None},
    }


def _where_it_works(workers: int) -> dict[str, str]:
    """The master and, where there are workers, what their processes need.

    `local-cluster[workers, cores, MiB]` is Spark's standalone master and workers in the server's process, each worker
    with an executor in a process of its own: tasks, shuffles and classes cross processes as on a company's cluster."""
    if workers == 0:
        return {"spark.master": "local[*]"}
    made = jars.folder()
    return {
        "spark.master": f"local-cluster[{workers},1,{WORKER_MEMORY}]",
        "spark.executor.memory": f"{WORKER_MEMORY}m",
        "spark.executor.extraClassPath": f"{made / 'jars'}/*:{made / 'classes'}",
        "spark.executor.extraJavaOptions": "-XX:+UseSerialGC",
    }


def launch(port: int, *, safe: Sequence[str] = ("s3a", "s3"), name: str = "spark") -> Launch:
    """The server's program on `port`, its files in the folder `name` of this home.

    Its properties file holds keys and can be read by its owner only."""
    place = data_folder(name)
    (place / "tmp").mkdir(exist_ok=True)
    (place / "jars").unlink(missing_ok=True)
    (place / "jars").symlink_to(jars.spark_jars())
    file = place / "spark.properties"
    lines = "".join(f"{option} {value}\n" for option, value in properties(port, place, safe=safe).items())
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(lines)
    (place / "log4j2.properties").write_text(_LOGGING, encoding="ascii")
    made: Path = jars.folder()
    return Launch(
        [
            str(java.find()),
            *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENS),
            "-Djdk.reflect.useDirectMethodHandle=false",
            "-Dio.netty.tryReflectionSetAccessible=true",
            f"-Dlog4j2.configurationFile={place / 'log4j2.properties'}",
            f"-Djava.io.tmpdir={place / 'tmp'}",
            f"-Xmx{_heap_mib()}m",
            "-XX:+UseSerialGC",
            # with Java's own 240 MB, compiled code is thrown out and compiled again
            "-XX:ReservedCodeCacheSize=512m",
            *("-cp", f"{jars.spark_jars()}/*:{made / 'jars'}/*:{made / 'classes'}"),
            "org.apache.spark.deploy.SparkSubmit",
            *("--properties-file", str(file)),
            *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
            "spark-internal",
        ],
        environment={
            # workers find Spark's jars here, and write into `work` beside them
            "SPARK_HOME": str(place),
            # a worker that is not told looks for the folders of Spark's own build
            "SPARK_SCALA_VERSION": jars.SCALA,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(place / "tmp"),
        },
        extra={"kind": "spark", "workers": settings().spark_workers},
        cwd=place,
    )


def _heap_mib() -> int:
    """A quarter of the machine's memory. With less than 3 GiB, Spark collects garbage while it plans wide entities."""
    return max(3072, psutil.virtual_memory().total // 4 >> 20)


_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.stdout.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSS} %p %c{1}: %m%n%ex
"""
