"""The parsers as targets for a fuzzer: each takes bytes, and fails when a parser breaks or when what it gives is wrong.

A target lets through what a parser may say of bytes that are nothing. It fails on anything else, and where one way to
read something differs from another: in one block or in many, all at once or one by one, fast or exact.
"""

from __future__ import annotations

import io
import json
import os
import random
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dirty_files
import pyarrow as pa
from datong_ingestion.connections.edi import EdiConnection, EdiOptions
from datong_ingestion.connections.files import FilesOptions, Format, Limits
from datong_ingestion.connections.xml import XmlOptions
from datong_ingestion.documents import delimited, json_files, markup
from datong_ingestion.documents.delimited import Delimited
from datong_ingestion.documents.edi import reading, syntax
from datong_ingestion.documents.json_files import JsonFiles
from datong_ingestion.documents.markup import Markup
from datong_ingestion.documents.parquet import ParquetFiles
from datong_ingestion.documents.refusals import RefusedError
from datong_ingestion.documents.rows import PROVENANCE, Layout
from datong_ingestion.documents.taken import Taken
from datong_ingestion.documents.typed import Texts
from datong_ingestion.documents.workbook import Workbooks
from datong_ingestion.http import UnreadableBodyError
from datong_ingestion.json_pages import JsonReader
from datong_ingestion.protocols import edi, odata_v2, odata_v4, soap
from datong_ingestion.protocols.odata import parse_service
from datong_ingestion.systems_config import EntityConfig
from datong_ingestion.values import Rescue, column, converter
from datong_platform.errors import DatongError
from datong_platform.lake.columns import parse_type

