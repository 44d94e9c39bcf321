"""Where documents lie (a folder, an S3 bucket, an SFTP server), and what an entity says of the files it is made of."""

from __future__ import annotations

import codecs
import re
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from datong_ingestion.connections.base import Connection, Model, Options, as_text

MIB = 1024 * 1024


def _one_character(text: str) -> str:
    if len(text) != 1:
        raise ValueError("must be one character")
    return text


def _zone(text: str) -> str:
    if text:
        ZoneInfo(text)
    return text


def codec(text: str) -> str:
    try:
        return codecs.lookup(text).name
    except LookupError as error:
        raise ValueError(f"{text!r} is not an encoding; use utf-8, gb18030, gbk, utf-16 or another") from error


Character = Annotated[str, AfterValidator(_one_character)]
Text = Annotated[str, BeforeValidator(as_text)]


class Limits(Model):
    """What a document may cost at most; what goes beyond is refused before it costs more."""

    file_mib: Annotated[float, Field(gt=0)] = 20 * 1024
    """Size of a file as it lies there."""
    expanded_mib: Annotated[float, Field(gt=0)] = 20 * 1024
    """Size of a compressed file (`.gz`) when it is unpacked; of a workbook, a twentieth of it."""
    ratio: Annotated[float, Field(gt=1)] = 200
    """How many times its own size a compressed file may unpack to."""
    record_mib: Annotated[float, Field(gt=0, le=512)] = 16
    """Size of one row, one element that makes a row, or one EDI message."""
    depth: Annotated[int, Field(ge=4, le=900)] = 100
    """How deep JSON and XML may be nested."""
    cells: Annotated[int, Field(gt=0)] = 20_000_000
    """Cells of a worksheet, empty ones between used ones included."""


class DocumentConnection(Connection):
    """A place with files. Entities are patterns of file names below it, such as `orders/*.csv`."""

    location: str
    """A folder, `s3://bucket/prefix`, or `sftp://host[:port]/folder`."""
    user: str | None = None
    """SFTP: the user; S3: the access key id."""
    password: Annotated[str | None, Field(repr=False)] = None
    """SFTP: the password; S3: the secret access key."""
    key_file: str | None = None
    """SFTP: a file with the private key, instead of the password."""
    key_passphrase: Annotated[str | None, Field(repr=False)] = None
    host_key: str | None = None
    """SFTP: the server's public key, as `ssh-keyscan` prints it (`ssh-ed25519 AAAA…`). Required: a server that cannot
    prove who it is gets no password."""
    endpoint: str | None = None
    """S3: the address of a service that is not AWS."""
    region: str = "us-east-1"
    settle_seconds: Annotated[float, Field(ge=0)] = 30
    """A file counts as complete when it has not changed for so long. Objects in S3 are always complete."""
    marker: str = ""
    """A file counts as complete when a second file says so, as `{name}.ok`; then `settle_seconds` does not count."""
    ignore: list[str] = ["*.tmp", "*.part", "*.filepart", "*.crdownload", "~$*", ".*"]
    """File names that are never data."""
    order: Literal["modified", "name"] = "modified"
    """In which order files are read; a later state of a key wins."""
    taken_once_by: Literal["content", "file"] = "content"
    """`content`: the same content is taken once, under whatever name it is sent again. `file`: name and content, where
    two files may rightly be alike, as the deletes of a key that came back in between."""
    remember_days: Annotated[int, Field(ge=1)] = 400
    """How long the content of a file that is gone from the place is remembered, to know it when it is sent again."""
    batch_files: Annotated[int, Field(ge=1)] = 20_000
    """A read ends after so many files; the next one goes on."""
    limits: Limits = Field(default_factory=Limits)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.location.startswith("sftp://"):
            if not self.host_key:
                raise ValueError("an sftp location needs host_key: the line that `ssh-keyscan HOST` prints, checked")
            if not (self.password or self.key_file):
                raise ValueError("an sftp location needs password or key_file")
        if self.marker and "{name}" not in self.marker:
            raise ValueError("marker must contain {name}, as in '{name}.ok'")
        return self


class FilesConnection(DocumentConnection):
    """Files of rows: CSV, Excel, JSON, Parquet."""


class Format(Model):
    """How values are written in files that hold text. A text field keeps exactly the characters that were sent; these
    rules only tell how the text of a field with another declared type is to be read."""

    decimal_mark: Character = "."
    group_mark: str = ""
    """Character between thousands; none by default, so that `1,234` is not taken for a number."""
    date_formats: list[str] = []
    """Formats of dates and times besides ISO 8601, as `%Y%m%d` or `%d.%m.%Y %H:%M`."""
    empty_dates: list[Text] = ["00000000", "0000-00-00"]
    """Texts that a system writes for no date (SAP's initial value)."""
    serial_dates: Literal["", "1900", "1904"] = ""
    """Numbers in date fields are days of Excel's calendar that begins in 1900, or in 1904 (old Macs)."""
    time_zone: Annotated[str, AfterValidator(_zone)] = ""
    """Zone of times that are written without one, for fields of type timestamp."""
    true_values: list[Text] = ["true"]
    false_values: list[Text] = ["false"]
    null_values: list[Text] = []
    """Texts that mean no value, in every field. In fields that are not text, an empty text always does."""


class FilesOptions(Options):
    """How the files of an entity are written."""

    format: Literal["auto", "csv", "excel", "json", "jsonl", "parquet"] = "auto"
    """`auto`: by the ending of the file's name, before `.gz`."""
    newest_only: bool = False
    """Mode full: only the newest file counts, because each holds everything. Else all files together do."""
    encoding: Annotated[str, AfterValidator(codec)] = "utf-8"
    """Encoding of text; a byte order mark of UTF-8 is taken off. It is never guessed: other bytes often decode, too."""
    delimiter: Character = ","
    quote: str = '"'
    escape: str = ""
    header: bool = True
    """The first row (after `skip_rows`) holds the names of the columns."""
    columns: list[str] = []
    """Names of the columns of files without a header."""
    skip_rows: Annotated[int, Field(ge=0)] = 0
    """Lines, or rows of a worksheet, above the header."""
    sheet: str = ""
    """Excel: name of the worksheet; the first one by default."""
    rows_path: str = ""
    """JSON: where the list of rows is, as `data.items`; empty when the file is the list."""
    rename: dict[str, str] = {}
    """From a heading to the name of its field."""
    values: Format = Field(default_factory=Format)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if not self.header and not self.columns and self.format in {"csv", "excel"}:
            raise ValueError("files without a header need columns")
        if len(self.quote) > 1 or len(self.escape) > 1:
            raise ValueError("quote and escape are one character, or empty for none")
        if re.search(r"[\w\r\n]", self.delimiter):
            raise ValueError("delimiter cannot be a letter, a digit or a line end")
        return self
