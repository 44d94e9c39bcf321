"""Settings: the only module that reads the environment.

A value comes from, in this order: an environment variable `DATONG_<NAME>`, the state that `datong up` wrote to
`.datong/services.json` (addresses and generated keys of the services it started), a default.

A source system's address and secrets are asked for by name (`connection_value`), in this order: the environment
variable NAME; the file that NAME_FILE names; the file NAME in the secrets folder (`.datong/secrets`, or
DATONG_SECRETS_FOLDER, such as `/run/secrets` in a container); `.datong/connections.json`, which the sandbox plant
writes about itself; the keyring of the operating system, where DATONG_KEYRING names a service in it.

Nothing here touches the network, and importing it needs no setting at all.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from datong_platform.errors import ConfigurationError, ServiceError
from datong_platform.names import TableName

PROJECT_ROOT = Path(__file__).resolve().parents[2]
DBT_PROJECT = PROJECT_ROOT / "dbt_project"
DEFS = PROJECT_ROOT / "assets" / "datong_assets" / "defs"

_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")


def home() -> Path:
    """The folder of this installation's state: DATONG_HOME, or `.datong` in the project."""
    named = os.environ.get("DATONG_HOME") or str(PROJECT_ROOT / ".datong")
    # asked a thousand times in a cycle; what is relative depends on where the process stands
    return _resolved(named) if os.path.isabs(named) else Path(named).resolve()  # noqa: PTH117


@lru_cache(maxsize=8)
def _resolved(folder: str) -> Path:
    return Path(folder).resolve()


