"""Files: what is particular to them. Each test writes real files and reads them through the whole ingest."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import random
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import asyncssh
import boto3
import openpyxl
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datong_ingestion.connections.files import Format
from datong_ingestion.documents.taken import Taken
from datong_ingestion.documents.typed import Texts
from datong_ingestion.source import connect
from datong_ingestion.systems_config import load_systems
from datong_ingestion.values import Rescue
from datong_platform.errors import AuthenticationError, ConfigurationError, PositionLostError, ProtocolError
from datong_platform.lake.columns import parse_type
from datong_platform.settings import Settings
from document_folder import DocumentFolder
from sftp_server import SftpServer

FIELDS = {"Id": "string", "Name": "string", "Amount": "decimal(13,3)", "Due": "date", "Qty": "integer"}
HEAD = "Id,Name,Amount,Due,Qty\n"


class Folder(DocumentFolder):
    entity: ClassVar[dict[str, Any]] = {"fields": FIELDS}


@pytest.fixture
def folder(tmp_path: Path, services: Settings) -> Folder:
    return Folder(tmp_path)


def values(rows: list[dict[str, Any]], *names: str) -> list[Any]:
    return [tuple(row[name] for name in names) if len(names) > 1 else row[names[0]] for row in rows]


def test_a_file_is_taken_once_whatever_it_is_called_later(folder: Folder) -> None:
    path = folder.write("a.csv", HEAD + "1,x,1.5,2024-01-31,3\n")
    assert folder.ingest().rows == 1
    path.rename(folder.path / "b.csv")
    assert folder.ingest().rows == 0
    folder.write("sent-again.csv", HEAD + "1,x,1.5,2024-01-31,3\n")
    assert folder.ingest().rows == 0
    idle = folder.ingest()
    assert (idle.batches, len(folder.bronze())) == ([], 1)
    folder.write("b.csv", HEAD + "1,x,1.5,2024-01-31,3\n2,y,,,\n")
    assert folder.ingest().rows == 2, "a file with other content is another file"


def test_a_file_counts_only_when_it_has_settled_or_its_marker_is_there(folder: Folder) -> None:
    folder.write("a.csv", HEAD + "1,x,1,,1\n", age=0)
    folder.write("b.csv.part", HEAD + "2,x,1,,1\n")
    folder.write("c.csv", HEAD + "3,x,1,,1\n")
    read = folder.ingest()
    assert (read.rows, read.notes) == (1, ["1 file waiting until unchanged for 30 s (settle_seconds)"])
    assert values(folder.bronze(), "Id") == ["3"]
    other = Folder(folder.path)
    folder.write("a.csv.ok", "")
    read = other.ingest("*.csv*", connection={"marker": "{name}.ok"})
    assert read.notes == ["1 file waiting until NAME.ok is beside each"]
    assert values(other.bronze(), "Id") == ["1"]


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_read(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder.write("a.csv", HEAD + "1,x,1,,1\n")
    system = folder.system()
    source: Any = connect(system)
    real = source.place.unchanged

    def grow(found: Any, thing: str) -> bool:
        with path.open("a") as file:
            file.write("2,y,1,,1\n")
        return real(found, thing)

    monkeypatch.setattr(source.place, "unchanged", grow)
    entity = system.entity("row")
    pages = list(source.read(entity, source.describe(entity), None))
    assert sum(len(page.rows) for page in pages) == 0
    assert [page.refused for page in pages] == [None]
    os.utime(path, (1, 1))
    assert folder.ingest().rows == 2


ENCODINGS = ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_gives_the_same_text(folder: Folder, encoding: str) -> None:
    texts = ["部件甲", "轴承 〇號", "a\\|b", "半角ｱ"] if encoding != "gbk" else ["部件甲", "轴承", "a\\|b", "開關"]
    if encoding == "gb18030":
        texts.append("𠀀𪚥€")
    body = "Id|Name|Amount|Due|Qty\r\n" + "".join(f'{i}|"{text}"|1|2024-01-31|1\r\n' for i, text in enumerate(texts))
    folder.write("a.csv", body.encode(encoding))
    result = folder.ingest(options={"encoding": encoding, "delimiter": "|"})
    assert (result.rows, result.rescued, result.refused) == (len(texts), 0, 0)
    assert values(folder.bronze(), "Name") == texts


def test_bytes_of_another_encoding_are_rescued_and_never_guessed(folder: Folder) -> None:
    folder.write("a.csv", HEAD.encode() + "1,部件,1,,1\n2,ok,2,,2\n".encode("gbk"))
    result = folder.ingest()
    assert (result.rows, result.rescued) == (2, 1)
    first, second = folder.bronze()
    assert (first["Name"], first["Amount"], second["Name"]) == (None, Decimal("1.000"), "ok")
    raw = json.loads(first["_datong_rescued"])["Name"]
    assert (
        raw.encode()
        .decode("unicode_escape")
        .encode("utf-8", "surrogatepass")
        .decode("utf-8", "surrogatepass")
        .encode("utf-8", "surrogateescape")
        .decode("gbk")
        == "部件"
    )


def test_a_text_in_utf_16_is_refused_until_it_is_declared(folder: Folder) -> None:
    folder.write("a.csv", (HEAD + "1,x,1,,1\n").encode("utf-16"))
    assert (folder.ingest().refused, folder.bronze()) == (1, [])
    assert "utf-16" in folder.refused()[0]["reason"]
    assert folder.ingest().refused == 0, "refused once"
    mended = folder.ingest(options={"encoding": "utf-16"})
    assert (mended.rows, mended.refused) == (1, 0), "a mended definition is tried on it"


def test_declared_types_read_what_sap_and_excel_write_and_text_keeps_it(folder: Folder) -> None:
    fields = {"Text": "string", "Number": "decimal(13,3)", "Whole": "long", "Day": "date", "At": "timestamp"}
    lines = [
        "12.50-,12.50-,１２３,20240131,2024-01-31 08:00:00",
        "00000000,0.5,-７,00000000,2024-07-01 08:00:00",
        "１２,１２．５,５-,45322,",
        "10²,10²,10²,20240230,2024-03-10",
        '"1,234","1,234.5","1,234",60,soon',
    ]
    folder.write("a.csv", "Text,Number,Whole,Day,At\n" + "\n".join(lines) + "\n")
    rules = {"date_formats": ["%Y%m%d"], "serial_dates": "1900", "time_zone": "Asia/Shanghai", "group_mark": ","}
    result = folder.ingest(fields=fields, options={"values": rules})
    rows = folder.bronze()
    assert values(rows, "Text") == ["12.50-", "00000000", "１２", "10²", "1,234"]
    assert values(rows, "Number") == [Decimal("-12.5"), Decimal("0.5"), Decimal("12.5"), None, Decimal("1234.5")]
    assert values(rows, "Whole") == [123, -7, -5, None, 1234]
    assert values(rows, "Day") == [date(2024, 1, 31), None, date(2024, 1, 31), None, None]
    assert values(rows, "At")[:2] == [datetime(2024, 1, 31, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)]
    assert json.loads(rows[3]["_datong_rescued"]) == {"Number": "10²", "Whole": "10²", "Day": "20240230"}
    assert json.loads(rows[4]["_datong_rescued"]) == {"Day": "60", "At": "soon"}, "29 February 1900 never was"
    assert result.rescued == 2


def test_what_is_not_declared_is_not_read_as_a_number_or_a_date(folder: Folder) -> None:
    folder.write("a.csv", HEAD + '1,x,"1,234",20240131,1\n2,x,0x1F,45322,1_0\n3,x,1.23456,31.01.2024,+4\n')
    folder.ingest()
    rescued = [json.loads(row["_datong_rescued"]) for row in folder.bronze()]
    assert rescued == [
        {"Amount": "1,234", "Due": "20240131"},
        {"Amount": "0x1F", "Due": "45322", "Qty": "1_0"},
        {"Amount": "1.23456", "Due": "31.01.2024"},
    ]
    assert values(folder.bronze(), "Qty") == [1, None, 4]


def test_a_column_at_once_and_a_value_by_itself_are_read_alike() -> None:
    dice = random.Random(1)
    samples = ["2024-01-31", "2024-02-30", "20240131", "1.1.2024", "45322", "1,234.5", "1.234,5", "1-", "1,5", "0x1f"]
    samples += [
        "2024-01-31T10:00:00Z",
        "2024-01-31 10:00:00",
        "99999999999",
        "NaN",
        "9" * 40,
        "1.10",
        ".5",
        "5.",
        "true",
    ]
    samples += [
        "".join(dice.choice("0123456789.-+,eE/: １－") for _ in range(dice.randrange(1, 9))) for _ in range(500)
    ]
    rules = [
        Format(),
        Format(decimal_mark=",", group_mark="."),
        Format(date_formats=["%Y%m%d", "%d.%m.%Y"], serial_dates="1900", time_zone="Asia/Shanghai"),
    ]
    agreed = 0
    for rule, name in itertools.product(rules, ["integer", "decimal(9,2)", "double", "date", "timestamp", "boolean"]):
        kind, reader = parse_type(name), Texts(rule)
        for sample in samples:
            whole, single = Rescue(), Rescue()
            many = reader.column("x", kind, pa.array([sample]), whole)
            # a second value that never fits sends both the exact way
            exact = reader.column("x", kind, pa.array([sample, "no value at all"]), single)[:1]
            assert str(many[0]) == str(exact[0]), (name, sample)
            agreed += many[0].is_valid
    assert agreed > 500


def test_quotes_line_ends_and_stray_quotes_in_many_blocks_lose_nothing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datong_ingestion.documents import delimited

    monkeypatch.setattr(delimited, "_BLOCK", 97)
    dice = random.Random(3)
    kinds = ["plain {i}", '5" pipe {i}', '"quo""ted, {i}"', '"two\nlines {i}"', '"crlf\r\n{i}"', "", '"""{i}"""']
    said = ["plain {i}", '5" pipe {i}', 'quo"ted, {i}', "two\nlines {i}", "crlf\r\n{i}", "", '"{i}"']
    chosen = [dice.randrange(len(kinds)) for _ in range(400)]
    lines = [f"{i},{kinds[kind].format(i=i)},{i},,{i}" for i, kind in enumerate(chosen)]
    folder.write("a.csv", HEAD + "\n".join(lines))
    assert folder.ingest().rows == 400
    rows = folder.bronze()
    assert values(rows, "Name") == [said[kind].format(i=i) for i, kind in enumerate(chosen)]
    assert values(rows, "_row") == list(range(1, 401))


def test_a_row_with_too_few_or_too_many_values_is_refused_and_the_others_stay(folder: Folder) -> None:
    folder.write("a.csv", HEAD + "1,x,1,,1\n2,x\n3,x,1,,1,9,9\n4,x,1,,1\n")
    result = folder.ingest()
    assert (result.rows, result.refused) == (2, 2)
    assert values(folder.bronze(), "Id", "_row") == [("1", 1), ("4", 4)]
    found = folder.refused()
    assert values(found, "place") == ["a.csv row 2", "a.csv row 3"]
    assert values(found, "raw") == [b"2,x", b"3,x,1,,1,9,9"]
    assert "2 values" in found[0]["reason"]


def test_a_file_is_taken_whole_or_not_at_all(folder: Folder) -> None:
    body = HEAD + "".join(f"{i},x,1,,1\n" for i in range(50_000))
    packed = gzip.compress(body.encode())
    folder.write("a.csv.gz", packed[:-100])
    folder.write("b.csv", HEAD + '1,"never closed,1,,1\n2,x,1,,1\n')
    folder.write("c.csv", HEAD + "9,x,1,,1\n")
    result = folder.ingest()
    assert (result.rows, result.refused) == (1, 2)
    assert values(folder.refused(), "place") == ["a.csv.gz", "b.csv"]
    folder.write("a.csv.gz", packed)
    assert folder.ingest().rows == 50_000


def test_excel_cells_become_their_values(folder: Folder) -> None:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.title = "物料"
    sheet.append(["导出 2024", None])
    sheet.append(["物料号", "名称", "单价", "到期", "数量", "有效"])
    sheet.append(["000123", "轴承", 0.1, datetime(2024, 2, 29), 12, True])
    sheet.append([123, None, "１２．５", 45351, 3.0, False])
    sheet.append([None, None, None, None, None, None])
    sheet.append(["E", "#N/A", 1e-7, datetime(2024, 2, 29, 13), 1.5, "=A3"])
    file = io.BytesIO()
    book.save(file)
    folder.write("a.xlsx", file.getvalue())
    folder.ingest(
        fields=FIELDS | {"Active": "boolean"},
        options={
            "sheet": "物料",
            "skip_rows": 1,
            "values": {"serial_dates": "1900"},
            "rename": dict(zip(["物料号", "名称", "单价", "到期", "数量", "有效"], [*FIELDS, "Active"], strict=True)),
        },
    )
    rows = folder.bronze()
    assert values(rows, "Id") == ["000123", "123", "E"]
    assert values(rows, "Name") == ["轴承", None, "#N/A"]
    assert values(rows, "Amount") == [Decimal("0.1"), Decimal("12.5"), None]
    assert values(rows, "Due") == [date(2024, 2, 29), date(2024, 2, 29), None]
    assert values(rows, "Qty", "Active") == [(12, True), (3, False), (None, None)]
    assert json.loads(rows[2]["_datong_rescued"]) == {
        "Amount": "0.0000001",
        "Due": "2024-02-29 13:00:00",
        "Qty": "1.5",
        "Active": "=A3",
    }


def test_json_lines_keep_the_good_lines(folder: Folder) -> None:
    lines = [
        '{"Id":"1","Name":"部件","Amount":12.345,"Due":"2024-01-31","Qty":1}',
        '{"Id":"2","Name":{"zh":"甲","n":1.5},"Amount":"1.5","Qty":2,"More":"x"}',
        '{"Id":"3",',
        "[1,2]",
        "",
        '{"Id":"4"}',
    ]
    folder.write("a.jsonl", "\n".join(lines) + "\n")
    result = folder.ingest(keys=["Id"])
    assert (result.rows, result.refused, result.rescued, result.new_columns) == (3, 2, 1, ["More"])
    rows = folder.bronze()
    assert values(rows, "Id", "_row") == [("1", 1), ("2", 2), ("4", 6)]
    assert values(rows, "Amount") == [Decimal("12.345"), Decimal("1.500"), None]
    assert json.loads(rows[1]["Name"]) == {"zh": "甲", "n": 1.5}
    assert values(folder.refused(), "place") == ["a.jsonl line 3", "a.jsonl line 4"]


def test_json_documents_and_parquet_show_their_own_fields(folder: Folder) -> None:
    folder.write("a.json", json.dumps({"data": {"rows": [{"Id": 1, "Price": 1.5, "Tags": ["a"]}, {"Id": 2}]}}))
    folder.ingest("*.json", fields={}, options={"rows_path": "data.rows"})
    rows = folder.bronze()
    assert values(rows, "Id", "Price", "Tags") == [(1, Decimal("1.5"), '["a"]'), (2, None, None)]
    other = Folder(folder.path)
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.uint32()),
            "kind": pa.array(["a", "b"]).dictionary_encode(),
            "at": pa.array([datetime(2024, 1, 31, 8), None], pa.timestamp("ns")),
            "price": pa.array([Decimal("1.10"), None], pa.decimal128(9, 2)),
            "lines": pa.array([[{"n": 1}], None]),
            "labels": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        }
    )
    pq.write_table(table, folder.path / "b.parquet")
    os.utime(folder.path / "b.parquet", (1, 1))
    result = other.ingest("*.parquet", fields={})
    rows = other.bronze()
    assert values(rows, "id", "kind", "price") == [(1, "a", Decimal("1.10")), (2, "b", None)]
    assert values(rows, "at") == [datetime(2024, 1, 31, 8), None]
    assert values(rows, "lines", "labels") == [([{"n": 1}], '[["a",1]]'), (None, None)]
    assert result.schema.field("id").type == pa.int64()


def test_full_mode_shows_what_lies_there_and_never_empties_the_table_by_mistake(folder: Folder) -> None:
    full = {"mode": "full", "options": {"newest_only": True}}
    folder.write("s1.csv", HEAD + "1,x,1,,1\n2,x,1,,1\n", age=200)
    folder.ingest("s*.csv", **full)
    folder.write("s2.csv", HEAD + "2,x,1,,1\n3,x,1,,1\n", age=100)
    folder.ingest("s*.csv", **full)
    assert values(folder.bronze(), "Id") == ["2", "3"]
    folder.write("s3.csv", HEAD + '1,"cut off', age=50)
    with pytest.raises(ProtocolError, match=r"s3\.csv"):
        folder.ingest("s*.csv", **full)
    for path in folder.path.iterdir():
        path.unlink()
    with pytest.raises(ProtocolError, match="no complete file"):
        folder.ingest("s*.csv", **full)
    assert values(folder.bronze(), "Id") == ["2", "3"]


def test_fields_nobody_declared_come_from_the_newest_header_and_stay_text(folder: Folder) -> None:
    folder.write("a.csv", "Id,Amount\n1,1.50-\n", age=200)
    folder.ingest(fields={})
    folder.write("b.csv", "Id,Amount,New\n2,007,x\n", age=100)
    result = folder.ingest(fields={})
    assert result.new_columns == ["New"]
    assert values(folder.bronze(), "Id", "Amount", "New") == [("1", "1.50-", None), ("2", "007", "x")]


def test_a_file_without_its_key_or_with_a_heading_twice_is_refused(folder: Folder) -> None:
    folder.write("a.csv", "Name,Amount\nx,1\n")
    folder.write("b.csv", "Id,Name,Name\n1,x,y\n")
    folder.write("c.csv", "Other,Thing\n1,2\n")
    assert folder.ingest(keys=["Id"]).refused == 3
    reasons = values(folder.refused(), "reason")
    assert "Id" in reasons[0]
    assert "twice" in reasons[1]


def test_what_was_taken_fits_a_commit_and_survives_it() -> None:
    state = Taken()
    for number in range(20_000):
        state.add(random.Random(number).randbytes(32), random.Random(-number).randbytes(8))
    state.add_control("A|B|000000001")
    text = state.dump()
    assert len(text) < 700_000
    again = Taken.parse(text, "x")
    assert again.dump() == text
    assert again.has_control("A|B|000000001")
    assert not again.has_control("A|B|000000002")
    assert again.has(random.Random(7).randbytes(32))
    with pytest.raises(PositionLostError):
        Taken.parse('{"version":1,"files":"??"}', "x")
    with pytest.raises(PositionLostError):
        Taken.parse("2024-01-01", "x")


# --- poisoned input -------------------------------------------------------------------------------------------------


@pytest.fixture
def bounded() -> Iterator[None]:
    """The memory of this process may not grow by more than 500 MB."""
    process, peak, going = psutil.Process(), [0], [True]
    before = process.memory_info().rss

    def watch() -> None:
        while going[0]:
            peak[0] = max(peak[0], process.memory_info().rss)
            time.sleep(0.01)

    import threading

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    going[0] = False
    thread.join()
    assert peak[0] - before < 500_000_000


def xlsx(sheet: bytes, *, extra: dict[str, bytes] | None = None) -> bytes:
    """A workbook whose worksheet is `sheet`."""
    book = openpyxl.Workbook()
    file = io.BytesIO()
    book.save(file)
    made = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, sheet if name == "xl/worksheets/sheet1.xml" else old.read(name))
        for name, content in (extra or {}).items():
            new.writestr(name, content)
    return made.getvalue()


SHEET = (
    b'<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>%s'
    b"</sheetData></worksheet>"
)
CELL = b'<row r="%d"><c r="%s%d" t="inlineStr"><is><t>Id</t></is></c></row>'


def bomb_gz(folder: Folder) -> tuple[str, str]:
    folder.write("a.csv.gz", gzip.compress(bytes(300_000_000), 9))
    return "*", "zip bomb"


def bomb_xlsx(folder: Folder) -> tuple[str, str]:
    folder.write("a.xlsx", xlsx(SHEET % (b" " * 400_000_000)))
    return "*", "zip bomb"


def far_cells(folder: Folder) -> tuple[str, str]:
    folder.write("a.xlsx", xlsx(SHEET % (CELL % (1, b"A", 1) + CELL % (1048576, b"XFD", 1048576))))
    return "*", "cells span"


def xlsx_entity(folder: Folder) -> tuple[str, str]:
    sheet = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + SHEET % (CELL % (1, b"A", 1))
    folder.write("a.xlsx", xlsx(sheet))
    return "*", "document type"


def deep_json(folder: Folder) -> tuple[str, str]:
    folder.write("a.json", b"[" * 3_000_000)
    return "*", "nested deeper"


def deep_value(folder: Folder) -> tuple[str, str]:
    folder.write("a.json", b'[{"Id":' + b"[" * 5000 + b"]" * 5000 + b"}]")
    return "*", "nested deeper"


def deep_line(folder: Folder) -> tuple[str, str]:
    folder.write("a.jsonl", b'{"Id":' + b'{"a":' * 200_000 + b"1" + b"}" * 200_001 + b"\n")
    return "*", "nested deeper"


def _huge(folder: Folder, name: str, head: bytes, fill: bytes, tail: bytes) -> None:
    with (folder.path / name).open("wb") as file:
        file.write(head)
        for _ in range(1024):
            file.write(fill * (1024 * 1024 // len(fill)))
        file.write(tail)
    os.utime(folder.path / name, (1, 1))


def huge_field(folder: Folder) -> tuple[str, str]:
    _huge(folder, "a.csv", HEAD.encode() + b'1,"', b"x", b'",1,,1\n2,x,1,,1\n')
    return "*", "record_mib"


def huge_line(folder: Folder) -> tuple[str, str]:
    _huge(folder, "a.jsonl", b'{"Id":"', b"x", b'"}\n')
    return "*", "record_mib"


def huge_document(folder: Folder) -> tuple[str, str]:
    _huge(folder, "a.json", b'[{"Id":"', b"x", b'"}]')
    return "*", "JSON Lines"


def not_parquet(folder: Folder) -> tuple[str, str]:
    folder.write("a.parquet", b"PAR1" + bytes(1000) + b"PAR1")
    return "*", "Parquet"


def nul_bytes(folder: Folder) -> tuple[str, str]:
    folder.write("a.csv", HEAD.encode() + b"1,\0,1,,1\n")
    return "*", "NUL"


POISON: list[Callable[[Folder], tuple[str, str]]] = [
    bomb_gz,
    bomb_xlsx,
    far_cells,
    xlsx_entity,
    deep_json,
    deep_value,
    deep_line,
    huge_field,
    huge_line,
    huge_document,
    not_parquet,
    nul_bytes,
]


@pytest.mark.parametrize("poison", POISON, ids=lambda made: made.__name__)
def test_poison_is_refused_in_bounded_memory_and_the_rest_goes_on(
    folder: Folder, poison: Callable[[Folder], tuple[str, str]], bounded: None
) -> None:
    source, reason = poison(folder)
    folder.write("z.csv", HEAD + "9,x,1,,1\n")
    result = folder.ingest(source)
    assert (result.rows, result.refused) == (1, 1)
    assert reason in folder.refused()[0]["reason"]
    assert len(folder.refused()[0]["raw"]) <= 65536


def test_random_bytes_never_break_a_read(folder: Folder) -> None:
    dice = random.Random(11)
    good = HEAD + "".join(f'{i},"x{i}",{i},2024-01-31,{i}\n' for i in range(20))
    book = xlsx(SHEET % (CELL % (1, b"A", 1) + CELL % (2, b"A", 2)))
    sink = io.BytesIO()
    pq.write_table(pa.table({"Id": ["1"], "Name": ["x"]}), sink)
    seeds = {"csv": good.encode(), "jsonl": b'{"Id":"1"}\n' * 9, "json": b'[{"Id":"1"}]', "xlsx": book}
    seeds["parquet"] = sink.getvalue()
    for number in range(120):
        ending = dice.choice(sorted(seeds))
        body = bytearray(seeds[ending])
        for _ in range(dice.randrange(1, 12)):
            body[dice.randrange(len(body))] = dice.randrange(256)
        folder.write(f"{number:04d}.{ending}", bytes(body[: dice.randrange(1, len(body) + 1)]))
    folder.write("z.csv", HEAD + "last,x,1,,1\n")
    result = folder.ingest()
    assert values(folder.bronze(), "Id").count("last") == 1
    assert result.refused > 20
    assert folder.ingest().batches == [], "each was looked at once"


# --- other places ---------------------------------------------------------------------------------------------------


def test_files_in_s3_are_read_through_the_same_door(folder: Folder, services: Settings) -> None:
    key, secret = services.s3_access_key_id, services.s3_secret_access_key
    client = boto3.client(
        "s3",
        endpoint_url=services.s3_endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
    )
    bucket = f"in-{folder.name}"
    client.create_bucket(Bucket=bucket)
    for number in range(3):
        body = HEAD + f"{number},x,1,,1\n"
        client.put_object(Bucket=bucket, Key=f"erp/2024/{number}.csv", Body=body.encode())
    client.put_object(Bucket=bucket, Key="erp/readme.txt", Body=b"not data")
    place = {"location": f"s3://{bucket}/erp", "endpoint": services.s3_endpoint, "user": key, "password": secret}
    assert folder.ingest("2024/*.csv", connection=place).rows == 3
    assert folder.ingest("2024/*.csv", connection=place).batches == []
    client.put_object(Bucket=bucket, Key="erp/2024/2.csv", Body=(HEAD + "5,y,1,,1\n").encode())
    assert folder.ingest("**/*.csv", connection=place).rows == 1
    with pytest.raises(AuthenticationError) as caught:
        folder.ingest("*.csv", connection=place | {"password": "wrong-canary"})
    assert "wrong-canary" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="nowhere"):
        folder.ingest("*.csv", connection=place | {"location": "s3://nowhere/"})


@pytest.fixture
def sftp(folder: Folder) -> Iterator[SftpServer]:
    server = SftpServer(folder.path, "reader", "pass-word-7f3a")
    yield server
    server.stop()


def test_an_sftp_server_that_cannot_prove_itself_gets_no_password(
    folder: Folder, sftp: SftpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("a.csv", HEAD + "1,x,1,,1\n")
    place = {"location": f"sftp://127.0.0.1:{sftp.port}/", "user": "reader", "password": "pass-word-7f3a"}
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with pytest.raises(AuthenticationError, match="another server"):
        folder.ingest(connection=place | {"host_key": other})
    assert sftp.log_ins == 0
    with pytest.raises(ConfigurationError, match="host_key"):
        folder.system(connection=place)
    monkeypatch.setenv("SOME_SFTP", place["location"])
    with pytest.raises(ConfigurationError, match="host_key"):
        folder.ingest(connection=place | {"location": "${SOME_SFTP}"})
    assert sftp.log_ins == 0
    assert folder.ingest(connection=place | {"host_key": sftp.host_key}).rows == 1


def test_sftp_by_key_file(folder: Folder, sftp: SftpServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    path = tmp_path_factory.mktemp("keys") / "id"
    path.write_bytes(key.export_private_key(passphrase="phrase-canary"))
    path.chmod(0o600)
    sftp.client_key = key.export_public_key().decode().strip()
    folder.write("deep/er/a.csv", HEAD + "1,x,1,,1\n")
    place = {
        "location": f"sftp://127.0.0.1:{sftp.port}/",
        "user": "reader",
        "key_file": str(path),
        "key_passphrase": "phrase-canary",
        "host_key": sftp.host_key,
    }
    assert folder.ingest("**/*.csv", connection=place).rows == 1
    assert sftp.log_ins == 0


@pytest.mark.parametrize(("driver", "name"), [("python_calamine", "a.xlsx"), ("asyncssh", "a.csv")])
def test_a_missing_driver_names_its_extra(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, driver: str, name: str
) -> None:
    folder.write(name, HEAD)
    monkeypatch.setitem(sys.modules, driver, None)
    place = {"location": "sftp://127.0.0.1:9/", "password": "x", "host_key": "ssh-ed25519 AAAA"}
    with pytest.raises(ConfigurationError) as caught:
        folder.ingest(connection=place if driver == "asyncssh" else {})
    assert "uv sync --extra files" in caught.value.next_step


def test_a_link_out_of_the_folder_is_no_data(folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.csv"
    outside.write_text(HEAD + "1,secret,1,,1\n")
    (folder.path / "a.csv").symlink_to(outside)
    os.utime(outside, (1, 1))
    assert folder.ingest().rows == 0
    with pytest.raises(ConfigurationError, match="is not there"):
        folder.ingest(connection={"location": str(folder.path / "none")})


def test_the_example_is_a_valid_definition() -> None:
    systems = load_systems(Path(__file__).parents[2] / "ingestion" / "examples" / "legacy_erp")
    assert systems["legacy_erp"].protocol == "files"