KINDS = ("string", "integer", "long", "decimal(13,3)", "double", "date", "timestamp", "boolean")
_FIELDS = {name: parse_type(kind) for name, kind in dirty_files.FIELDS.items()}
_SCHEMA = pa.schema(list({**_FIELDS, **PROVENANCE}.items()))
_RULES = Format.model_validate(dirty_files.RULES)
_OPTIONS = FilesOptions(values=_RULES)
_LIMITS = Limits(record_mib=1, expanded_mib=64, cells=200_000)
_MAY_FAIL = (
    RefusedError,
    pa.ArrowException,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    RecursionError,
    EOFError,
)
"""What a source takes from a reader of documents as: this one cannot be read."""
_FOLDER = tempfile.TemporaryDirectory(prefix="datong-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)

Outcome = tuple[list[dict[str, Any]], list[tuple[str, bytes]]] | str


@dataclass(frozen=True)
class Target:
    """A parser."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()
    """What makes sense in such bytes, for a fuzzer to try."""
    modules: tuple[str, ...] = field(default=("datong_ingestion",))


def _file(body: bytes) -> Path:
    path = Path(_FOLDER.name) / str(os.getpid())
    path.write_bytes(body)
    return path


def _outcome(pages: Callable[[], Iterator[Any]]) -> Outcome:
    """The rows, with what was rescued, and the refusals of a document; or that it is refused."""
    rows: list[dict[str, Any]] = []
    refused: list[tuple[str, bytes]] = []
    try:
        for page in pages():
            page.rows.validate(full=True)
            texts = page.rescued.to_pylist() if page.rescued is not None else [None] * len(page.rows)
            assert len(texts) == len(page.rows), "a rescue column of another length"
            rows += [
                {name: repr(value) for name, value in row.items()} | {"rescued": text and json.loads(text)}
                for row, text in zip(page.rows.to_pylist(), texts, strict=True)
            ]
            if page.refused is not None:
                refused += [(part["place"], part["raw"]) for part in page.refused.to_pylist()]
                assert all(part["reason"] for part in page.refused.to_pylist()), "refused without a reason"
    except _MAY_FAIL:
        return "refused"
    return rows, refused


def _layout(options: FilesOptions) -> Layout:
    return Layout(_SCHEMA, ("Id",), options.values, [])


def _numbers(found: Outcome) -> list[int]:
    """The numbers of rows and refused parts."""
    assert isinstance(found, tuple)
    return sorted([int(row["_row"]) for row in found[0]] + [int(place.rpartition(" ")[2]) for place, _ in found[1]])


def csv(data: bytes) -> None:
    """In one block and in many; every row is there or refused."""
    path = _file(data)

    def pages() -> Iterator[Any]:
        return Delimited(_OPTIONS, _LIMITS).pages(path, _layout(_OPTIONS))

    whole = _outcome(pages)
    if isinstance(whole, tuple):
        numbers = _numbers(whole)
        assert numbers == list(range(1, len(numbers) + 1)), f"rows {numbers}"
    # a carriage return alone ends rows only where there is no line feed, which another block may hold
    if b"\r" not in data:
        with patch.object(delimited, "_BLOCK", 64):
            small = _outcome(pages)
        if isinstance(whole, tuple) and isinstance(small, tuple):
            assert whole == small, "blocks change what is read"


def jsonl(data: bytes) -> None:
    """All lines at once, and each by itself."""
    path = _file(data)

    def reader() -> JsonFiles:
        return JsonFiles(_OPTIONS, _LIMITS, is_lines=True)

    whole = _outcome(lambda: reader().pages(path, _layout(_OPTIONS)))
    if not isinstance(whole, tuple):
        return
    body = data[3:] if data.startswith(b"\xef\xbb\xbf") else data
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    assert _numbers(whole) == [number for number, _ in lines], "a line is neither a row nor refused"
    by_line = {int(row["_row"]): row for row in whole[0]}
    for number, line in lines[:20]:
        alone = _outcome(lambda line=line: reader().pages(_file(line), _layout(_OPTIONS)))
        if isinstance(alone, tuple):
            rows = [row | {"_row": str(number)} for row in alone[0]]
            assert rows == ([by_line[number]] if number in by_line else []), f"line {number} alone is another row"


def json_document(data: bytes) -> None:
    """A document, read fast by what another taught, and exactly."""
    path = _file(data)
    _outcome(lambda: JsonFiles(_OPTIONS, _LIMITS, is_lines=False).pages(path, _layout(_OPTIONS)))


def json_page(data: bytes) -> None:
    """A page of an API, and values in one: the fast reader, once it learned a shape, gives what the exact one gives."""
    schema = pa.schema([(f"f{place}", parse_type(kind)) for place, kind in enumerate(KINDS)])
    tokens = [token for token in data.decode("utf-8", "surrogateescape").split("\n") if token.strip()][:40]
    rows = ["{" + f'"f{place % len(KINDS)}":{token}' + "}" for place, token in enumerate(tokens)]
    body = ('{"d":{"results":[' + ",".join(rows) + '],"__next":"x"}}').encode("utf-8", "surrogateescape")

    def page(taught: str | None, body: bytes) -> Any:
        reader = JsonReader(schema, [("d", "results")], envelope_fields=("__next",))
        if taught is not None:
            reader.parse(taught.encode())
            found = reader._fast(body)
            if found is None:
                return None
        else:
            try:
                found = reader._exact(body)
            except UnreadableBodyError:
                return "unreadable"
        rescued = found.rescued.to_pylist() if found.rescued is not None else []
        return str(found.rows.to_pylist()), [json.loads(text) for text in rescued if text], sorted(found.unexpected)

    for number in ('"1.5"', "1.5"):
        shown = ('"a"', "1", "1", number, "1.5", '"2024-01-31"', '"2024-01-31T00:00:00Z"', "true")
        row = ",".join(f'"f{place}":{text}' for place, text in enumerate(shown))
        for sent in (body, data):
            fast = page('{"d":{"results":[{' + row + '}],"__next":"x"}}', sent)
            if fast is not None:
                exact = page(None, sent)
                assert fast == exact, f"{fast} is not {exact}"


def xml(data: bytes) -> None:
    """In blocks of 256 KiB and of a few bytes."""
    path = _file(data)
    options = XmlOptions(rows="/Things/Thing", paths={"At": "../At"}, values=_RULES)

    def pages() -> Iterator[Any]:
        return Markup(options, _LIMITS, _SCHEMA).pages(path, "a.xml")

    whole = _outcome(pages)
    with patch.object(markup, "_BLOCK", 7), patch.object(markup, "_PROLOG", 64):
        small = _outcome(pages)
    if isinstance(whole, tuple) and isinstance(small, tuple):
        assert whole == small, "blocks change what is read"
    if isinstance(whole, tuple):
        assert b"<!DOCTYPE" not in data, "a document type was read"


def workbook(data: bytes) -> None:
    """A worksheet of these bytes in a workbook that is right."""
    book = dirty_files.as_workbook([dirty_files.clean(1, random.Random(1))])
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name == "xl/worksheets/sheet1.xml" else old.read(name))
    path = _file(made.getvalue())
    _outcome(lambda: Workbooks(_OPTIONS, _LIMITS).pages(path, _layout(_OPTIONS)))


def parquet(data: bytes) -> None:
    """Bytes as a Parquet file."""
    path = _file(data)
    _outcome(lambda: ParquetFiles(_LIMITS).pages(path, _layout(_OPTIONS)))


def _edi_reader(options: EdiOptions) -> Any:
    entity = EntityConfig.model_construct(
        name="row", source="*", mode="stream", options=options, keys=[], fields={}, select=[]
    )
    described = edi.Edi.describe(_EDI, entity)
    return edi._Reader(EdiConnection(location="/", limits=_LIMITS), entity, described, Taken())


class _Described(edi.Edi):
    """One that describes without a place to read from."""

    def __init__(self) -> None:
        self.system = "fuzz"


_EDI = _Described()


def interchange(data: bytes) -> None:
    """Messages taken together and one by one, from large blocks and from small ones."""
    path = _file(data)
    for options in (EdiOptions(message="850", level="line"), EdiOptions(message="ORDERS", level="line"), EdiOptions()):
        found: list[Outcome] = []
        for worth, few in ((3, 16384), (10**9, 128)):
            with patch.object(reading, "_WORTH_IT", worth), patch.object(syntax, "_FEW", few):
                found.append(_outcome(lambda options=options: _edi_reader(options).pages(path, "a.edi")))
        if all(isinstance(one, tuple) for one in found):
            assert found[0][0] == found[1][0], "together and one by one differ"
            assert sorted(found[0][1]) == sorted(found[1][1]), "together and one by one refuse different parts"
        else:
            assert found[0] == found[1], "only one way takes it"


def texts(data: bytes) -> None:
    """A column of texts at once, and each value by itself."""
    lines = data.decode("utf-8", "replace").split("\n")[:6]
    for rules in (_RULES, Format(), Format(decimal_mark=",", group_mark="."), EdiOptions().values):
        for name in KINDS:
            kind, reader, whole, single = parse_type(name), Texts(rules), Rescue(), Rescue()
            for line in lines:
                many = reader.column("x", kind, pa.array([line]), whole)
                exact = reader.column("x", kind, pa.array([line, "no value at all"]), single)[:1]
                assert str(many[0]) == str(exact[0]), (name, line, str(many[0]), str(exact[0]))
                many[0].as_py()


def values(data: bytes) -> None:
    """JSON values of every kind in columns of every type: right or rescued, and what was rescued is JSON."""
    try:
        found = json.loads(
            data.decode("utf-8", "surrogateescape"), object_pairs_hook=json_files.json_object, **json_files._NUMBERS
        )
    except (ValueError, RecursionError):
        return
    for name in KINDS:
        kind, rescue = parse_type(name), Rescue()
        made = column("x", kind, [found, None], converter(kind), rescue)
        made.to_pylist()
        kept = rescue.column(2)
        assert (made[0].is_valid or found is None) != (kept is not None), (
            f"{name}: neither a value nor rescued, or both"
        )
        if kept is not None:
            json.loads(kept[0].as_py())


def metadata(data: bytes) -> None:
    """The description of an OData service, of both versions."""
    v4 = odata_v4.ODataV4.kind
    for kind in (odata_v2._kind, lambda element, thing: v4(None, element, thing)):  # pyright: ignore[reportArgumentType]
        try:
            parse_service(data, "fuzz", kind)
        except (DatongError, UnreadableBodyError):
            continue
        assert b"<!DOCTYPE" not in data.replace(b"\0", b""), "a document type was read"


def answer(data: bytes) -> None:
    """The answer of a SOAP service."""
    try:
        root = soap._parsed(data, "fuzz")
    except (DatongError, UnreadableBodyError):
        return
    found = soap._Answer(root, {})
    table, rescued, _ = soap._table(list(root), found, pa.schema(list(_FIELDS.items())), frozenset())
    table.to_pylist()
    for text in rescued.to_pylist() if rescued is not None else []:
        json.loads(text or "{}")


def position(data: bytes) -> None:
    """A position that is none, or that gives itself again."""
    try:
        state = Taken.parse(data.decode("utf-8", "replace"), "fuzz")
    except DatongError:
        return
    assert Taken.parse(state.dump(), "fuzz").dump() == state.dump()


def _of_the_corpus(kind: str) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        files = [file for one in dirty_files.corpus(1, 3) for file in one.files]
        return [file.body for file in files if file.name.endswith(f".{kind}") and len(file.body) < 9000][::4]

    return seeds


def _sheets() -> list[bytes]:
    found: list[bytes] = []
    for body in _of_the_corpus("xlsx")()[:30]:
        if body.startswith(b"PK") and zipfile.is_zipfile(io.BytesIO(body)):
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                if "xl/worksheets/sheet1.xml" in archive.namelist():
                    found.append(archive.read("xl/worksheets/sheet1.xml"))
    return found


X12 = (
    b"ISA*00*          *00*          *ZZ*BUYER          *ZZ*SELLER         *240131*1200*U*00401*000000001*0*P*>~"
    b"GS*PO*B*S*20240131*1200*7*X*004010~ST*850*0001~BEG*00*SA*PO-1**20240131~CUR*BY*EUR~N1*BY*Buyer*92*B1~"
    b"PO1*1*10*EA*5.25**BP*A1~PID*F****Bearing~CTT*1~SE*8*0001~ST*850*0002~BEG*00*SA*PO-2**20240131~"
    b"PO1*1*1.5*KG*2**BP*A2~CTT*1~SE*5*0002~GE*2*7~IEA*1*000000001~"
)
EDIFACT = (
    b"UNA:+.? 'UNB+UNOC:3+BUYER:14+SELLER:14+240131:1200+77'UNH+1+ORDERS:D:96A:UN'BGM+220+PO-1+9'"
    b"DTM+137:20240131:102'NAD+BY+123::9'LIN+1++A1:BP'IMD+F++:::La?'ger'QTY+21:10:PCE'UNS+S'CNT+2:1'UNT+10+1'"
    b"UNH+2+ORDERS:D:96A:UN'BGM+220+PO-2+9'LIN+1++A2:BP'QTY+21:3,5:KGM'UNS+S'UNT+6+2'UNZ+2+77'"
)
_TOKENS = (
    b'"a"\n1\n-1\n"1.5"\n1.5\n"2024-01-31"\n"2024-01-31T00:00:00Z"\ntrue',
    b'null\n"1e3"\n1e3\n12345678901234567890\nNaN\n0.1\n"0000-01-01"\n"9999-12-31T23:59:59.9999999Z"\n"TRUE"',
    b'{"a":1,"a":2}\n[1,[2]]\n"\\ud800"\n"0x1F"\n"1_000"\n" 1"\n"20240131"\n"2024-W05-3"\n"\xe9\x83\xa8"',
)
_PAGES = (
    b'{"d":{"results":[{"f0":"a","f1":1,"f4":1.5},{"f0":null}],"__next":"x"}}',
    b'{"d":{"results":[null],"__next":null}}',
)
_METADATA = (
    b'<edmx:Edmx xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx" Version="1.0"><edmx:DataServices>'
    b'<Schema Namespace="A" xmlns="http://schemas.microsoft.com/ado/2008/09/edm">'
    b'<EntityType Name="T" BaseType="A.B"><Key>'
    b'<PropertyRef Name="Id"/></Key><Property Name="Id" Type="Edm.String"/><Property Name="N" Type="Edm.Decimal" '
    b'Precision="13" Scale="3"/></EntityType><EntityType Name="B"/><EntityContainer Name="C"><EntitySet Name="Ts" '
    b'EntityType="A.T"/></EntityContainer></Schema></edmx:DataServices></edmx:Edmx>'
)
_ANSWER = (
    b'<A xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><r unit="KG"><Id>1</Id><Name>x</Name><Name>y</Name>'
    b'<Qty cur="E">2</Qty>tail</r><r><Due i:nil="true"/><Amount>1.5</Amount><At>2024-01-31T00:00:00Z</At>'
    b'<More><a b="c">1</a></More></r></A>'
)
_DATES = (
    b"20240131\n2024-02-30\n45322\n1,234.5-\n1.234,5\n/Date(0)/\n0000-01-01\n00010101\n"
    b"9999-12-31T23:59:59\n1e5\n\xef\xbc\x91"
)

TARGETS: dict[str, Target] = {
    "csv": Target(csv, _of_the_corpus("csv"), (b'"', b'""', b"\r\n", b",", b"Id,Name,Amount,Due,Qty,At,Active\n")),
    "jsonl": Target(
        jsonl, _of_the_corpus("jsonl"), (b'{"Id":"', b'"}', b"},{", b"\\ud800", b"[", b"]", b"\n", b"\\u0000")
    ),
    "json": Target(json_document, _of_the_corpus("json"), (b"[", b"]", b"{", b"}", b"null", b"NaN", b"1e999")),
    "json_page": Target(
        json_page,
        lambda: [*_TOKENS, *_PAGES],
        (b"\n", b'{"d":{"results":[', b"null", b'"', b"e", b"null", b"true", b"-", b"0000-"),
    ),
    "xml": Target(
        xml, _of_the_corpus("xml"), (b"<Thing>", b"</Thing>", b"<![CDATA[", b"]]>", b"<!--", b"-->", b"&#", b'="')
    ),
    "workbook": Target(workbook, _sheets, (b'<c r="A1"', b' t="s"', b"<v>", b"</v>", b"<f>", b'<row r="')),
    "parquet": Target(parquet, lambda: _of_the_corpus("parquet")()[:12], (b"PAR1",)),
    "interchange": Target(
        interchange, lambda: [X12, EDIFACT], (b"ISA*", b"SE*", b"UNT+", b"?'", b"UNZ+", b"~", b"'", b"\r\n")
    ),
    "texts": Target(texts, lambda: [_DATES, _DATES[::-1]], (b"\n", b"-", b",", b".", b"e", b"T00:00", b"\xef\xbc\x8d")),
    "values": Target(
        values, lambda: [token for tokens in _TOKENS for token in tokens.split(b"\n")], (b"/Date(", b")/", b"PT", b"e")
    ),
    "metadata": Target(
        metadata, lambda: [_METADATA, _METADATA.decode().encode("utf-16")], (b"BaseType=", b'"A.T"', b"<!DOCTYPE ")
    ),
    "answer": Target(
        answer, lambda: [_ANSWER, _ANSWER.decode().encode("utf-16")], (b"<r>", b"</r>", b"&", b"<!DOCTYPE ")
    ),
    "position": Target(position, lambda: [Taken.parse(None, "x").dump().encode()], (b'"version":1', b'"files":')),
}
