"""From answers to the connection of a definition: what a protocol must know, and which of it is secret.

A secret never stands in a definition. One that is given in plain becomes `${SYSTEM_FIELD}`, and its value is handed
back apart, to be kept where secrets are (the environment, the secrets folder, the keyring).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from datong_platform import settings
from datong_platform.errors import ConfigurationError
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from datong_ingestion.systems_config import PROTOCOLS, Protocol

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)|secret|token|authori[sz]ation|cookie|signature|(api|access|private)_?-?key", re.IGNORECASE
)
_SPEAKING_OF_SECRETS = re.compile(r"(_name|_in|_param|_path|_url|_header|_seconds)$")
_USERINFO = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@\s]*:[^/@\s]*@", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """Something that a connection can say."""

    name: str
    """As in the definition; a part of a part is joined by a dot, as in `paging.style`."""
    required: bool
    secret: bool
    choices: tuple[str, ...] = ()
    default: Any = None
    within: str = ""
    """The part that it must be told for, if that part is told at all, as `oauth2` for `oauth2.token_url`."""


def protocols() -> list[Protocol]:
    """The protocols there are."""
    return list(PROTOCOLS)


def questions(protocol: Protocol) -> list[Question]:
    """Everything a protocol's connection can say, what it must say first."""
    found = list(_questions(PROTOCOLS[protocol].connection, ""))
    return sorted(found, key=lambda question: not question.required)


def _questions(model: type[BaseModel], before: str) -> list[Question]:
    found: list[Question] = []
    for name, item in model.model_fields.items():
        shown = f"{before}{item.alias or name}"
        inner = next(
            (one for one in _alternatives(item.annotation) if isinstance(one, type) and issubclass(one, BaseModel)),
            None,
        )
        if inner is not None:
            found += _questions(inner, f"{shown}.")
            continue
        choices = tuple(
            str(value)
            for one in _alternatives(item.annotation)
            if get_origin(one) is Literal
            for value in get_args(one)
        )
        default = None if item.is_required() else item.get_default(call_default_factory=True)
        needed = item.is_required()
        within = before.rstrip(".") if needed else ""
        found.append(Question(shown, needed and not before, _is_secret(name, item), choices, default, within))
    return found


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, UnionType):
        return [inner for one in get_args(annotation) for inner in _alternatives(one)]
    return [annotation]


def _is_secret(name: str, item: FieldInfo | None) -> bool:
    hidden = item is not None and item.repr is False
    return hidden or bool(_SECRET_NAME.search(name) and not _SPEAKING_OF_SECRETS.search(name))


@dataclass(frozen=True)
class Answers:
    """A connection without secrets, and the secrets that were in it."""

    connection: dict[str, Any]
    secrets: dict[str, str]
    """Values by the NAME of their `${NAME}`."""


def connection_of(system: str, protocol: Protocol, given: Mapping[str, str]) -> Answers:
    """The connection that answers come to; ConfigurationError for a field that the protocol does not have."""
    known = {question.name: question for question in questions(protocol)}
    free = sorted(
        (name for name, question in known.items() if isinstance(question.default, dict)), key=len, reverse=True
    )
    connection: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    for name, value in given.items():
        question = known.get(name)
        within = next((one for one in free if name.startswith(f"{one}.")), "")
        inner = name.removeprefix(f"{within}.")
        if question is None and not within:
            raise ConfigurationError(
                f"connection.{name}",
                f"is not something that protocol {protocol} knows.",
                f"choose from {', '.join(known)}.",
            )
        secret = question.secret if question else _is_secret(inner, None)
        text = value
        if (secret or _USERINFO.match(value)) and not settings.references(value):
            reference = re.sub(r"[^A-Z0-9]+", "_", f"{system}_{name}".upper())
            secrets[reference] = value
            text = f"${{{reference}}}"
        place = connection
        *path, last = name.split(".") if question else (*within.split("."), inner)
        for part in path:
            place = place.setdefault(part, {})
        place[last] = _typed(text, question)
    return Answers(connection, secrets)


def _typed(text: str, question: Question | None) -> Any:
    """An answer as YAML would read it, where the field is no text."""
    default = question.default if question else None
    if isinstance(default, bool):
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text)
    if isinstance(default, int | float) and re.fullmatch(r"-?\d+(\.\d+)?", text):
        return float(text) if "." in text else int(text)
    if isinstance(default, list | tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text
