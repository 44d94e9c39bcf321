"""Where backups lie: a folder or a bucket that holds content by its hash, and one manifest for each backup.

    <place>/objects/ab/ab12…      content, named by its SHA-256; what two backups share is there once
    <place>/backups/<id>.json     a manifest; it is written last, so a backup that has one is whole

The place is a path or an address that Arrow knows: `s3://bucket/prefix`, with `?endpoint_override=http://host:port` for
a store other than AWS, and the credentials that AWS's own tools would use (environment, profile, instance role).
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from datong_platform.errors import ConfigurationError, ServiceError, TerminalError
from pyarrow import fs

_PIECE = 8 << 20


@dataclass(frozen=True)
class Item:
    """One object of the lake, or the dump of one database: its name, and the content that belongs to it.

    `etag` is how the lake's store told this version apart; an object that still has it need not be read again.
    """

    name: str
    size: int
    sha256: str
    etag: str = ""


@dataclass(frozen=True)
class Backup:
    """What a manifest says. Times are UTC; `began_at` is the recovery point: what was committed before it is in."""

    backup_id: str
    began_at: datetime
    finished_at: datetime
    bucket: str
    lake: Sequence[Item] = field(repr=False)
    databases: Sequence[Item] = field(repr=False)
    tables: int = 0

    @property
    def size(self) -> int:
        """Bytes of all that it holds."""
        return sum(item.size for item in (*self.lake, *self.databases))


def new_id(moment: datetime) -> str:
    """An id that sorts by time, and that no two machines give at once."""
    return f"{moment:%Y%m%dT%H%M%S.%f}"[:-3] + f"Z-{uuid.uuid4().hex[:6]}"


class Repository:
    """A place that holds backups. ConfigurationError for an address that is none; ServiceError when it fails."""

    def __init__(self, place: str) -> None:
        # credentials may be written into an address; they are nobody's business in a message
        self.place = re.sub(r"//[^@/]*@", "//…@", place)
        try:
            if "://" in place:
                self._fs, self._root = fs.FileSystem.from_uri(place)
            else:
                self._fs, self._root = fs.LocalFileSystem(), str(Path(place).expanduser().absolute())
        except (pa.ArrowInvalid, OSError, ValueError) as error:
            raise ConfigurationError(
                f"backup place {self.place}",
                f"cannot be opened: {error}.",
                "name a folder, or a bucket as s3://bucket/prefix?endpoint_override=http://host:port.",
            ) from error

    def put(self, pieces: Iterator[bytes]) -> tuple[str, int]:
        """Keep a content: its hash and its size. What is there already is not written again."""
        # content is named by its hash, which is known only after the last piece
        waiting = f"{self._root}/incoming/{uuid.uuid4().hex}"
        digest, size = hashlib.sha256(), 0
        with self._failing("written"):
            self._fs.create_dir(f"{self._root}/incoming", recursive=True)
            with self._fs.open_output_stream(waiting) as stream:
                for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    stream.write(piece)
            name = digest.hexdigest()
            target = self._object(name)
            if self._size(target) == size:
                self._fs.delete_file(waiting)
            else:
                self._fs.create_dir(target.rsplit("/", 1)[0], recursive=True)
                self._fs.move(waiting, target)
        return name, size

    def has(self, item: Item) -> bool:
        """Whether its content is kept, as far as its size tells."""
        with self._failing("read"):
            return self._size(self._object(item.sha256)) == item.size

    def pieces(self, item: Item) -> Iterator[bytes]:
        """An item's content, in pieces of 8 MiB; TerminalError at the end when it is not what was kept."""
        digest = hashlib.sha256()
        with self._failing("read"), self._fs.open_input_stream(self._object(item.sha256)) as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
                yield piece
        if digest.hexdigest() != item.sha256:
            raise TerminalError(
                f"backup of {item.name}",
                f"is damaged: its content in {self.place} has another hash than when it was kept.",
                "restore another backup (`datong backup list`), and look after the disk or bucket it lies on.",
            )

    def write(self, backup: Backup) -> None:
        """Write a backup's manifest, which makes it one."""
        text = json.dumps({**asdict(backup), "format": 1}, default=lambda moment: moment.isoformat())
        path = f"{self._root}/backups/{backup.backup_id}.json"
        with self._failing("written"):
            self._fs.create_dir(f"{self._root}/backups", recursive=True)
            with self._fs.open_output_stream(f"{path}.part") as stream:
                stream.write(text.encode())
            self._fs.move(f"{path}.part", path)

    def ids(self) -> list[str]:
        """The backups that are whole, oldest first."""
        with self._failing("read"):
            found = self._fs.get_file_info(fs.FileSelector(f"{self._root}/backups", allow_not_found=True))
        return sorted(info.base_name.removesuffix(".json") for info in found if info.extension == "json")

    def read(self, backup_id: str = "latest") -> Backup:
        """A backup by its id; ConfigurationError lists those there are."""
        known = self.ids()
        wanted = known[-1] if known and backup_id == "latest" else backup_id
        if wanted not in known:
            raise ConfigurationError(
                f"backup {backup_id}",
                f"is not in {self.place}.",
                f"choose from {', '.join(known[-10:]) or 'none yet'}.",
            )
        with self._failing("read"), self._fs.open_input_stream(f"{self._root}/backups/{wanted}.json") as stream:
            content: dict[str, Any] = json.loads(stream.read())
        if content.pop("format", None) != 1:
            raise ConfigurationError(
                f"backup {wanted}", "was made by a newer Datong.", "restore it with the release that made it."
            )
        for name in ("began_at", "finished_at"):
            content[name] = datetime.fromisoformat(content[name])
        for name in ("lake", "databases"):
            content[name] = [Item(**item) for item in content[name]]
        return Backup(**content)

    def keep(self, number: int) -> int:
        """Forget all backups but the newest `number`, and the content that only those held; how many were forgotten.

        Content younger than a day stays: another backup may be under way, and has no manifest yet.
        """
        forgotten = self.ids()[:-number]
        with self._failing("cleared"):
            for backup_id in forgotten:
                self._fs.delete_file(f"{self._root}/backups/{backup_id}.json")
            if forgotten:
                used = {item.sha256 for one in map(self.read, self.ids()) for item in (*one.lake, *one.databases)}
                self._clear("objects", lambda name: bool(re.fullmatch(r"[0-9a-f]{64}", name)) and name not in used)
            self._clear("incoming", lambda _name: True)
        return len(forgotten)

    def _clear(self, folder: str, is_unused: Callable[[str], bool]) -> None:
        selector = fs.FileSelector(f"{self._root}/{folder}", allow_not_found=True, recursive=True)
        for info in self._fs.get_file_info(selector):
            old = info.mtime is not None and (datetime.now(UTC) - info.mtime).total_seconds() > 86400
            if info.type is fs.FileType.File and old and is_unused(info.base_name):
                self._fs.delete_file(info.path)

    def _object(self, sha256: str) -> str:
        return f"{self._root}/objects/{sha256[:2]}/{sha256}"

    def _size(self, path: str) -> int | None:
        info = self._fs.get_file_info(path)
        return info.size if info.type is fs.FileType.File else None

    def _failing(self, what: str) -> _Failing:
        return _Failing(self.place, what)


class _Failing:
    """Within it a failure of the file system is told as a ServiceError that names the place."""

    def __init__(self, place: str, what: str) -> None:
        self.place, self.what = place, what

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, (OSError, pa.ArrowException)):
            raise ServiceError(
                f"backup place {self.place}",
                f"cannot be {self.what}: {error}",
                "make sure that it can be reached, has room, and lets you write; then run the command again.",
            ) from error