def read_state(name: str) -> dict[str, Any]:
    """A JSON state file of `.datong`, empty when there is none yet."""
    try:
        return json.loads((home() / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def write_state(name: str, content: Mapping[str, Any]) -> None:
    """Replace a JSON state file of `.datong` atomically, readable by its owner only: it can hold keys."""
    path = home() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2, ensure_ascii=False)
        draft.replace(path)
    except OSError:
        # half a draft on a full disk helps nobody, and it may hold keys
        draft.unlink(missing_ok=True)
        raise


class _State(PydanticBaseSettingsSource):
    """What `datong up` wrote, as a source of settings below the environment."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return read_state("services.json").get("settings", {}).get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        known = read_state("services.json").get("settings", {})
        return {name: value for name, value in known.items() if name in self.settings_cls.model_fields}


class Settings(BaseSettings):
    """Where the services are and how to reach them. Build it with `settings()`."""

    model_config = SettingsConfigDict(env_prefix="DATONG_", extra="ignore", frozen=True)

    engine: str = "sail"
    """`sail`, `spark`, or a Spark Connect address `sc://host:port` of a company's own cluster."""
    engine_address: str | None = None
    """Spark Connect address of the running engine, session id included; written by `datong up`."""
    s3_endpoint: str | None = None
    """Address of the S3 service; none means AWS itself."""
    s3_region: str = "us-east-1"
    s3_access_key_id: str | None = None
    s3_secret_access_key: str | None = Field(default=None, repr=False)
    s3_virtual_hosted_style: bool = False
    bucket: str = "datong"
    postgres_url: str | None = Field(default=None, repr=False)
    """URL of the operational database, with a role that may create schemas; the BI door is its schema `serve`."""
    postgres_reader_url: str | None = Field(default=None, repr=False)
    """The same database for readers: schema `serve` only."""
    dagster_url: str | None = None
    desk_url: str | None = None
    desk_hosts: str = ""
    """Names besides this machine's own under which the desk may be called, as a proxy does; parted by commas."""
    metrics_token: str | None = Field(default=None, repr=False)
    """The bearer token with which Prometheus reads the desk's `/metrics`; without one only this machine may."""
    openlineage_url: str | None = None
    """Where lineage events are posted to, in full, as `http://marquez:5000/api/v1/lineage`; none means nowhere."""
    openlineage_api_key: str | None = Field(default=None, repr=False)
    """Bearer token for that address."""
    openlineage_namespace: str = "datong"
    """The namespace of our jobs in lineage events."""
    engine_limit_mib: int = 0
    """Memory in MiB past which the embedded engine takes a fresh process when nobody is served; 0 is a tenth of the
    machine's, from 512 to 1024."""
    spark_workers: int = 0
    """Worker processes of the Spark that `datong up` starts, one core each; 0 works in the server's own process."""
    threads: int = 4
    """How many dbt models, and how many entities of one source, are worked on at once."""
    cycle_schedule: str = "*/30 * * * *"
    """When the schedule `cycle` runs, as a cron expression; it is switched on in the Dagster UI."""
    secrets_folder: str | None = None
    """Folder of files, one a secret, named as the secret; by default `secrets` in this installation's state."""
    keyring: str | None = None
    """Service under which the keyring of the operating system holds our secrets; none means not to ask it."""
    store_port: int | None = None
    """Port of a service that `datong up` starts; none means a free one. So are the ports below."""
    engine_port: int | None = None
    postgres_port: int | None = None
    dagster_port: int | None = None
    desk_port: int | None = None
    sandbox_port: int | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _State(settings_cls)

    @property
    def engine_kind(self) -> Literal["sail", "spark", "remote"]:
        """Which engine: the embedded Sail, a local Apache Spark, or a remote Spark Connect server."""
        if self.engine in {"sail", "spark"}:
            return self.engine  # pyright: ignore[reportReturnType]
        if self.engine.startswith("sc://"):
            return "remote"
        raise ConfigurationError(
            f"DATONG_ENGINE={self.engine}",
            "is not an engine.",
            "set it to sail, spark or a Spark Connect address sc://host:port.",
        )

    @property
    def lake_scheme(self) -> str:
        """The scheme of the lake's addresses in the engine: Sail and Hadoop's file system both read `s3a`."""
        return "s3a"

    def table_uri(self, table: TableName) -> str:
        """Where a table lies, for delta-rs and boto3: always `s3://`."""
        return f"s3://{self.bucket}/{table.path}"

    def engine_table_uri(self, table: TableName) -> str:
        """The same place in the words of the engine."""
        return f"{self.lake_scheme}://{self.bucket}/{table.path}"

    def storage_options(self) -> dict[str, str]:
        """Options with which delta-rs and object_store reach the bucket."""
        options = {
            "AWS_REGION": self.s3_region,
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": str(self.s3_virtual_hosted_style).lower(),
        }
        if self.s3_endpoint:
            options |= {
                "AWS_ENDPOINT_URL": self.s3_endpoint,
                "AWS_ALLOW_HTTP": str(self.s3_endpoint.startswith("http:")).lower(),
            }
        if self.s3_access_key_id and self.s3_secret_access_key:
            options |= {
                "AWS_ACCESS_KEY_ID": self.s3_access_key_id,
                "AWS_SECRET_ACCESS_KEY": self.s3_secret_access_key,
            }
        return options

    def need(self, name: str) -> str:
        """The setting `name`, or ServiceError saying how to get it."""
        value = getattr(self, name)
        if value is None:
            raise ServiceError(
                f"setting {name}",
                "is not known: the services are not running.",
                f"run `datong up`, or set DATONG_{name.upper()}.",
            )
        return str(value)


@lru_cache(maxsize=4)
def _settings(home_: Path, stamp: tuple[int, ...], environment: tuple[tuple[str, str], ...]) -> Settings:  # noqa: ARG001
    return Settings()


def settings() -> Settings:
    """The settings in force now; read again only when the environment or the state file changed."""
    folder = home()
    try:
        state = (folder / "services.json").stat()
        # a file system's clock can be too coarse to tell two writes apart: the inode and the size help
        stamp = (state.st_mtime_ns, state.st_ino, state.st_size)
    except FileNotFoundError:
        stamp = ()
    return _settings(folder, stamp, tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("DATONG_"))))


def from_environment(name: str) -> str | None:
    """The value of setting `name` in the environment, which nothing that `datong up` starts replaces; else None."""
    return os.environ.get(f"DATONG_{name.upper()}")


