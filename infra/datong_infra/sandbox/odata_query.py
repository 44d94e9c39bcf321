"""OData v2 system query options, read into SQL: $filter, $orderby, $select, $expand, and keys in brackets.

The grammar is that of OData 2.0, section 4 (URI conventions): eq ne gt ge lt le, and or not, brackets, the functions
substringof, startswith and endswith, and typed literals ('text', 1.5M, 12L, datetime'…', datetimeoffset'…', time'…',
true, false, null). Whatever cannot be read raises ODataError with SAP's own kind of message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from datong_infra.sandbox.model import MILLI, EntitySet, Field

_TOKEN = re.compile(
    r"\s*(?:(?P<open>\()|(?P<close>\))|(?P<comma>,)"
    r"|(?P<typed>(?:datetimeoffset|datetime|time|guid)'[^']*')"
    r"|(?P<string>'(?:[^']|'')*')"
    r"|(?P<number>-?\d+(?:\.\d+)?[MmLlDdFf]?)(?![\w])"
    r"|(?P<name>[A-Za-z_][\w/]*))"
)
_COMPARE = {"eq": "=", "ne": "<>", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_FUNCTIONS = {"substringof", "startswith", "endswith"}
_TIME = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?\Z")


class ODataError(Exception):
    """An answer that is an error: HTTP status, SAP message code, text."""

    def __init__(self, status: int, code: str, message: str, *, target: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.target = target


def _unreadable(text: str) -> ODataError:
    return ODataError(400, "/IWCOR/CX_OD_EXPR_PARSE_ERROR/001", f"Syntax error in query option: {text}")


def literal(text: str) -> Any:
    """The value of a typed literal: str, Decimal, bool, None, or an int of milliseconds (times: seconds)."""
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if text in {"true", "false"}:
        return text == "true"
    if text == "null":
        return None
    kind, quote, body = text.partition("'")
    if quote:
        return time_seconds(body[:-1]) if kind == "time" else moment_ms(body[:-1])
    try:
        return Decimal(text.rstrip("MmLlDdFf"))
    except InvalidOperation:
        raise _unreadable(text) from None


def moment_ms(text: str) -> int:
    """Milliseconds UTC of an ISO date and time; one without a zone is taken as UTC, as SAP does."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ODataError(400, "/IWCOR/CX_DS_EDM_FACET_ERROR/001", f"Invalid date and time literal '{text}'") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def time_seconds(text: str) -> int:
    """Seconds of an Edm.Time literal such as PT13H05M00S."""
    match = _TIME.match(text)
    if not match:
        raise ODataError(400, "/IWCOR/CX_DS_EDM_FACET_ERROR/001", f"Invalid time literal '{text}'")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def stored(field: Field, value: Any) -> Any:
    """A literal's value as the store holds it in this field; ODataError when the types do not agree."""
    if value is None:
        return None
    expected = {"S": str, "N": Decimal, "B": bool, "D": int, "O": int, "T": int}[field.kind]
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ODataError(
            400,
            "/IWCOR/CX_OD_EXPR_TYPE_ERROR/001",
            f"Invalid parametertype used at function: property '{field.name}' is {field.edm}",
        )
    if isinstance(value, Decimal):
        return int(value * MILLI)
    return int(value) if isinstance(value, bool) else value


class _Filter:
    """A recursive descent over the tokens of one $filter; `sql` and `values` are its result."""

    def __init__(self, entity: EntitySet, text: str) -> None:
        self.entity = entity
        self.text = text
        self.tokens = list(_tokens(text))
        self.at = 0
        self.values: list[Any] = []
        self.sql = self._or()
        if self.at != len(self.tokens):
            raise _unreadable(text)

    def _peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def _next(self, kind: str | None = None) -> tuple[str, str]:
        token = self._peek()
        if token[0] == "end" or (kind and token[0] != kind):
            raise _unreadable(self.text)
        self.at += 1
        return token

    def _or(self) -> str:
        parts = [self._and()]
        while self._peek() == ("name", "or"):
            self._next()
            parts.append(self._and())
        return f"({' or '.join(parts)})" if len(parts) > 1 else parts[0]

    def _and(self) -> str:
        parts = [self._unary()]
        while self._peek() == ("name", "and"):
            self._next()
            parts.append(self._unary())
        return f"({' and '.join(parts)})" if len(parts) > 1 else parts[0]

    def _unary(self) -> str:
        if self._peek() == ("name", "not"):
            self._next()
            return f"not ({self._unary()})"
        if self._peek()[0] == "open":
            self._next()
            inner = self._or()
            self._next("close")
            return f"({inner})"
        kind, text = self._peek()
        if kind == "name" and text in _FUNCTIONS:
            sql = self._function()
            if self._peek() in {("name", "eq"), ("name", "ne")}:
                _, operator = self._next()
                _, answer = self._next("name")
                if answer not in {"true", "false"}:
                    raise _unreadable(self.text)
                return sql if (answer == "true") == (operator == "eq") else f"not ({sql})"
            return sql
        return self._comparison()

    def _function(self) -> str:
        _, name = self._next()
        self._next("open")
        first = self._next()
        self._next("comma")
        second = self._next()
        self._next("close")
        needle, column = (first, second) if name == "substringof" else (second, first)
        if needle[0] != "string" or column[0] != "name":
            raise _unreadable(self.text)
        field = property_of(self.entity, column[1])
        if field.kind != "S":
            raise ODataError(
                400, "/IWCOR/CX_OD_EXPR_TYPE_ERROR/001", f"Function {name} needs a string, '{field.name}' is not"
            )
        value = literal(needle[1])
        self.values.append(value)
        if name == "substringof":
            return f'instr("{field.name}", ?) > 0'
        self.values.append(len(value))
        self.values[-2:] = [len(value), value]
        if name == "startswith":
            return f'substr("{field.name}", 1, ?) = ?'
        self.values[-2:] = [len(value), value, len(value)]
        return f'(substr("{field.name}", -max(?, 1)) = ? or ? = 0)'

    def _comparison(self) -> str:
        left = self._next()
        _, operator = self._next("name")
        right = self._next()
        if operator not in _COMPARE:
            raise _unreadable(self.text)
        if left[0] != "name" or left[1] in {"true", "false", "null"}:
            left, right = right, left
            operator = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}.get(operator, operator)
        if left[0] != "name":
            raise _unreadable(self.text)
        field = property_of(self.entity, left[1])
        value = stored(field, literal(right[1]) if right[0] != "name" or _is_word(right[1]) else _fail(self.text))
        if value is None:
            return f'"{field.name}" is {"" if operator == "eq" else "not "}null'
        self.values.append(value)
        return f'"{field.name}" {_COMPARE[operator]} ?'


