"""Attacks on the readers, each in a process of its own that may take only so much memory and processor time.

`python attacked.py MEMORY_MB CPU_SECONDS` reads names of attacks from its input, and prints for each what the reader
said. A reader that takes more is ended by the operating system, and that is said, too.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import resource
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Attack = Callable[[], tuple[str, str, bytes, dict[str, Any]]]
ATTACKS: dict[str, Attack] = {}
MIB = 1024 * 1024


def attack(made: Attack) -> Attack:
    """Protocol, name of the file, its bytes, and what the entity declares."""
    ATTACKS[made.__name__] = made
    return made


@attack
def quotes_without_end() -> tuple[str, str, bytes, dict[str, Any]]:
    return "files", "a.csv", b"Id,Name\n1," + b'"' * (17 * MIB + 1), {}


@attack
def quotes_in_every_value() -> tuple[str, str, bytes, dict[str, Any]]:
    return "files", "a.csv", b"Id,Name\n" + b'"a"b,"c"d\n' * 400_000, {}


@attack
def a_million_columns() -> tuple[str, str, bytes, dict[str, Any]]:
    return "files", "a.csv", b",".join(b"c%d" % place for place in range(200_000)) + b"\n", {}


@attack
def a_million_values() -> tuple[str, str, bytes, dict[str, Any]]:
    return "files", "a.csv", b"Id,Name\n" + b"," * 3_000_000 + b"\n", {}


@attack
def a_text_without_end() -> tuple[str, str, bytes, dict[str, Any]]:
    return "files", "a.json", b"[" * 99 + b'"' + b'\\"' * 600_000, {}


@attack
def lines_without_end() -> tuple[str, str, bytes, dict[str, Any]]:
    return "files", "a.jsonl", (b'{"a":"' + b'\\"' * 300_000 + b"\n") * 4, {}


@attack
def a_million_fields_one_twice() -> tuple[str, str, bytes, dict[str, Any]]:
    fields = b",".join(b'"f%d":1' % place for place in range(80_000))
    return "files", "a.jsonl", b'{"Id":"1",' + fields + b',"f1":2}\n', {}


@attack
def a_number_of_a_million_digits() -> tuple[str, str, bytes, dict[str, Any]]:
    return (
        "files",
        "a.jsonl",
        b'{"Id":"1","Qty":' + b"9" * 1_000_000 + b"}\n",
        {"fields": {"Id": "string", "Qty": "long"}},
    )


@attack
def a_number_with_a_huge_exponent() -> tuple[str, str, bytes, dict[str, Any]]:
    return "files", "a.jsonl", b'{"Id":"1","Qty":1e999999999}\n', {"fields": {"Id": "string", "Qty": "decimal(38,0)"}}


@attack
def nesting() -> tuple[str, str, bytes, dict[str, Any]]:
    return "files", "a.json", b'[{"Id":' + b'{"a":[' * 500_000, {}


@attack
def a_million_attributes() -> tuple[str, str, bytes, dict[str, Any]]:
    names = b" ".join(b'a%d="1"' % place for place in range(60_000))
    return "xml", "a.xml", b"<R><T " + names + b"><Id>1</Id></T></R>", {"options": {"rows": "/R/T"}}


@attack
def entities_in_entities() -> tuple[str, str, bytes, dict[str, Any]]:
    names = "".join(f'<!ENTITY l{place} "{f"&l{place - 1};" * 10}">' for place in range(1, 12))
    body = f'<!DOCTYPE R [<!ENTITY l0 "lol">{names}]><R><T><Id>&l11;</Id></T></R>'
    return "xml", "a.xml", body.encode("utf-16"), {"options": {"rows": "/R/T"}}


@attack
def a_file_of_the_machine() -> tuple[str, str, bytes, dict[str, Any]]:
    body = b'<!DOCTYPE R [<!ENTITY x SYSTEM "file:///etc/passwd">]><R><T><Id>&x;</Id></T></R>'
    return "xml", "a.xml", body, {"options": {"rows": "/R/T"}}


@attack
def nested_elements() -> tuple[str, str, bytes, dict[str, Any]]:
    return "xml", "a.xml", b"<R><T>" + b"<a>" * 300_000, {"options": {"rows": "/R/T"}}


def _workbook(parts: dict[str, bytes]) -> bytes:
    import openpyxl

    book, made = io.BytesIO(), io.BytesIO()
    openpyxl.Workbook().save(book)
    with zipfile.ZipFile(book) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, parts.get(name, old.read(name)))
    return made.getvalue()


@attack
def cells_that_never_end() -> tuple[str, str, bytes, dict[str, Any]]:
    cells = b'<c r="A1" t="e"' * 60_000
    return "files", "a.xlsx", _workbook({"xl/worksheets/sheet1.xml": b"<worksheet><sheetData>" + cells}), {}


@attack
def a_sheet_with_a_name_that_never_ends() -> tuple[str, str, bytes, dict[str, Any]]:
    book = b'<workbook xmlns="x"><sheets><sheet ' + b"a" * 600_000 + b"/></sheets></workbook>"
    return "files", "a.xlsx", _workbook({"xl/workbook.xml": book}), {}


@attack
def segments_of_nothing() -> tuple[str, str, bytes, dict[str, Any]]:
    head = b"ISA*00*          *00*          *ZZ*B              *ZZ*S              *240131*1200*U*00401*000000001*0*P*>~"
    return "edi", "a.edi", head + b"\r\n\r\n~" * 400_000, {"options": {}}


@attack
def releases_without_end() -> tuple[str, str, bytes, dict[str, Any]]:
    head = b"UNB+UNOC:3+B:14+S:14+240131:1200+77'UNH+1+ORDERS:D:96A:UN'BGM+"
    return "edi", "a.edi", head + b"?+" * 1_000_000 + b"'UNT+3+1'UNZ+1+77'", {"options": {}}


def _read(name: str) -> str:
    from document_reading import read_bytes

    protocol, file, body, declared = ATTACKS[name]()
    with tempfile.TemporaryDirectory(prefix="datong-attack-") as folder:
        fields = {} if protocol == "edi" else {"fields": {"Id": "string", "Name": "string"}}
        found = read_bytes(protocol, Path(folder), file, body, **(fields | declared))
    if found.refused:
        return f"refused: {found.refused[0]['reason'][:300]}"
    return f"{len(found.rows)} rows"


def main() -> None:
    """Try each attack that is named on the input."""
    sys.path.insert(0, str(Path(__file__).parent))
    memory, seconds = int(sys.argv[1]) * MIB, int(sys.argv[2])
    # imported before the processes are split, so that each costs little
    for module in ("protocols.edi", "protocols.files", "protocols.xml"):
        importlib.import_module(f"datong_ingestion.{module}")
    importlib.import_module("document_reading")

    for name in sys.stdin.read().split():
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            # what is mapped so far is not the reader's
            used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_DATA, (used + memory, used + memory))
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            try:
                said = _read(name)
            except BaseException as error:  # noqa: BLE001 whatever it is, it is told
                said = f"broke: {type(error).__name__}: {error}"[:300]
            os.write(writing, said.encode("utf-8", "replace"))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read().decode()
        _, status = os.waitpid(child, 0)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        print(
            json.dumps({"attack": name, "said": said or f"ended by signal {status & 127}", "peak_mb": peak}), flush=True
        )


if __name__ == "__main__":
    main()
