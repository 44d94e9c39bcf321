"""Where documents lie: a folder, an S3 bucket, an SFTP server. Three verbs, the same for all: list, fetch, put.

Guards against: a name that leads out of the place, a file that changes while it is read, a server that is not the one
it says it is (its key is in the definition), a file larger than the limits, a connection that drops in the middle.
From a pattern such as `orders/*.csv` to local files.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
import re
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from datong_platform.errors import AuthenticationError, ConfigurationError, DatongError, TransientError

from datong_ingestion.connections.files import MIB, DocumentConnection
from datong_ingestion.documents.refusals import RefusedError

if TYPE_CHECKING:
    import asyncssh

_T = TypeVar("_T")
_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Found:
    """A file as its place lists it."""

    name: str
    """Path below the place, with `/`."""
    size: int
    modified: float
    """Seconds since 1970, by the clock of the place."""
    stamp: str
    """Differs when the file was written anew."""


class ChangedError(Exception):
    """A file changed, or went, since it was listed: it is still being written, and left for the next read."""


class Place(Protocol):
    """A place with files. `thing` names who asks, for errors."""

    atomic: bool
    """A file appears only when it is complete."""

    def list(self, pattern: str, thing: str) -> list[Found]:
        """Files whose path below the place matches; `*` stays within a folder, `**` goes through folders."""
        ...

    def fetch(self, found: Found, thing: str) -> Any:
        """Context manager that gives (local path, SHA-256) of a file; ChangedError when it is not as it was listed."""
        ...

    def unchanged(self, found: Found, thing: str) -> bool:
        """Whether a file is still as it was listed."""
        ...

    def put(self, name: str, body: bytes, thing: str) -> None:
        """Write a file so that nobody sees a part of it; one that is there already is replaced."""
        ...

    def put_new(self, name: str, body: bytes, thing: str) -> bool:
        """Write a file as `put` does, unless there is one of this name; whether it was written."""
        ...

    def read(self, name: str, thing: str) -> bytes | None:
        """A small file, or None."""
        ...

    def remove(self, name: str, thing: str) -> None:
        """Take a file away; one that is not there is no error."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def place(connection: DocumentConnection, thing: str) -> Place:
    """The place of a connection, whose values are looked up already. Makes no request yet."""
    address = connection.location
    if address.startswith("s3://"):
        return _S3(connection)
    if address.startswith("sftp://"):
        # a definition that names its location by a variable could not be checked for these
        if not connection.host_key or not (connection.password or connection.key_file):
            raise ConfigurationError(
                thing,
                "an sftp location needs host_key, and password or key_file.",
                "put the line that `ssh-keyscan HOST` prints, checked with its owner, under connection.host_key.",
            )
        return _Sftp(connection, thing)
    if "://" in address.removeprefix("file://"):
        raise ConfigurationError(
            thing, f"location {address.split('://')[0]}:// is no place for files.", "use a folder, s3:// or sftp://."
        )
    return _Folder(Path(address.removeprefix("file://")), connection)


def at(connection: DocumentConnection, address: str, thing: str) -> Place:
    """Another place that is reached by the same connection."""
    return place(connection.model_copy(update={"location": address}), thing)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a path matches a pattern."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.strip("/"))
    named = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    expression = re.compile("".join(named.get(part, re.escape(part)) for part in parts))
    return lambda name: expression.fullmatch(name) is not None


def base(pattern: str) -> str:
    """The folder below which everything that matches lies; empty for the place itself."""
    return "/".join(pattern.strip("/").split("*")[0].split("?")[0].split("/")[:-1])


def is_data(name: str, ignore: list[str]) -> bool:
    """Whether a file may hold data, by its name."""
    return not any(fnmatch(PurePosixPath(name).name, pattern) for pattern in ignore)


def _too_large(size: int, limit_mib: float) -> RefusedError:
    return RefusedError(f"it has {size / MIB:,.0f} MiB, and the limit (connection.limits.file_mib) is {limit_mib:,.0f}")


