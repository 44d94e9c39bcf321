"""CSV files and XML documents on an SFTP server, as an old ERP delivers them: one for each change, one with all."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from datetime import date, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from sftp_server import SftpServer


def made(house: Any) -> tuple[type[Any], type[Any]]:
    """The rigs' classes, for CSV and for XML; `house` is the conftest, whose rows all rigs share."""

    class FilesRig(house.Rig):  # type: ignore[name-defined,misc]
        protocol, incremental = "files", "stream"

        def __init__(self, _: Any) -> None:
            super().__init__()
            self.folder = Path(tempfile.mkdtemp(prefix="datong-rig-"))
            (self.folder / "changes").mkdir()
            self.server = SftpServer(self.folder, house.USER, house.PASSWORD)
            self.secret = house.PASSWORD
            self.store = house.Rows()
            self._written = 0
            self._write("things", [])

        def connection(self) -> dict[str, Any]:
            return {
                "location": f"sftp://127.0.0.1:{self.server.port}/",
                "user": house.USER,
                "password": house.PASSWORD,
                "host_key": f"127.0.0.1 {self.server.host_key}",
                "settle_seconds": 0,
                "order": "name",
                "taken_once_by": "file",
            }

        def entity(self) -> dict[str, Any]:
            return {
                "source": "changes/*/things",
                "keys": ["Id"],
                "soft_delete": {"column": "Op", "values": ["D"]},
                "options": {"format": "csv", "delimiter": ";", "values": {"null_values": ["\\N"]}},
                "fields": {
                    "Id": "string",
                    "Name": "string",
                    "Amount": "decimal(13,3)",
                    "DueOn": "date",
                    "Active": "boolean",
                    "ChangedAt": "timestamp",
                    "Op": "string",
                },
            }

        def system(self, mode: str | None = None, **changes: Any) -> Any:
            if mode == "full":
                changes = {"source": "things"} | changes
                if "fields" in changes:
                    changes["fields"] = {"Op": "string"} | changes["fields"]
            return super().system(mode, **changes)

        def put(self, *rows: Any) -> None:
            self.store.put(*rows)
            self._deliver([{**row, "Op": ""} for row in rows])

        def remove(self, *ids: str) -> None:
            self.store.remove(*ids)
            self._deliver([{"Id": key, "Op": "D"} for key in ids])

        def _deliver(self, rows: list[dict[str, Any]]) -> None:
            self._written += 1
            self._write(f"changes/{self._written:06d}/things", rows)
            self._write("things", self.store.sorted())

        def _write(self, name: str, rows: list[dict[str, Any]]) -> None:
            def text(value: Any) -> str:
                if value is None:
                    return "\\N"
                if isinstance(value, bool):
                    return str(value).lower()
                return value.isoformat() if isinstance(value, date | datetime) else str(value)

            names = list(dict.fromkeys([*house.thing(0), "Op", *[name for row in rows for name in row]]))
            file = io.StringIO()
            writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
            writer.writerow(names)
            writer.writerows([[text(row.get(name)) for name in names] for row in rows])
            self._put(name, file.getvalue().encode("utf-8-sig"))

        def _put(self, name: str, body: bytes) -> None:
            draft = self.folder / f"{name}.tmp"
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(body)
            draft.replace(self.folder / name)

        def stop(self) -> None:
            self.server.stop()
            shutil.rmtree(self.folder)

    class XmlRig(FilesRig):
        protocol = "xml"

        def entity(self) -> dict[str, Any]:
            options = {"rows": "/t:Things/Thing", "namespaces": {"t": "urn:things"}}
            return super().entity() | {"options": options}

        def _write(self, name: str, rows: list[dict[str, Any]]) -> None:
            def text(value: Any) -> str:
                if isinstance(value, bool):
                    return str(value).lower()
                return escape(value.isoformat() if isinstance(value, date | datetime) else str(value))

            things = "".join(
                "<Thing>"
                + "".join(f"<{key}>{text(value)}</{key}>" for key, value in row.items() if value is not None)
                + "</Thing>"
                for row in rows
            )
            self._put(name, f'<t:Things xmlns:t="urn:things">{things}</t:Things>'.encode())

    return FilesRig, XmlRig