Origin = Literal["environment", "file", "secrets folder", "sandbox", "keyring"]
"""Where the value of a `${NAME}` comes from."""


@dataclass(frozen=True)
class FoundValue:
    """The value of a `${NAME}`, and where it was found."""

    text: str = field(repr=False)
    origin: Origin
    place: str = ""
    """The file it was read from, or the service in the keyring."""


def secrets_folder() -> Path:
    """The folder with a file for each secret."""
    return Path(settings().secrets_folder or home() / "secrets")


def find_value(name: str, thing: str) -> FoundValue | None:
    """The value called `name`, from the first place that has it; None where none has.

    ConfigurationError when a place that should have it (NAME_FILE, the keyring) cannot be read.
    """
    if (text := os.environ.get(name)) is not None:
        return FoundValue(text, "environment")
    if path := os.environ.get(f"{name}_FILE"):
        return FoundValue(_from_file(Path(path), f"{name}_FILE", thing), "file", path)
    path = secrets_folder() / name
    if path.is_file():
        return FoundValue(_from_file(path, "the secrets folder", thing), "secrets folder", str(path))
    if (known := read_state("connections.json").get(name)) is not None:
        return FoundValue(str(known), "sandbox", str(home() / "connections.json"))
    if (service := settings().keyring) and (text := _keyring(thing).get_password(service, name)) is not None:
        return FoundValue(text, "keyring", service)
    return None


def _from_file(path: Path, named_by: str, thing: str) -> str:
    """What a file holds, without the line end that editors and `echo` leave behind it."""
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(
            thing,
            f"cannot read {path}, which {named_by} names: {reason}.",
            "mend the path, or let this user read the file.",
        ) from error


def _keyring(thing: str) -> Any:
    try:
        import keyring
    except ImportError as error:
        raise ConfigurationError(
            thing, "needs the package keyring, because DATONG_KEYRING is set.", "run `uv sync --extra keyring`."
        ) from error
    return keyring


def keep_value(name: str, text: str, *, in_keyring: bool = False) -> str:
    """Keep a secret for later runs, in the keyring or in the secrets folder as a file only its owner reads.

    Returns the place, in words. ConfigurationError where the keyring is asked for and not set up.
    """
    if in_keyring:
        service = settings().keyring
        if not service:
            raise ConfigurationError(
                f"secret {name}", "cannot go to the keyring: no service is named.", "set DATONG_KEYRING=datong."
            )
        _keyring(f"secret {name}").set_password(service, name, text)
        return f"the keyring, service {service}"
    path = secrets_folder() / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{name}.{os.getpid()}.tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
    return str(path)


def references(text: str) -> list[str]:
    """The NAMEs of every `${NAME}` in a text."""
    return _REFERENCE.findall(text)


def connection_value(text: str, thing: str) -> str:
    """`text` with every `${NAME}` replaced by its value (`find_value`).

    `thing` names who asks, for the ConfigurationError when a name has no value.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        found = find_value(name, thing)
        if found is None:
            raise ConfigurationError(
                thing,
                f"needs the value {name}, which is not set.",
                f"export {name}=…, or run `datong secrets set {name}`, or let {name}_FILE name a file that holds it; "
                "the sandbox plant's own come with `datong sandbox up`.",
            )
        return found.text

    return _REFERENCE.sub(value, text)


def subprocess_environment(**extra: str) -> dict[str, str]:
    """The environment for a program that Datong starts, with `extra` on top."""
    return {**os.environ, **extra}


def cache_folder() -> Path:
    """Where files that can be fetched again are kept for every home of this user: `datong` in XDG's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "datong"


def java_home() -> Path | None:
    """The Java runtime that the environment names, if it does."""
    value = os.environ.get("JAVA_HOME")
    return Path(value) if value else None


def export(name: str, value: str) -> None:
    """Set an environment variable of this process, for a library that reads it by itself (PySpark's SPARK_REMOTE)."""
    os.environ[name] = value
