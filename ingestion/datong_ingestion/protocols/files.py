"""Files of rows: CSV, Excel, JSON and Parquet, from a folder, S3 or SFTP.

Reads: the files whose names match an entity's pattern; a row of a file is a row of the entity.
Pages: by blocks of a file, so that memory stays flat; a workbook and a JSON document are read whole, within limits.
Changes: each file once, by content, when complete (mode stream); or what lies there now (mode full).
Guards against: what documents/source.py names, encodings that are guessed, values that are bent, zip bombs, worksheets
and JSON that would fill the memory.
Types: those declared under `fields`; without a declaration text stays text, and Parquet keeps its own types.
Alone: `python -m datong_ingestion SYSTEM`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from datong_platform.errors import ConfigurationError

from datong_ingestion.connections.files import FilesConnection, FilesOptions
from datong_ingestion.documents.delimited import Delimited
from datong_ingestion.documents.json_files import JsonFiles
from datong_ingestion.documents.parquet import ParquetFiles
from datong_ingestion.documents.refusals import RefusedError
from datong_ingestion.documents.rows import PROVENANCE, Layout
from datong_ingestion.documents.source import DocumentSource, Reader
from datong_ingestion.documents.taken import Taken
from datong_ingestion.documents.workbook import Workbooks
from datong_ingestion.source import Description, Page
from datong_ingestion.systems_config import EntityConfig

_ENDINGS = {
    "csv": "csv",
    "txt": "csv",
    "tsv": "csv",
    "dat": "csv",
    "xlsx": "excel",
    "xlsm": "excel",
    "xls": "excel",
    "json": "json",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
}


class Files(DocumentSource[FilesConnection]):
    """A place with files of rows."""

    connection_type = FilesConnection
    provenance = PROVENANCE

    def own_fields(self, entity: EntityConfig, path: Path, name: str) -> list[pa.Field]:
        """The columns of a file: text but for Parquet, and for JSON guessed from its first rows."""
        options, limits = _options(entity), self.connection.limits
        kind = _format(options, name)
        if kind == "parquet":
            return ParquetFiles(limits).fields(path)
        if kind in {"json", "jsonl"}:
            return JsonFiles(options, limits, is_lines=kind == "jsonl").fields(path)
        names = Workbooks(options, limits).names(path) if kind == "excel" else Delimited(options, limits).names(path)
        return [pa.field(column, pa.string()) for column in names]

    def reader(self, entity: EntityConfig, description: Description, state: Taken) -> Reader:
        """What reads the files of an entity."""
        return _Reader(self.connection, entity, description)


class _Reader(Reader):
    def __init__(self, connection: FilesConnection, entity: EntityConfig, description: Description) -> None:
        self.options, limits = _options(entity), connection.limits
        self.layout = Layout(description.schema, description.keys, self.options.values, entity.select)
        self.csv = Delimited(self.options, limits)
        self.excel = Workbooks(self.options, limits)
        self.json = JsonFiles(self.options, limits, is_lines=False)
        self.lines = JsonFiles(self.options, limits, is_lines=True)
        self.parquet = ParquetFiles(limits)

    def pages(self, path: Path, name: str) -> Iterator[Page]:
        kind = _format(self.options, name)
        self.layout.file = name
        reader = {
            "csv": self.csv,
            "excel": self.excel,
            "json": self.json,
            "jsonl": self.lines,
            "parquet": self.parquet,
        }[kind]
        return reader.pages(path, self.layout)


def _options(entity: EntityConfig) -> FilesOptions:
    if not isinstance(entity.options, FilesOptions):
        raise ConfigurationError(f"entity {entity.name}", "has no options of protocol files.")
    return entity.options


def _format(options: FilesOptions, name: str) -> str:
    ending = name.rpartition(".")[2].lower()
    kind = _ENDINGS.get(ending, "") if options.format == "auto" else options.format
    if not kind:
        raise RefusedError(f"its name does not tell its format: declare `format` (endings: {', '.join(_ENDINGS)})")
    return kind