def _is_word(text: str) -> bool:
    return text in {"true", "false", "null"}


def _fail(text: str) -> Any:
    raise _unreadable(text)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if not match or not match.lastgroup:
            raise _unreadable(text)
        yield match.lastgroup, match[match.lastgroup]
        at = match.end()


def property_of(entity: EntitySet, name: str) -> Field:
    """The property `name`; ODataError as SAP words it when the entity has none."""
    field = entity.fields.get(name)
    if field is None:
        raise ODataError(
            400,
            "/IWBEP/CM_MGW_RT/021",
            f"Property {name} not found in type {entity.service}.{entity.type_name}",
            target=name,
        )
    return field


def where(entity: EntitySet, text: str | None) -> tuple[str, list[Any]]:
    """A $filter as an SQL condition and its values; `1` when there is none."""
    if not text:
        return "1", []
    parsed = _Filter(entity, text)
    return parsed.sql, parsed.values


def order_by(entity: EntitySet, text: str | None) -> str:
    """An $orderby as SQL, the key last so that pages never overlap; empty when there is none."""
    if not text:
        return ""
    parts: list[str] = []
    for part in text.split(","):
        name, _, direction = part.strip().partition(" ")
        if direction.strip() not in {"", "asc", "desc"}:
            raise _unreadable(text)
        parts.append(f'"{property_of(entity, name).name}" {direction.strip() or "asc"}')
    return ", ".join([*parts, *(f'"{k}"' for k in entity.keys)])


def selection(entity: EntitySet, text: str | None) -> tuple[list[Field], dict[str, list[str]] | None]:
    """A $select: the entity's own fields, and what is selected of each navigation (None: everything)."""
    if not text or text.strip() == "*":
        return list(entity.fields.values()), None
    own: dict[str, Field] = {}
    within: dict[str, list[str]] = {}
    for part in text.split(","):
        name, _, inner = part.strip().partition("/")
        if entity.navigation(name):
            within.setdefault(name, [])
            if inner:
                within[name].append(inner)
        else:
            own[name] = property_of(entity, name)
    return list(own.values()), within


def key_of(entity: EntitySet, text: str) -> tuple[str, ...]:
    """The key values in `('1')` or `(A='1',B='2')`; ODataError when names are missing or wrong."""
    pairs = re.findall(r"(?:([A-Za-z_]\w*)=)?('(?:[^']|'')*')(?:,|$)", text)
    given = {name or (entity.keys[0] if len(entity.keys) == 1 else ""): literal(value) for name, value in pairs}
    if set(given) != set(entity.keys):
        raise ODataError(
            400, "/IWBEP/CM_MGW_RT/008", f"Invalid key predicate type for {entity.name}: {', '.join(entity.keys)}"
        )
    return tuple(given[k] for k in entity.keys)


def whole_number(options: dict[str, str], name: str) -> int | None:
    """The non-negative whole number of an option, or None when it is not there."""
    text = options.get(name)
    if text is None:
        return None
    if not text.isdigit():
        raise ODataError(400, "/IWBEP/CM_MGW_RT/016", f"Invalid system query option value for {name}: '{text}'")
    return int(text)


def known_options(options: Sequence[str]) -> None:
    """ODataError for a system query option that does not exist."""
    for name in options:
        if name.startswith("$") and name not in _OPTIONS:
            raise ODataError(400, "/IWBEP/CM_MGW_RT/017", f"Invalid system query option specified: {name}")


_OPTIONS = frozenset(
    {"$filter", "$select", "$expand", "$orderby", "$top", "$skip", "$inlinecount", "$format", "$skiptoken"}
)
