"""XML documents: what is particular to them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
from datong_ingestion.source import connect
from datong_ingestion.systems_config import SystemConfig, load_systems
from datong_platform.errors import ConfigurationError
from datong_platform.settings import Settings
from document_folder import DocumentFolder

NS = {"o": "urn:orders", "c": "urn:common"}
ORDERS = """<?xml version="1.0" encoding="UTF-8"?>
<!-- a comment before the root -->
<o:Orders xmlns:o="urn:orders" xmlns:c="urn:common"><o:Date>2024-01-31</o:Date>
  <o:Order no="1"><c:ID>A1</c:ID>
    <o:Line n="1"><c:Qty unit="EA">5</c:Qty><c:Tag>x</c:Tag><c:Tag>y &amp; z</c:Tag></o:Line>
    <o:Line n="2"><c:Qty unit="KG">1.5</c:Qty><!-- nothing --></o:Line>
    <c:Total>9</c:Total></o:Order>
  <o:Order no="2"><c:ID>A2</c:ID><o:Line n="1"><c:Qty unit="EA">7</c:Qty></o:Line><c:Total>7</c:Total></o:Order>
</o:Orders>"""
LINE: dict[str, Any] = {
    "keys": ["order_no", "n"],
    "fields": {
        "order_no": "string",
        "total": "decimal(9,2)",
        "day": "date",
        "n": "integer",
        "qty": "decimal(9,2)",
        "unit": "string",
        "Tag": "array<string>",
    },
    "options": {
        "rows": "/o:Orders/o:Order/o:Line",
        "namespaces": NS,
        "paths": {
            "order_no": "../@no",
            "total": "../c:Total",
            "day": "/o:Orders/o:Date",
            "qty": "c:Qty",
            "unit": "c:Qty/@unit",
        },
    },
}


class Folder(DocumentFolder):
    protocol = "xml"


@pytest.fixture
def folder(tmp_path: Path, services: Settings) -> Folder:
    return Folder(tmp_path)


def values(rows: list[dict[str, Any]], *names: str) -> list[Any]:
    return [tuple(row[name] for name in names) if len(names) > 1 else row[names[0]] for row in rows]


def test_fields_come_from_children_attributes_and_elements_around_the_row(folder: Folder) -> None:
    folder.write("a.xml", ORDERS)
    result = folder.ingest(**LINE)
    assert (result.rows, result.rescued, result.refused) == (3, 0, 0)
    rows = folder.bronze()
    assert values(rows, "order_no", "n", "qty", "unit") == [
        ("1", 1, Decimal("5.00"), "EA"),
        ("1", 2, Decimal("1.50"), "KG"),
        ("2", 1, Decimal("7.00"), "EA"),
    ]
    assert values(rows, "total") == [Decimal("9.00"), Decimal("9.00"), Decimal("7.00")], "it stands after the lines"
    assert {row["day"] for row in rows} == {date(2024, 1, 31)}
    assert values(rows, "Tag") == [["x", "y & z"], None, None]


def test_a_header_that_comes_after_pages_of_rows_refuses_the_document_instead_of_leaving_it_out(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datong_ingestion.documents import markup

    for name, size in {"_ROWS": 1, "_BLOCK": 16, "_PROLOG": 16}.items():
        monkeypatch.setattr(markup, name, size)
    folder.write("a.xml", ORDERS)
    assert (folder.ingest(**LINE).refused, folder.bronze()) == (1, [])
    assert "total" in folder.refused()[0]["reason"]


def test_repeating_groups_become_nested_columns_or_rows_of_their_own(folder: Folder) -> None:
    folder.write("a.xml", ORDERS)
    nested = "array<struct<n:integer,Qty:struct<unit:string,text:decimal(9,2)>,Tag:array<string>>>"
    fields = {"no": "string", "ID": "string", "Total": "decimal(9,2)", "Line": nested}
    folder.ingest(fields=fields, options={"rows": "/Orders/Order"})
    first, second = folder.bronze()
    assert first["Line"] == [
        {"n": 1, "Qty": {"unit": "EA", "text": Decimal("5.00")}, "Tag": ["x", "y & z"]},
        {"n": 2, "Qty": {"unit": "KG", "text": Decimal("1.50")}, "Tag": None},
    ]
    assert (second["no"], second["ID"], second["Total"]) == ("2", "A2", Decimal("7.00"))
    other = Folder(folder.path)
    texts = dict.fromkeys(["no", "ID", "Total"], "string")
    other.ingest(fields=texts, options={"rows": "/Orders/Order", "ignore": ["Line"]})
    assert values(other.bronze(), "no", "_datong_rescued") == [("1", None), ("2", None)]


def test_without_declared_fields_everything_is_text_and_nested_parts_are_json(folder: Folder) -> None:
    folder.write("a.xml", ORDERS)
    folder.ingest(options={"rows": "/Orders/Order"})
    first, second = folder.bronze()
    assert (first["no"], first["Total"]) == ("1", "9")
    assert json.loads(second["Line"]) == {"@n": "1", "Qty": {"@unit": "EA", "#text": "7"}}
    assert [line["@n"] for line in json.loads(first["Line"])] == ["1", "2"]


def test_what_nobody_described_is_rescued_with_its_name(folder: Folder) -> None:
    body = '<R><T a="1"><Id>1</Id><New x="y">n</New><Amount cur="EUR">5</Amount></T><T><Id>2</Id><Id>3</Id></T></R>'
    folder.write("a.xml", body)
    result = folder.ingest(fields={"Id": "integer", "Amount": "decimal(9,2)"}, options={"rows": "/R/T"})
    first, second = folder.bronze()
    assert (first["Id"], first["Amount"], second["Id"]) == (1, Decimal("5.00"), None)
    assert json.loads(first["_datong_rescued"]) == {"@a": "1", "New": {"@x": "y", "#text": "n"}, "Amount/@cur": "EUR"}
    assert json.loads(second["_datong_rescued"]) == {"Id": ["2", "3"]}
    assert result.new_columns == ["@a", "Amount/@cur", "New"]


def test_nil_empty_and_absent_are_told_apart(folder: Folder) -> None:
    xsi = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    folder.write("a.xml", f'<R {xsi}><T><A/><N/></T><T><A xsi:nil="true"/><N xsi:nil="true"/></T><T/></R>')
    assert folder.ingest(fields={"A": "string", "N": "integer"}, options={"rows": "/R/T"}).rescued == 0
    assert values(folder.bronze(), "A", "N") == [("", None), (None, None), (None, None)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk", "gb18030", "iso-8859-1"])
def test_the_document_tells_its_encoding(folder: Folder, encoding: str) -> None:
    name = "Müller" if encoding == "iso-8859-1" else "轴承"
    body = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?><R><T><A>{name}</A></T></R>'
    folder.write("a.xml", body.encode(encoding))
    folder.ingest(fields={"A": "string"}, options={"rows": "/R/T"})
    assert values(folder.bronze(), "A") == [name], folder.refused()


XSD = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" elementFormDefault="qualified">
<xs:include schemaLocation="types.xsd"/>
<xs:element name="R"><xs:complexType><xs:sequence><xs:element name="T" maxOccurs="unbounded"><xs:complexType>
<xs:sequence><xs:element name="Qty" type="Quantity"/></xs:sequence></xs:complexType></xs:element></xs:sequence>
</xs:complexType></xs:element></xs:schema>"""
TYPES = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:simpleType name="Quantity">
<xs:restriction base="xs:decimal"><xs:minInclusive value="0"/></xs:restriction></xs:simpleType></xs:schema>"""


def test_a_document_that_breaks_its_schema_is_refused_whole_with_the_line(folder: Folder) -> None:
    folder.write("xsd/r.xsd", XSD)
    folder.write("xsd/types.xsd", TYPES)
    folder.write("a.xml", "<R><T><Qty>1</Qty></T>\n<T><Qty>-1</Qty></T></R>")
    folder.write("b.xml", "<R><T><Qty>2</Qty></T></R>")
    options = {"rows": "/R/T", "xsd": str(folder.path / "xsd/r.xsd")}
    result = folder.ingest("*.xml", fields={"Qty": "decimal(9,2)"}, options=options)
    assert (result.rows, result.refused) == (1, 1)
    found = folder.refused()[0]
    assert found["place"] == "a.xml line 2"
    assert "Qty" in found["reason"]


def test_a_schema_that_would_be_fetched_from_elsewhere_is_refused(folder: Folder) -> None:
    folder.write("r.xsd", XSD.replace("types.xsd", "http://127.0.0.1:9/types.xsd"))
    folder.write("a.xml", "<R/>")
    with pytest.raises(ConfigurationError, match="127"):
        folder.ingest("*.xml", fields={"Qty": "string"}, options={"rows": "/R/T", "xsd": str(folder.path / "r.xsd")})


def lol(_: Folder) -> tuple[bytes, str]:
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE R [<!ENTITY l0 "lol">{entities}]><R><T><A>&l9;</A></T></R>'.encode(), "type"


def lol_in_attribute(_: Folder) -> tuple[bytes, str]:
    return b'<!DOCTYPE R [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;">]><R><T A="&b;"/></R>', "document type"


def xxe(folder: Folder) -> tuple[bytes, str]:
    secret = folder.write("../secret.txt", "canary-5521")
    return f'<!DOCTYPE R [<!ENTITY x SYSTEM "file://{secret}">]><R><T><A>&x;</A></T></R>'.encode(), "document type"


def xxe_in_utf_16(folder: Folder) -> tuple[bytes, str]:
    body, reason = xxe(folder)
    return b'<?xml version="1.0" encoding="utf-16"?>'.decode().encode("utf-16") + body.decode().encode(
        "utf-16-le"
    ), reason


def xxe_in_utf_7(folder: Folder) -> tuple[bytes, str]:
    body, _ = xxe(folder)
    return b'<?xml version="1.0" encoding="UTF-7"?>' + body.replace(b"<", b"+ADw-").replace(b"!", b"+ACE-"), "encoding"


def external_dtd(_: Folder) -> tuple[bytes, str]:
    return b'<!DOCTYPE R SYSTEM "http://127.0.0.1:9/r.dtd"><R><T><A>1</A></T></R>', "document type"


def late_dtd(_: Folder) -> tuple[bytes, str]:
    return b"<!--" + b"x" * 20_000 + b'--><!DOCTYPE R [<!ENTITY x "y">]><R><T><A>&x;</A></T></R>', "document type"


def unknown_entity(_: Folder) -> tuple[bytes, str]:
    return b"<R><T><A>&nope;</A></T></R>", "not valid"


def cut_off(_: Folder) -> tuple[bytes, str]:
    return b"<R>" + b"<T><A>1</A></T>" * 5000 + b"<T><A>", "not valid"


def deep(_: Folder) -> tuple[bytes, str]:
    return b"<R><T>" + b"<A>" * 100_000 + b"</A>" * 100_000 + b"</T></R>", "it"


def no_xml(_: Folder) -> tuple[bytes, str]:
    return b"PK\3\4 this is not XML", "begin as XML"


def endless_comment(_: Folder) -> tuple[bytes, str]:
    return b"<!--" + b"x" * 3_000_000, "first MiB"


POISON: list[Callable[[Folder], tuple[bytes, str]]] = [
    lol,
    lol_in_attribute,
    xxe,
    xxe_in_utf_16,
    xxe_in_utf_7,
    external_dtd,
    late_dtd,
    unknown_entity,
    cut_off,
    deep,
    no_xml,
    endless_comment,
]


@pytest.mark.parametrize("poison", POISON, ids=lambda made: made.__name__)
def test_poison_is_refused_and_the_rest_goes_on(folder: Folder, poison: Callable[[Folder], tuple[bytes, str]]) -> None:
    body, reason = poison(folder)
    folder.write("a.xml", body)
    folder.write("b.xml", "<R><T><A>ok</A></T></R>")
    result = folder.ingest("*.xml", fields={"A": "string"}, options={"rows": "/R/T"})
    assert (result.rows, result.refused) == (1, 1)
    assert values(folder.bronze(), "A") == ["ok"]
    assert reason in folder.refused()[0]["reason"]
    assert "canary-5521" not in str(folder.bronze()) + folder.refused()[0]["reason"]


HUGE = {
    "a text": (b"<R><T><A>", b"x" * 1024, b"</A></T></R>"),
    "a row": (b"<R><T>", b"<A>x</A>" * 128, b"</T></R>"),
    "no row": (b"<R>", b"<B>x</B>" * 128, b"</R>"),
    "an attribute": (b'<R><T A="', b"x" * 1024, b'"/></R>'),
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_gigabyte_that_is_not_rows_is_refused_in_bounded_memory(folder: Folder, kind: str) -> None:
    begin, middle, end = HUGE[kind]
    path = folder.path / "a.xml"
    with path.open("wb") as file:
        file.write(begin)
        for _ in range(1024):
            file.write(middle * 1024)
        file.write(end)
    os.utime(path, (1, 1))
    before = psutil.Process().memory_info().rss
    result = folder.ingest("*.xml", fields={"A": "string"}, options={"rows": "/R/T"})
    assert (result.rows, result.refused) == (0, 1)
    assert psutil.Process().memory_info().rss - before < 400_000_000


def test_memory_does_not_grow_with_a_document(folder: Folder) -> None:
    """Peak of what lxml and Arrow hold, for ten times the rows."""
    import pyarrow as pa

    def peak(rows: int) -> int:
        path = folder.write(f"{rows}.xml", "")
        with path.open("wb") as file:
            file.write(b"<R><Head>h</Head>")
            for number in range(rows):
                file.write(b"<T><A>%d</A><B>%s</B></T>" % (number, b"x" * 200))
            file.write(b"</R>")
        os.utime(path, (1, 1))
        system = folder.system(
            path.name,
            fields={"A": "integer", "B": "string", "H": "string"},
            options={"rows": "/R/T", "paths": {"H": "../Head"}},
        )
        source, entity = connect(system), system.entity("row")
        most, count = 0, 0
        before = psutil.Process().memory_info().rss
        for page in source.read(entity, source.describe(entity), None):
            count += len(page.rows)
            most = max(most, psutil.Process().memory_info().rss - before)
        source.close()
        pa.default_memory_pool().release_unused()
        assert count == rows
        return most

    peak(50_000)
    assert peak(500_000) < 200_000_000


def test_a_missing_driver_names_its_extra(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("a.xml", "<R><T/></R>")
    monkeypatch.setitem(sys.modules, "lxml.etree", None)
    with pytest.raises(ConfigurationError) as caught:
        folder.ingest(fields={"A": "string"}, options={"rows": "/R/T"})
    assert "uv sync --extra xml" in caught.value.next_step


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rows": "/o:Orders"}, "prefix o"),
        ({"rows": "/R/T", "paths": {"A": "x[1]"}}, "not a path"),
        ({"rows": "/R/../T"}, "rows must be"),
    ],
)
def test_a_mistake_in_paths_is_told_before_anything_is_read(
    folder: Folder, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason.replace("[", r"\[")):
        folder.system(options=options)


def test_the_example_is_a_valid_definition() -> None:
    systems: dict[str, SystemConfig] = load_systems(Path(__file__).parents[2] / "ingestion/examples/supplier_xml")
    assert systems["supplier_xml"].protocol == "xml"