class _Folder:
    atomic = False

    def __init__(self, root: Path, connection: DocumentConnection) -> None:
        self.root, self.connection = root, connection

    def list(self, pattern: str, thing: str) -> list[Found]:
        root = self.root.resolve()
        if not root.is_dir():
            raise ConfigurationError(
                thing,
                f"folder {self.root} is not there (or may not be read).",
                "create it, mount it, or mend connection.location.",
            )
        matches, found = matcher(pattern), list[Found]()
        start = root / base(pattern)
        for folder, _, names in os.walk(start, onerror=lambda error: self._denied(error, thing)):
            for name in names:
                path = Path(folder) / name
                relative = path.relative_to(root).as_posix()
                if not matches(relative) or not is_data(relative, self.connection.ignore):
                    continue
                # a link may lead anywhere: only what lies in the folder itself is data
                if not path.resolve().is_relative_to(root):
                    continue
                with suppress(FileNotFoundError):
                    about = path.stat()
                    if stat.S_ISREG(about.st_mode):
                        found.append(self._found(relative, about))
        return found

    @staticmethod
    def _denied(error: OSError, thing: str) -> None:
        if isinstance(error, PermissionError):
            raise AuthenticationError(
                thing, f"folder {error.filename} may not be read.", "give Datong's user the right to read it."
            ) from error

    @staticmethod
    def _found(name: str, about: os.stat_result) -> Found:
        return Found(name, about.st_size, about.st_mtime, f"{about.st_mtime_ns}-{about.st_ino}")

    @contextmanager
    def fetch(self, found: Found, thing: str) -> Generator[tuple[Path, bytes]]:
        if found.size > self.connection.limits.file_mib * MIB:
            raise _too_large(found.size, self.connection.limits.file_mib)
        path = self.root / found.name
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
        except FileNotFoundError as error:
            raise ChangedError(found.name) from error
        except PermissionError as error:
            raise AuthenticationError(
                thing, f"file {found.name} may not be read.", "give Datong's user the right to read it."
            ) from error
        yield path, digest

    def unchanged(self, found: Found, thing: str) -> bool:
        try:
            return self._found(found.name, (self.root / found.name).stat()) == found
        except FileNotFoundError:
            return False

    def put(self, name: str, body: bytes, thing: str) -> None:
        with self._drafted(name, body, thing) as (draft, target):
            draft.replace(target)

    def put_new(self, name: str, body: bytes, thing: str) -> bool:
        with self._drafted(name, body, thing) as (draft, target):
            try:
                # a link, unlike a rename, never takes the place of a file
                os.link(draft, target)
            except FileExistsError:
                return False
            return True

    @contextmanager
    def _drafted(self, name: str, body: bytes, thing: str) -> Generator[tuple[Path, Path]]:
        """A complete draft beside the file that it shall become; gone in the end, whatever was done with it."""
        target = self.root / name
        draft: Path | None = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, place = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=target.parent)
            draft = Path(place)
            with os.fdopen(handle, "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(0o644)
            yield draft, target
        except OSError as error:
            raise TransientError(
                thing, f"{target} could not be written: {error.strerror}.", "give Datong's user the right to write it."
            ) from error
        finally:
            if draft is not None:
                draft.unlink(missing_ok=True)

    def remove(self, name: str, thing: str) -> None:
        try:
            (self.root / name).unlink(missing_ok=True)
        except OSError as error:
            raise TransientError(
                thing, f"{self.root / name} could not be removed: {error.strerror}.", "give Datong's user the right to."
            ) from error

    def read(self, name: str, thing: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def close(self) -> None:
        pass


class _Retrying:
    """What the two remote places share: patience, and a local copy."""

    connection: DocumentConnection

    def _patiently(self, action: Callable[[], _T]) -> _T:
        attempt = 0
        while True:
            try:
                return action()
            except TransientError:
                attempt += 1
                if attempt >= self.connection.attempts:
                    raise
                time.sleep(min(0.3 * 2**attempt, self.connection.max_wait_seconds))

    @contextmanager
    def _copy(self, found: Found, download: Callable[[Path], bytes]) -> Generator[tuple[Path, bytes]]:
        if found.size > self.connection.limits.file_mib * MIB:
            raise _too_large(found.size, self.connection.limits.file_mib)
        with tempfile.TemporaryDirectory(prefix="datong-") as folder:
            path = Path(folder) / "document"
            digest = self._patiently(lambda: download(path))
            yield path, digest

    def _written(self, path: Path, blocks: Iterator[bytes]) -> bytes:
        """Blocks written to a file; their SHA-256."""
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            for block in blocks:
                size += len(block)
                if size > self.connection.limits.file_mib * MIB:
                    raise _too_large(size, self.connection.limits.file_mib)
                digest.update(block)
                file.write(block)
        return digest.digest()


class _S3(_Retrying):
    atomic = True

    def __init__(self, connection: DocumentConnection) -> None:
        self.connection = connection
        parts = urlsplit(connection.location)
        self.bucket, self.prefix = parts.netloc, parts.path.strip("/")
        self._made: Any = None

    @property
    def _client(self) -> Any:
        if self._made is None:
            import boto3
            from botocore.config import Config

            own = self.connection
            self._made = boto3.client(
                "s3",
                endpoint_url=own.endpoint or None,
                region_name=own.region,
                aws_access_key_id=own.user or None,
                aws_secret_access_key=own.password or None,
                config=Config(
                    retries={"mode": "standard", "total_max_attempts": 1},
                    connect_timeout=own.timeout_seconds,
                    read_timeout=own.timeout_seconds,
                    s3={"addressing_style": "path" if own.endpoint else "auto"},
                ),
            )
        return self._made

    @contextmanager
    def _named(self, thing: str) -> Generator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"bucket {self.bucket}" + (f" at {self.connection.endpoint}" if self.connection.endpoint else "")
        try:
            yield
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = error.response.get("Error", {}).get("Code", "")
            if code == "NoSuchBucket":
                raise ConfigurationError(thing, f"there is no {where}.", "mend connection.location.") from error
            if status in {401, 403}:
                raise AuthenticationError(
                    thing, f"{where} refused us ({code}).", "check connection.user, password and the bucket's policy."
                ) from error
            if status in {404, 412}:
                raise ChangedError(where) from error
            raise TransientError(thing, f"{where} answered {status} {code}.", "try again later.") from error
        except (BotoCoreError, OSError) as error:
            raise TransientError(
                thing, f"{where} does not answer: {type(error).__name__}.", "check connection.endpoint and the network."
            ) from error

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def list(self, pattern: str, thing: str) -> list[Found]:
        return self._patiently(lambda: self._list(pattern, thing))

    def _list(self, pattern: str, thing: str) -> list[Found]:
        matches, found, cut = matcher(pattern), list[Found](), len(self._key(""))
        with self._named(thing):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._key(base(pattern))
            )
            for page in pages:
                if page.get("Name") != self.bucket:
                    # whatever is XML, a proxy's page for people among it, reads like a list without objects
                    raise TransientError(
                        thing, f"what answers for bucket {self.bucket} is no list of it.", "check the network."
                    )
                for item in page.get("Contents", []):
                    name = item["Key"][cut:]
                    if matches(name) and is_data(name, self.connection.ignore) and not name.endswith("/"):
                        found.append(Found(name, item["Size"], item["LastModified"].timestamp(), item["ETag"]))
        return found

    def fetch(self, found: Found, thing: str) -> Any:
        def download(path: Path) -> bytes:
            with self._named(thing):
                answer = self._client.get_object(Bucket=self.bucket, Key=self._key(found.name), IfMatch=found.stamp)
                digest = self._written(path, answer["Body"].iter_chunks(_BLOCK))
            if (size := path.stat().st_size) != found.size:
                # an answer without a length, or with a wrong one, ends anywhere and looks whole
                raise TransientError(
                    thing, f"{found.name} has {found.size} bytes, and {size} of them came.", "run again."
                )
            return digest

        return self._copy(found, download)

    def unchanged(self, found: Found, thing: str) -> bool:
        return True  # it was fetched by its ETag

    def put(self, name: str, body: bytes, thing: str) -> None:
        def write() -> None:
            with self._named(thing):
                self._client.put_object(Bucket=self.bucket, Key=self._key(name), Body=body)

        self._patiently(write)

    def put_new(self, name: str, body: bytes, thing: str) -> bool:
        def write() -> bool:
            try:
                with self._named(thing):
                    self._client.put_object(Bucket=self.bucket, Key=self._key(name), Body=body, IfNoneMatch="*")
            except ChangedError:
                return False
            return True

        return self._patiently(write)

    def remove(self, name: str, thing: str) -> None:
        def delete() -> None:
            with self._named(thing):
                self._client.delete_object(Bucket=self.bucket, Key=self._key(name))

        self._patiently(delete)

    def read(self, name: str, thing: str) -> bytes | None:
        def get() -> bytes | None:
            try:
                with self._named(thing):
                    return self._client.get_object(Bucket=self.bucket, Key=self._key(name))["Body"].read()
            except ChangedError:
                return None

        return self._patiently(get)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


_GONE = ("SFTPNoSuchFile", "SFTPNoSuchPath")
"""What the driver calls a file that is not there."""


class _Sftp(_Retrying):
    atomic = False

    def __init__(self, connection: DocumentConnection, thing: str) -> None:
        self.connection, self._thing = connection, thing
        parts = urlsplit(connection.location)
        self.host, self.port, self.root = parts.hostname or "", parts.port or 22, unquote(parts.path) or "/"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: tuple[asyncssh.SSHClientConnection, asyncssh.SFTPClient] | None = None
        self._lock = threading.Lock()

    def _run(self, work: Callable[[asyncssh.SFTPClient], Coroutine[Any, Any, _T]], thing: str) -> _T:
        """Work on the session, in the loop's own thread; a dropped connection is made anew."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name=f"sftp {self.host}", daemon=True).start()
            loop = self._loop

        async def run() -> _T:
            return await work(await self._connected(thing))

        try:
            return asyncio.run_coroutine_threadsafe(run(), loop).result()
        except DatongError:
            raise
        except (OSError, TimeoutError, EOFError, _asyncssh(thing).Error) as error:
            self._session = None
            raise self._away(thing, error) from error

    def _away(self, thing: str, error: BaseException) -> TransientError:
        return TransientError(
            thing,
            f"{self.host}:{self.port} does not answer: {type(error).__name__}.",
            "check connection.location and that this machine may reach it.",
        )

    async def _connected(self, thing: str) -> asyncssh.SFTPClient:
        if self._session is not None and not self._session[0].is_closed():
            return self._session[1]
        asyncssh = _asyncssh(thing)
        own = self.connection
        where = f"{self.host}:{self.port}"
        try:
            keys = asyncssh.import_known_hosts(f"[{self.host}]:{self.port} {_key_of(own.host_key or '')}\n")
            client_keys = [asyncssh.read_private_key(own.key_file, own.key_passphrase)] if own.key_file else None
        except (ValueError, OSError, asyncssh.KeyImportError) as error:
            raise ConfigurationError(
                thing, f"host_key or key_file cannot be used: {type(error).__name__}.", "mend them in its defs.yaml."
            ) from error
        try:
            session = await asyncssh.connect(
                self.host,
                self.port,
                username=own.user or (),
                password=own.password if not own.key_file else None,
                client_keys=client_keys,
                agent_path=None,
                config=None,
                known_hosts=keys,
                connect_timeout=own.timeout_seconds,
                login_timeout=own.timeout_seconds,
                # nothing else ends the wait for an answer on a connection that stays open and silent
                keepalive_interval=own.timeout_seconds / 3,
                keepalive_count_max=2,
            )
            client = await session.start_sftp_client()
        except asyncssh.HostKeyNotVerifiable as error:
            raise AuthenticationError(
                thing,
                f"{where} does not have the key that connection.host_key names; it may be another server.",
                "ask its owner; if the key was changed, put the new one there.",
            ) from error
        except asyncssh.PermissionDenied as error:
            raise AuthenticationError(
                thing, f"{where} refused the log-in.", "check connection.user and its password or key_file."
            ) from error
        except asyncssh.Error as error:
            raise self._away(thing, error) from error
        self._session = (session, client)
        return client

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def list(self, pattern: str, thing: str) -> list[Found]:
        sftp_error = self._sftp_error()
        matches, ignore = matcher(pattern), self.connection.ignore
        levels = 64 if "**" in pattern else pattern.strip("/").count("/") - base(pattern).count("/")

        async def walk(client: asyncssh.SFTPClient) -> list[Found]:
            found: list[Found] = []
            folders = [(base(pattern), 0)]
            while folders:
                folder, level = folders.pop()
                try:
                    entries = [entry async for entry in client.scandir(self._path(folder))]
                except sftp_error as error:
                    if level == 0 or type(error).__name__ not in {*_GONE, "SFTPPermissionDenied"}:
                        # what was not seen because the connection broke must not look as if it were not there
                        raise self._named(error, folder, thing) from error
                    continue  # a folder below may be another's
                for entry in entries:
                    plain = str(entry.filename)
                    if plain in {".", ".."} or "/" in plain:
                        continue
                    name = f"{folder}/{plain}".lstrip("/")
                    about = entry.attrs
                    if about.type == 2 and level < levels:
                        folders.append((name, level + 1))
                    elif about.type == 1 and matches(name) and is_data(name, ignore):
                        found.append(_seen(name, about))
            return found

        return self._patiently(lambda: self._run(walk, thing))

    def _sftp_error(self) -> Any:
        return _asyncssh(self._thing).SFTPError

    def _named(self, error: Any, name: str, thing: str) -> DatongError:
        asyncssh = _asyncssh(thing)
        if isinstance(error, asyncssh.SFTPNoSuchFile | asyncssh.SFTPNoSuchPath):
            return ConfigurationError(
                thing, f"folder {self._path(name)} is not on {self.host}.", "mend connection.location or the source."
            )
        if isinstance(error, asyncssh.SFTPPermissionDenied):
            return AuthenticationError(
                thing, f"{self._path(name)} may not be read.", f"give {self.connection.user} the right to."
            )
        return TransientError(thing, f"{self.host}: {type(error).__name__}.", "try again later.")

    def fetch(self, found: Found, thing: str) -> Any:
        def download(path: Path) -> bytes:
            async def copy(client: asyncssh.SFTPClient) -> bytes:
                digest, size = hashlib.sha256(), 0
                try:
                    async with client.open(self._path(found.name), "rb") as source:
                        with path.open("wb") as target:
                            while block := await source.read(4 * _BLOCK):
                                size += len(block)
                                if size > self.connection.limits.file_mib * MIB:
                                    raise _too_large(size, self.connection.limits.file_mib)
                                digest.update(block)
                                target.write(block)
                except self._sftp_error() as error:
                    if type(error).__name__ == "SFTPNoSuchFile":
                        raise ChangedError(found.name) from error
                    raise self._named(error, found.name, thing) from error
                if size != found.size:
                    raise ChangedError(found.name)
                return digest.digest()

            return self._run(copy, thing)

        return self._copy(found, download)

    def unchanged(self, found: Found, thing: str) -> bool:
        async def look(client: asyncssh.SFTPClient) -> bool:
            try:
                return _seen(found.name, await client.stat(self._path(found.name))) == found
            except self._sftp_error() as error:
                if type(error).__name__ in _GONE:
                    return False
                raise self._named(error, found.name, thing) from error

        return self._patiently(lambda: self._run(look, thing))

    def put(self, name: str, body: bytes, thing: str) -> None:
        async def write(client: asyncssh.SFTPClient) -> None:
            target = self._path(name)
            draft = f"{target.rsplit('/', 1)[0]}/.{target.rsplit('/', 1)[1]}.tmp"
            try:
                await client.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
                async with client.open(draft, "wb") as file:
                    await file.write(body)
                await client.posix_rename(draft, target)
            except self._sftp_error() as error:
                raise self._named(error, name, thing) from error

        self._patiently(lambda: self._run(write, thing))

    def put_new(self, name: str, body: bytes, thing: str) -> bool:
        async def write(client: asyncssh.SFTPClient) -> bool:
            target = self._path(name)
            draft = f"{target.rsplit('/', 1)[0]}/.{target.rsplit('/', 1)[1]}.tmp"
            try:
                await client.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
                if await client.exists(target):
                    return False
                async with client.open(draft, "wb") as file:
                    await file.write(body)
                # the protocol's own rename, unlike OpenSSH's extension, takes no file's place
                await client.rename(draft, target)
            except self._sftp_error() as error:
                if await client.exists(target):
                    return False
                raise self._named(error, name, thing) from error
            return True

        return self._patiently(lambda: self._run(write, thing))

    def remove(self, name: str, thing: str) -> None:
        async def delete(client: asyncssh.SFTPClient) -> None:
            try:
                await client.remove(self._path(name))
            except self._sftp_error() as error:
                if type(error).__name__ not in _GONE:
                    raise self._named(error, name, thing) from error

        self._patiently(lambda: self._run(delete, thing))

    def read(self, name: str, thing: str) -> bytes | None:
        async def get(client: asyncssh.SFTPClient) -> bytes | None:
            try:
                async with client.open(self._path(name), "rb") as file:
                    return bytes(await file.read())  # pyright: ignore[reportArgumentType] opened as bytes
            except self._sftp_error() as error:
                if type(error).__name__ in _GONE:
                    return None
                raise self._named(error, name, thing) from error

        return self._patiently(lambda: self._run(get, thing))

    def close(self) -> None:
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        session, self._session = self._session, None

        async def end() -> None:
            if session is not None:
                session[1].exit()
                session[0].close()
                await session[0].wait_closed()

        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(end(), loop).result(self.connection.timeout_seconds)
        loop.call_soon_threadsafe(loop.stop)


def _asyncssh(thing: str) -> Any:
    """The driver; ConfigurationError when it is not installed."""
    try:
        return importlib.import_module("asyncssh")
    except ImportError as error:
        raise ConfigurationError(
            thing, "needs asyncssh to reach an SFTP server.", "run `uv sync --extra files`."
        ) from error


def _seen(name: str, about: Any) -> Found:
    return Found(name, about.size or 0, float(about.mtime or 0), f"{about.mtime}-{about.mtime_ns or 0}")


def _key_of(line: str) -> str:
    """The key in a line of `ssh-keyscan`, with or without the host before it."""
    parts = line.split()
    starts = [index for index, part in enumerate(parts) if part.startswith(("ssh-", "ecdsa-", "sk-"))]
    return " ".join(parts[starts[0] : starts[0] + 2]) if starts else line
