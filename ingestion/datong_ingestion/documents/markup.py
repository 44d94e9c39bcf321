"""XML to rows, as it streams by: an element that was read is let go at once, so memory does not grow with a document.

Guards against: document types, and with them entities and external references (refused before a parser sees them),
elements that would fill the memory, fields and repetitions that nobody described (rescued), documents that break their
schema or their own syntax (refused whole, with the line).
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datong_platform.errors import ConfigurationError

from datong_ingestion.connections.files import MIB, Limits
from datong_ingestion.connections.xml import XmlOptions
from datong_ingestion.documents.refusals import RefusedError
from datong_ingestion.documents.rows import FILE, PROVENANCE, ROW
from datong_ingestion.documents.typed import Texts
from datong_ingestion.source import Page
from datong_ingestion.values import MisfitError, Rescue

_BLOCK = 256 * 1024
_PROLOG = 4096
_ROWS = 10_000
_CELLS = 400_000
_WHOLE = 16 * MIB
_KEPT = 10_000
_SAMPLE = 1000
_ATTRIBUTES = 2000
_ENCODING = re.compile(rb"^(?:\xef\xbb\xbf)?\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._:-]+)[\"']")
# in others, such as UTF-7, a document type could hide from the search for it
_KNOWN = re.compile(
    r"(?i)(utf-?8|utf-?16(le|be)?|us-ascii|ascii|iso-?8859-\d+|latin-?1|windows-125\d|gbk|gb2312|gb18030|big5|"
    r"shift_jis|euc-(jp|kr|cn|tw))\Z"
)
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"


@dataclass
class _Node:
    """What is wanted of an element: its text or content for some fields, its attributes, its children."""

    indexes: list[int] = field(default_factory=list)
    steps: dict[str, _Node] = field(default_factory=dict)
    """By step as written, `prefix:name` resolved to `{namespace}name`, or a name that fits any namespace."""
    attributes: dict[str, list[int]] = field(default_factory=dict)
    known: dict[str, _Node | None] = field(default_factory=dict)

    def child(self, tag: str) -> _Node | None:
        """The node of a child by its tag; None when it is not wanted."""
        if tag not in self.known:
            self.known[tag] = self.steps.get(tag) or self.steps.get(_local(tag))
        return self.known[tag]

    def attribute(self, name: str) -> list[int] | None:
        """The fields that take an attribute."""
        return self.attributes.get(name) or self.attributes.get(_local(name))


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


class Markup:
    """Reads the XML documents of one entity."""

    def __init__(self, options: XmlOptions, limits: Limits, schema: pa.Schema | None) -> None:
        try:
            etree: Any = importlib.import_module("lxml.etree")
        except ImportError as error:
            raise ConfigurationError("protocol xml", "needs lxml.", "run `uv sync --extra xml`.") from error
        self.etree, self.options, self.limits = etree, options, limits
        self.schema = schema
        self.fields = [] if schema is None else [item for item in schema if item.name not in PROVENANCE]
        self.texts = Texts(options.values)
        self._steps = [self._step(step) for step in options.rows.strip("/").split("/")]
        self.root = _Node()
        self.headers: dict[int, dict[int, list[str]]] = {}
        """By how far around the row an element is: its fields, and their steps from there on."""
        self._levels: list[int] = []
        self._kept: set[str] = set()
        self._climb = 0
        for index, item in enumerate(self.fields):
            self._plan(index, item.name)
        self._xsd: Any = None

    def _step(self, step: str) -> str:
        prefix, _, name = step.rpartition(":")
        return f"{{{self.options.namespaces[prefix]}}}{name}" if prefix else name

    def _plan(self, index: int, name: str) -> None:
        path = self.options.paths.get(name, "")
        if not path:
            self.root.steps.setdefault(name, _Node()).indexes.append(index)
            self.root.attributes.setdefault(name, []).append(index)
            return
        steps = path.split("/")
        if path.startswith("/"):
            steps = self._from_root(name, [step for step in steps if step])
        if steps[0] == "..":
            up = sum(step == ".." for step in steps)
            if up >= len(self._steps) or up == len(steps):
                raise ConfigurationError(
                    f"path {path} of field {name}", "names no element around the row, or leads out of the document."
                )
            inner = [self._written(step) for step in steps[up:]]
            self.headers.setdefault(up, {})[index] = inner
            self._levels = sorted(self.headers)
            self._climb = max(self._climb, up)
            self._kept.add(_local(inner[0]))
            return
        node = self.root
        for step in steps:
            if step == ".":
                break
            if step.startswith("@"):
                node.attributes.setdefault(self._step(step[1:]), []).append(index)
                return
            node = node.steps.setdefault(self._step(step), _Node())
        node.indexes.append(index)

    def _written(self, step: str) -> str:
        return f"@{self._step(step[1:])}" if step.startswith("@") else self._step(step)

    def _from_root(self, name: str, steps: list[str]) -> list[str]:
        """A path from the root as one from the row, which must lie below an element that the row lies in, too."""
        same = 0
        for own, step in zip(self.options.rows.strip("/").split("/"), steps, strict=False):
            if own != step:
                break
            same += 1
        if not same:
            raise ConfigurationError(f"path of field {name}", f"does not begin with {self.options.rows.split('/')[1]}.")
        return [".."] * (len(self._steps) - same) + steps[same:]

    # --- reading ----------------------------------------------------------------------------------------------------

    def names(self, path: Path) -> list[str]:
        """Children and attributes of the first rows, and the fields that have paths."""
        found: dict[str, None] = dict.fromkeys(self.options.paths)
        taken = {
            self._step(p).lstrip("@") for p in self.options.paths.values() if "/" not in p and p not in {".", ".."}
        }
        for count, (row, level) in enumerate(self._elements(path)):
            for name in [*row.keys(), *[child.tag for child in row]] if not level else []:
                if name not in taken and _local(name) not in {*taken, *self.options.ignore} and _XSI not in name:
                    found.setdefault(_local(name))
            if count >= _SAMPLE:
                break
        return list(found)

    def pages(self, path: Path, name: str) -> Iterator[Page]:
        """The rows of a document."""
        limit = max(1, min(_ROWS, _CELLS // max(1, len(self.fields))))
        page = _Page(self, name)
        for element, level in self._elements(path):
            if level:
                page.end(element, level)
                continue
            page.add(element)
            if page.count >= limit:
                page.settle(element)
                yield page.table()
        yield page.table()

    def _elements(self, path: Path) -> Iterator[tuple[Any, int]]:
        """The elements that make rows, and those around them when they end, with how far around (0: a row itself). Each
        is to be used before the next is asked for."""
        with path.open("rb") as file:
            first = self._prolog(file)
            parser = self._parser()
            try:
                yield from self._events(parser, file, first)
            except self.etree.XMLSyntaxError as error:
                line = error.lineno or self._line(path)
                raise RefusedError(f"it is not valid: {error.msg}", place=f"line {line}" if line else "") from error

    def _line(self, path: Path) -> int:
        """The line of a schema's first complaint, which libxml2 tells only of a document that is held whole; 0 for a
        large one."""
        schema = self._schema()
        if schema is None or path.stat().st_size > _WHOLE:
            return 0
        parser = self.etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        schema.validate(self.etree.parse(str(path), parser))
        return next((entry.line for entry in schema.error_log), 0)

    def _events(self, parser: Any, file: Any, first: bytes) -> Iterator[tuple[Any, int]]:
        limit = int(self.limits.record_mib * MIB)
        block, held, parent, fits = first, 0, None, False
        wanted = self._steps[-1]
        while True:
            if block:
                parser.feed(block)
                held += len(block)
            else:
                self._check_root(parser.close())
            for _, element in parser.read_events():
                if element.tag == wanted or _local(element.tag) == wanted:
                    above = element.getparent()
                    if above is None or above is not parent:
                        parent, fits = above, self._lies(element, 0)
                    if fits:
                        yield element, 0
                        held = 0
                        self._let_go(element)
                        continue
                for level in self._levels:
                    if self._lies(element, level):
                        yield element, level
            if not block:
                return
            if held > limit:
                raise RefusedError(
                    f"a part of more than {self.limits.record_mib:g} MiB (connection.limits.record_mib) is no row "
                    f"{self.options.rows}, or a single one"
                )
            block = file.read(_BLOCK)

    def _check_root(self, root: Any) -> None:
        """RefusedError when a document that was read to its end cannot hold a row."""
        if root.tag != self._steps[0] and _local(root.tag) != self._steps[0] and self.options.other_roots == "refuse":
            raise RefusedError(
                f"its root is <{_local(root.tag)[:100]}>, and rows are at {self.options.rows} (option other_roots)"
            )

    def _parser(self) -> Any:
        return self.etree.XMLPullParser(
            events=("end",),
            tag=[f"{{*}}{_local(self._steps[-1 - level])}" for level in [0, *self._levels]],
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            dtd_validation=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
            schema=self._schema(),
        )

    def _prolog(self, file: Any) -> bytes:
        """The beginning of a document up to its first element; RefusedError when it declares a document type."""
        head = b""
        while True:
            block = file.read(_PROLOG)
            head += block
            plain = head.replace(b"\0", b"")
            if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
                raise RefusedError("it declares a document type or entities, which are refused (XXE, billion laughs)")
            start = plain.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")[:1]
            if start not in {b"<", b""}:
                raise RefusedError("it does not begin as XML does")
            without = re.sub(rb"<!--.*?(-->|\Z)|<\?.*?(\?>|\Z)", b"", plain, flags=re.DOTALL)
            if re.search(rb"<[^!?]", without) or not block:
                break
            if len(head) > MIB:
                raise RefusedError("it has no element in its first MiB")
        declared = _ENCODING.match(plain)
        if declared and not _KNOWN.match(declared[1].decode("ascii", "replace")):
            raise RefusedError(f"its encoding {declared[1].decode('ascii', 'replace')} is not accepted")
        return head

    def _schema(self) -> Any:
        if not self.options.xsd:
            return None
        if self._xsd is None:
            self._xsd = load_schema(Path(self.options.xsd), self.etree)
        return self._xsd

    def _lies(self, element: Any, level: int) -> bool:
        """Whether an element lies at the path of rows, or so many levels above it."""
        for step in reversed(self._steps[: len(self._steps) - level]):
            if element is None or (element.tag != step and _local(element.tag) != step):
                return False
            element = element.getparent()
        return element is None

    def _let_go(self, element: Any) -> None:
        """Free a row and all before it that no field needs."""
        element.clear()
        parent = element.getparent()
        level = 1
        while parent is not None:
            before, kept = element.getprevious(), 0
            while before is not None:
                following = before.getprevious()
                if level <= self._climb and _local(before.tag) in self._kept:
                    kept += 1
                    if kept > _KEPT:
                        raise RefusedError(f"it has more than {_KEPT:,} elements {_local(before.tag)} before its rows")
                else:
                    parent.remove(before)
                before = following
            element, parent, level = parent, parent.getparent(), level + 1

    # --- values -----------------------------------------------------------------------------------------------------

    def header(self, element: Any, steps: list[str]) -> str | None:
        """A value of an element around rows."""
        for step in steps:
            if step.startswith("@"):
                return next((value for key, value in element.items() if step[1:] in {key, _local(key)}), None)
            element = next((child for child in element if step in {child.tag, _local(child.tag)}), None)
            if element is None:
                return None
        return _text_of(element)


class _Page:
    """Rows of one document that become pages."""

    def __init__(self, markup: Markup, name: str) -> None:
        self.markup, self.name = markup, name
        self.fields, self.schema = markup.fields, markup.schema or pa.schema([])
        self.lists = [pa.types.is_list(item.type) for item in self.fields]
        self.rows: list[list[Any]] = []
        self.rescue, self.unexpected = Rescue(), set[str]()
        self.first, self.count = 1, 0
        self._from: dict[int, int] = {}
        """By level, the first row of the page whose element around it is not over."""
        self._given: dict[int, dict[int, str | None]] = {}
        """By level, what rows of earlier pages took of the element that is not over."""

    def add(self, element: Any) -> None:
        """Take in a row."""
        markup = self.markup
        row: list[Any] = [None] * len(self.fields)
        self._walk(element, markup.root, row, "")
        self.rows.append(row)
        self.count += 1

    def _walk(self, element: Any, node: _Node, row: list[Any], path: str) -> None:  # noqa: PLR0912 one pass, the hot one
        for key, value in _attributes(element):
            self._attribute(node, key, value, row, path)
        for child in element:
            if (behind := child.tail) and not behind.isspace():
                self._surplus(f"{path}#text", behind.strip())
            tag = child.tag
            wanted = node.known.get(tag) or node.child(tag)
            if wanted is None:
                if path or _local(tag) not in self.markup.options.ignore:
                    self._surplus(f"{path}{_local(tag)}", _content(child))
            elif wanted.steps or wanted.attributes:
                for index in wanted.indexes:
                    self._set(row, index, _text_of(child))
                self._walk(child, wanted, row, f"{path}{_local(tag)}/")
            elif len(child) or child.keys():
                for index in wanted.indexes:
                    self._complex(row, index, child, f"{path}{_local(tag)}")
            else:
                for index in wanted.indexes:
                    if row[index] is None and not self.lists[index]:
                        row[index] = child.text or ""
                    else:
                        self._set(row, index, child.text or "")
        if not path:
            for index in node.indexes:
                self._set(row, index, _text_of(element))
        if not node.indexes and (text := element.text) and not text.isspace():
            self._surplus(f"{path}#text", text.strip())

    def _attribute(self, node: _Node, key: str, value: str, row: list[Any], path: str) -> None:
        indexes = node.attribute(key)
        for index in indexes or []:
            self._set(row, index, value)
        if indexes is None and not key.startswith(_XSI):
            self._surplus(f"{path}@{_local(key)}", value)

    def _complex(self, row: list[Any], index: int, child: Any, path: str) -> None:
        """A child that has children or attributes of its own."""
        kind = self.fields[index].type
        if child.get(_NIL) in {"true", "1"}:
            return
        if pa.types.is_string(kind) or pa.types.is_nested(kind):
            attributes = [key for key in child.keys() if not key.startswith(_XSI)]  # noqa: SIM118 not a dict
            self._set(row, index, _content(child) if len(child) or attributes else child.text or "")
            return
        if len(child):
            self._surplus(path, _content(child))
            return
        self._set(row, index, child.text or "")
        for key, value in child.items():
            if not key.startswith(_XSI):
                self._surplus(f"{path}/@{_local(key)}", value)

    def _set(self, row: list[Any], index: int, value: Any) -> None:
        if self.lists[index]:
            row[index] = [value] if row[index] is None else [*row[index], value]
        elif row[index] is None:
            row[index] = value
        elif isinstance(row[index], _Several):
            row[index].append(value)
        else:
            row[index] = _Several([row[index], value])

    def _surplus(self, name: str, value: Any) -> None:
        self.unexpected.add(name)
        if value or isinstance(value, dict | list):
            self.rescue.add_beside(len(self.rows), name, value)

    def end(self, around: Any, level: int) -> None:
        """An element around rows is over: its fields are known now."""
        steps = self.markup.headers[level]
        found = {index: self.markup.header(around, path) for index, path in steps.items()}
        for row in self.rows[self._from.get(level, 0) :]:
            for index, value in found.items():
                row[index] = value
        given = self._given.pop(level, found)
        if given != found:
            index = next(index for index in found if found[index] != given[index])
            raise RefusedError(
                f"the value of {self.fields[index].name} comes after more than {self.first - 1:,} rows that need it",
                field=self.fields[index].name,
            )
        self._from[level] = len(self.rows)

    def settle(self, last: Any) -> None:
        """The page is full: its rows take what is known of the elements around them, which must not change later."""
        for level, steps in self.markup.headers.items():
            around = last
            for _ in range(level):
                around = around.getparent()
            found = {index: self.markup.header(around, path) for index, path in steps.items()}
            for row in self.rows[self._from.get(level, 0) :]:
                for index, value in found.items():
                    row[index] = value
            given = self._given.setdefault(level, found)
            # once they differ, the end of the element will find it
            self._given[level] = {index: value if given[index] == value else None for index, value in found.items()}
        self._from = {}

    def table(self) -> Page:
        """The rows so far as a page."""
        rows, self.rows = self.rows, []
        made: dict[str, pa.Array] = {}
        for item, values in zip(self.fields, zip(*rows, strict=True) if rows else [()] * len(self.fields), strict=True):
            made[item.name] = self._column(item, list(values))
        count = len(rows)
        columns = [
            pa.repeat(pa.scalar(self.name), count)
            if item.name == FILE
            else pa.array(np.arange(self.first, self.first + count, dtype=np.int64))
            if item.name == ROW
            else made[item.name]
            for item in self.schema
        ]
        page = Page(
            pa.Table.from_arrays(columns, schema=self.schema),
            rescued=self.rescue.column(count),
            unexpected=frozenset(self.unexpected),
        )
        self.first, self.count = self.first + count, 0
        self.rescue, self.unexpected = Rescue(), set()
        return page

    def _column(self, item: pa.Field, values: list[Any]) -> pa.Array:
        kind = item.type
        if pa.types.is_nested(kind):
            return self._nested_column(item, values)
        try:
            texts = pa.array(values, pa.string())
        except (pa.ArrowException, TypeError):
            texts = pa.array([self._scalar(item, row, value) for row, value in enumerate(values)], pa.string())
        return self.markup.texts.column(item.name, kind, texts, self.rescue)

    def _scalar(self, item: pa.Field, row: int, value: Any) -> str | None:
        if value is None or isinstance(value, str):
            return value
        if pa.types.is_string(item.type):
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        self.rescue.add(row, item.name, value)
        return None

    def _nested_column(self, item: pa.Field, values: list[Any]) -> pa.Array:
        made: list[Any] = []
        for row, value in enumerate(values):
            try:
                made.append(None if value is None else self._nested(value, item.type))
            except (MisfitError, ValueError, TypeError, ArithmeticError):
                made.append(None)
                self.rescue.add(row, item.name, value)
        try:
            return pa.array(made, item.type)
        except (pa.ArrowException, ValueError, TypeError):
            for row, value in enumerate(values):
                if value is not None:
                    self.rescue.add(row, item.name, value)
            return pa.nulls(len(values), item.type)

    def _nested(self, value: Any, kind: pa.DataType) -> Any:
        if value is None:
            return None
        if pa.types.is_list(kind):
            return [self._nested(one, kind.value_type) for one in (value if isinstance(value, list) else [value])]
        if pa.types.is_struct(kind):
            if not isinstance(value, dict):
                value = {"#text": value}
            members = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
            named = {name if name in members else name.lstrip("@#"): inner for name, inner in value.items()}
            if named.keys() - members.keys():
                raise MisfitError(value)
            return {name: self._nested(named.get(name), inner) for name, inner in members.items()}
        if pa.types.is_string(kind):
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if not isinstance(value, str):
            raise MisfitError(value)
        return self.markup.texts.value(value, kind)


class _Several(list[Any]):
    """The contents of an element that came several times where one was expected."""


def _attributes(element: Any) -> list[tuple[str, str]]:
    """The attributes of an element; RefusedError for so many that looking each up, as lxml does, would take hours."""
    if len(element.attrib) > _ATTRIBUTES:
        raise RefusedError(f"its element {_local(element.tag)[:100]} has more than {_ATTRIBUTES:,} attributes")
    return element.items()


def _text_of(element: Any) -> str:
    return element.text or ""


def _content(element: Any) -> Any:
    """An element as JSON: its text, or its attributes (`@name`), children and text (`#text`, all pieces of it)."""
    found: dict[str, Any] = {
        f"@{_local(key)}": value for key, value in _attributes(element) if not key.startswith(_XSI)
    }
    texts = [(element.text or "") if not len(element) else (element.text or "").strip()]
    for child in element:
        name, value = _local(child.tag), _content(child)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], _Several):
            found[name].append(value)
        else:
            found[name] = _Several([found[name], value])
        texts.append((child.tail or "").strip())
    if not found:
        return texts[0]
    if texts := [text for text in texts if text]:
        found["#text"] = texts[0] if len(texts) == 1 else texts
    return found


def load_schema(path: Path, etree: Any) -> Any:
    """An XML schema from a file; ConfigurationError when it cannot be used, or would be fetched from elsewhere."""
    seen: set[Path] = set()

    def check(one: Path) -> None:
        if one in seen:
            return
        seen.add(one)
        text = one.read_bytes()
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise ConfigurationError(f"schema {one}", "declares a document type or entities.", "take them out.")
        for found in re.findall(rb"schemaLocation\s*=\s*[\"']([^\"']+)[\"']", text):
            place = found.decode("utf-8", "replace")
            if "://" in place:
                raise ConfigurationError(
                    f"schema {one}", f"refers to {place}, elsewhere.", "put that file beside it and refer to it there."
                )
            check((one.parent / place).resolve())

    try:
        check(path.resolve())
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        return etree.XMLSchema(etree.parse(str(path), parser))
    except (OSError, etree.LxmlError) as error:
        raise ConfigurationError(
            f"schema {path}", f"cannot be used: {error}.", "mend it, or the option xsd."
        ) from error
