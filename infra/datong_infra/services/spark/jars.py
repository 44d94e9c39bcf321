"""What Spark needs beside its own jars: fetched once by its own resolver, and our log store, compiled once.

All of it lies in the user's cache folder, named by its versions and by the source that was compiled; a later start
needs neither network nor compiler. About 30 MB: the AWS SDK's bundle of 600 MB is left out, the few parts in use are
named.
"""

from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from datong_platform.errors import ServiceError
from datong_platform.settings import cache_folder

from datong_infra.services.spark import java

_AWS = "2.35.4"
SCALA = "2.13"
"""The Scala that PySpark's jars are made for."""
PACKAGES = (
    f"io.delta:delta-spark_4.1_{SCALA}:4.4.0",
    "org.apache.hadoop:hadoop-aws:3.4.2",
    *(f"software.amazon.awssdk:{part}:{_AWS}" for part in ("s3", "s3-transfer-manager", "sts", "apache-client")),
)
EXCLUDES = (
    "software.amazon.awssdk:bundle",
    # Spark ships these itself
    "org.apache.hadoop:hadoop-client-api",
    "org.apache.hadoop:hadoop-client-runtime",
    "org.apache.hadoop:hadoop-common",
    "org.apache.parquet:parquet-hadoop",
    "org.scala-lang:scala-library",
    "org.slf4j:slf4j-api",
    "com.fasterxml.jackson.core:jackson-core",
    "com.fasterxml.jackson.core:jackson-databind",
    "com.fasterxml.jackson.core:jackson-annotations",
    "org.apache.logging.log4j:log4j-api",
    "org.apache.logging.log4j:log4j-core",
    "org.apache.logging.log4j:log4j-slf4j2-impl",
    "org.roaringbitmap:RoaringBitmap",
    "io.netty:netty-buffer",
    "io.netty:netty-codec",
    "io.netty:netty-codec-http",
    "io.netty:netty-codec-http2",
    "io.netty:netty-common",
    "io.netty:netty-handler",
    "io.netty:netty-resolver",
    "io.netty:netty-transport",
    "io.netty:netty-transport-classes-epoll",
    "io.netty:netty-transport-native-unix-common",
    "com.google.code.findbugs:jsr305",
    "org.wildfly.openssl:wildfly-openssl",
    "commons-codec:commons-codec",
    "commons-logging:commons-logging",
)
LOG_STORE = "io.github.datong.ConditionalLogStore"
_SYSTEM_TRUST = Path("/etc/ssl/certs/java/cacerts")
_PASSWORD = "changeit"  # noqa: S105 - the usual one of a trust store, which holds nothing secret


def spark_jars() -> Path:
    """The folder of the jars that PySpark ships."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise ServiceError("engine spark", "PySpark is not installed.", "run `uv sync`.")
    return Path(spec.origin).parent / "jars"


def _sources() -> dict[str, str]:
    folder = Path(__file__).parent
    return {name: (folder / name).read_text(encoding="utf-8") for name in ("ConditionalLogStore.scala",)}


def folder() -> Path:
    """Where the jars of these versions and this source lie, or will."""
    words = "\n".join((*PACKAGES, *EXCLUDES, *_sources().values()))
    return cache_folder() / f"spark-{hashlib.sha256(words.encode()).hexdigest()[:12]}"


def ready() -> bool:
    """Whether all is there already."""
    return (folder() / "complete").exists()


def prepare() -> Path:
    """Fetch and compile what is missing; the folder. ServiceError that says why when that fails."""
    target = folder()
    if ready():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="making-") as name:
        work = Path(name)
        program = java.find()
        _fetch(program, work)
        _compile(program, "ConditionalLogStore.scala", work / "classes", [work / "jars" / "*"])
        (work / "complete").write_text("\n".join(PACKAGES) + "\n", encoding="ascii")
        made = work / "made"
        made.mkdir()
        for part in ("jars", "classes", "complete"):
            (work / part).rename(made / part)
        # another one may have made it meanwhile: the same content, so either will do
        with suppress(OSError):
            made.rename(target)
    if not ready():
        shutil.rmtree(target, ignore_errors=True)
        raise ServiceError("engine spark", f"its jars could not be put into {target}.", "look at that folder's rights.")
    return target


def _fetch(program: Path, work: Path) -> None:
    """Have Spark's own resolver bring the packages into `work/jars`."""
    trusts: list[Path | None] = [None, *([_SYSTEM_TRUST] if _SYSTEM_TRUST.exists() else [])]
    said = ""
    for trust in [*trusts, "make one"]:
        if trust == "make one":
            trust = _make_trust_store(program, work)  # noqa: PLW2901
            if trust is None:
                break
        done = _resolve(program, work, trust if isinstance(trust, Path) else None)
        said = done.stdout + done.stderr
        if done.returncode == 0:
            jars = work / "jars"
            jars.mkdir()
            for jar in (work / "ivy" / "jars").glob("*.jar"):
                jar.rename(jars / jar.name)
            return
        if "PKIX path building failed" not in said and "unable to find valid certification path" not in said:
            break
    telling = ("unresolved", "Exception", "PKIX")
    words = [line.strip() for line in said.splitlines() if any(mark in line for mark in telling)]
    raise ServiceError(
        "engine spark",
        f"its jars cannot be fetched: {'; '.join(dict.fromkeys(words[:6])) or said.strip()[-600:]}",
        "connect this machine to a Maven repository once (Ivy's own settings apply), or copy "
        f"{folder()} from a machine that has it.",
    )


def _resolve(program: Path, work: Path, trust: Path | None) -> subprocess.CompletedProcess[str]:
    options: Sequence[str] = (
        ()
        if trust is None
        else (f"-Djavax.net.ssl.trustStore={trust}", f"-Djavax.net.ssl.trustStorePassword={_PASSWORD}")
    )
    return subprocess.run(
        [
            str(program),
            *options,
            "-cp",
            f"{spark_jars()}/*",
            "org.apache.spark.deploy.SparkSubmit",
            *("--master", "local[1]"),
            *("--conf", f"spark.jars.ivy={work / 'ivy'}"),
            *("--packages", ",".join(PACKAGES)),
            *("--exclude-packages", ",".join(EXCLUDES)),
            # something short to run once all is there: the Scala compiler's version
            *("--class", "scala.tools.nsc.Main", "spark-internal", "-version"),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=work,
    )


def _make_trust_store(program: Path, work: Path) -> Path | None:
    """A trust store of the certificates that Python trusts, None when Python has no file of them."""
    source = ssl.get_default_verify_paths().cafile
    if not source:
        return None
    _compile(program, "TrustStore.scala", work / "trust", [])
    target = work / "trust.p12"
    subprocess.run(
        [
            str(program),
            *("-cp", f"{spark_jars()}/*:{work / 'trust'}"),
            *("io.github.datong.TrustStore", source, str(target), _PASSWORD),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return target


def _compile(program: Path, source: str, target: Path, classpath: Sequence[Path]) -> None:
    """Compile one of our sources with the Scala compiler among Spark's jars: no JDK is needed."""
    target.mkdir(parents=True)
    done = subprocess.run(
        [
            str(program),
            "-Xss8m",
            *("-cp", f"{spark_jars()}/*"),
            "scala.tools.nsc.Main",
            *("-classpath", ":".join(map(str, (spark_jars() / "*", *classpath)))),
            *("-d", str(target)),
            str(Path(__file__).parent / source),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise ServiceError(
            "engine spark",
            f"{source} does not compile: {(done.stdout + done.stderr).strip()[-1500:]}",
            "mend the source, or use `--engine sail`.",
        )
