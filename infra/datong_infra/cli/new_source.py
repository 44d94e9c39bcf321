"""`datong new source`: questions, a look at the source, a proposed definition. Every question has its option."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from datong_platform import names, settings
from datong_platform.errors import ConfigurationError, DatongError

from datong_infra.cli.output import Format, console, print_error, print_json, print_line, print_rows

if TYPE_CHECKING:
    from datong_ingestion.discovery.answers import Question
    from datong_ingestion.discovery.proposal import ProposedEntity
    from datong_ingestion.systems_config import Protocol

_ASKED = ("auth", "user", "password", "token", "schema")
"""What is asked of a connection besides what it must have; everything else by --connection."""
_ADDRESSES = {
    "sql": "tables as schema.table; public.* for all of a schema",
    "odata_v2": "entity sets as SERVICE/EntitySet; SERVICE/* for all of a service",
    "odata_v4": "entity sets; SERVICE/* for all of a service",
    "rest": "paths of lists, as /orders",
}


@dataclass(frozen=True)
class Asked:
    """The options of the command."""

    system: str | None
    protocol: str | None
    connection: Sequence[str]
    entities: Sequence[str]
    keys: Sequence[str]
    modes: Sequence[str]
    cursors: Sequence[str]
    options: Sequence[str]
    title: str | None
    title_zh: str | None
    owner: str | None
    folder: Path | None
    keep: str
    rows: int
    probe: bool
    yes: bool
    force: bool
    dry_run: bool
    format: Format


def new_source(asked: Asked) -> None:
    """Ask, look, propose, and write the definition."""
    from datong_ingestion.discovery import definition_text
    from datong_ingestion.discovery.proposal import Wishes, offered, propose
    from datong_platform.settings import DEFS

    system = names.word(asked.system or _ask(asked, "Name of the system, as in erp", "SYSTEM"), "system")
    if not asked.dry_run:
        definition_text.refuse_twice(system, asked.folder, replace=asked.force)
    protocol = _protocol(asked)
    given = _pairs(asked.connection, "--connection")
    content, secrets = _connection(asked, system, protocol, given)
    _keep(secrets, asked.keep, dry_run=asked.dry_run)
    title = asked.title if asked.title is not None else _optional(asked, "Title")
    texts = {"title": title, "title_zh": asked.title_zh, "owner": asked.owner or "team:integration"}
    content = {"system": system, **{name: text for name, text in texts.items() if text}, **content}
    chosen = _entities(asked, protocol)
    options = _options(asked, content, list(chosen))
    addresses = offered(content, list(chosen), options)
    addresses = _choose(asked, addresses)
    if protocol == "rest" and asked.probe:
        content = _with_shape(content, addresses[0])
    wishes = Wishes(
        names={address: name for address, name in chosen.items() if name},
        keys={name: [part.strip() for part in value.split(",")] for name, value in _pairs(asked.keys, "--key").items()},
        modes=_pairs(asked.modes, "--mode"),
        cursors=_pairs(asked.cursors, "--cursor"),
        options=options,
        probe=asked.probe,
        rows=asked.rows,
    )
    _unknown({*wishes.keys, *wishes.modes, *wishes.cursors}, addresses, chosen)
    proposal = propose(content, addresses, wishes, _teller())
    text = definition_text.definition(proposal)
    path = (asked.folder or DEFS) / system / "defs.yaml"
    if not asked.dry_run:
        if not asked.yes and asked.format is Format.table:
            print_line()
            typer.echo(text)
            typer.confirm(f"Write this to {path}?", default=True, abort=True, err=True)
        path = definition_text.write(proposal, asked.folder, replace=asked.force)
    _tell(asked, proposal, path, text, sorted(secrets))
    if proposal.left_out:
        raise typer.Exit(1)


def _with_shape(content: dict[str, Any], address: str) -> dict[str, Any]:
    """The attributes with what the first answer shows of rows and pages."""
    from datong_ingestion.discovery.json_shape import shape

    found, remarks = shape(content, address)
    for remark in remarks:
        console(error=True).print(f"  · {remark}", markup=False)
    return {**content, "connection": {**content["connection"], **found}}


def _tell(asked: Asked, proposal: Any, path: Path, text: str, secrets: list[str]) -> None:
    rows = [
        {
            "entity": entity.name,
            "source": entity.content["source"],
            "keys": ", ".join(entity.content.get("keys", [])),
            "mode": entity.content["mode"],
            "cursor": entity.content.get("cursor", ""),
            "fields": entity.fields,
            "rows_seen": entity.rows_seen,
        }
        for entity in proposal.entities
    ]
    if asked.format is Format.json:
        print_json(
            {
                "system": proposal.content["system"],
                "path": None if asked.dry_run else str(path),
                "definition": text,
                "secrets": secrets,
                "entities": [
                    row | {"remarks": entity.remarks} for row, entity in zip(rows, proposal.entities, strict=True)
                ],
                "left_out": [
                    {"address": address, "reason": error.reason, "next_step": error.next_step}
                    for address, error in proposal.left_out
                ],
            }
        )
        return
    if asked.dry_run:
        typer.echo(text)
    else:
        print_rows(rows, Format.table)
        system, first = proposal.content["system"], rows[0]["entity"]
        print_line(f"Written: {path}")
        print_line(f"Next: look through it; `datong preview {system} {first}`; `datong ingest {system}`.")
    for address, error in proposal.left_out:
        console(error=True).print(f"left out  {address}", style="yellow")
        print_error(error)


def _ask(asked: Asked, question: str, option: str, *, hidden: bool = False, choices: Sequence[str] = ()) -> str:
    """An answer from the terminal; with --yes there is none to be had, so the option is named."""
    if asked.yes:
        raise ConfigurationError("datong new source", f"needs {option}, and --yes means not to ask.", f"pass {option}.")
    if choices:
        question = f"{question} ({', '.join(choices)})"
    while True:
        answer = str(typer.prompt(question, hide_input=hidden, err=True)).strip()
        if not choices or answer in choices:
            return answer
        console(error=True).print(f"{answer!r} is none of them.")


def _optional(asked: Asked, question: str) -> str:
    return "" if asked.yes else str(typer.prompt(question, default="", show_default=False, err=True)).strip()


def _protocol(asked: Asked) -> Protocol:
    from datong_ingestion.discovery.answers import protocols

    known = protocols()
    name = asked.protocol or _ask(asked, "Protocol", "--protocol", choices=known)
    for protocol in known:
        if protocol == name:
            return protocol
    raise ConfigurationError(f"protocol {name}", "is not known.", f"choose from {', '.join(known)}.")


def _connection(
    asked: Asked, system: str, protocol: Protocol, given: dict[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Protocol and connection as attributes, and the secrets that were given in plain."""
    from datong_ingestion.discovery.answers import connection_of, questions
    from datong_ingestion.discovery.proposal import seed
    from datong_ingestion.systems_config import parse_system

    known = {question.name: question for question in questions(protocol)}
    answers = dict(given)
    if asked.yes:
        for name, question in known.items():
            if question.required and name not in answers:
                _ask(asked, "", f"--connection {name}=…")
    else:
        _interview(asked, protocol, known, answers)
    while True:
        found = connection_of(system, protocol, answers)
        content: dict[str, Any] = {"protocol": protocol, "connection": found.connection}
        try:
            parse_system({"system": system, **content, "entities": [seed(protocol, "any", "any", {})]})
        except ConfigurationError as error:
            # what only this protocol's entities must say is told when they are looked at
            if "connection" not in error.reason:
                return content, found.secrets
            if asked.yes:
                raise
            print_error(error)
            name, _, value = _ask(asked, "NAME=VALUE of the connection", "--connection").partition("=")
            answers[name.strip()] = value.strip()
        else:
            return content, found.secrets


def _interview(asked: Asked, protocol: str, known: Mapping[str, Question], answers: dict[str, str]) -> None:
    """Ask what was not answered by options: what a profile needs, else what the connection must have and log-ins."""
    from datong_ingestion.discovery.answers import Question

    if "profile" in known and "profile" not in answers:
        _profile(protocol, answers)
    if answers.get("profile"):
        for name in _of_profile(answers, known):
            if name not in answers:
                _question(asked, known.get(name) or Question(name, required=True, secret=False), answers)
        return
    for name, question in known.items():
        part = question.within and question.within == answers.get("auth")
        if name not in answers and (question.required or name in _ASKED or part):
            _question(asked, question, answers)


def _profile(protocol: str, answers: dict[str, str]) -> None:
    """Whether it is a system whose particulars are known."""
    from datong_ingestion import systems

    while there := systems.of_protocol(protocol):
        words = f"Is it one of these systems ({', '.join(there)}; empty: none)"
        answer = str(typer.prompt(words, default="", show_default=False, err=True)).strip()
        if answer in {"", *there}:
            answers |= {"profile": answer} if answer else {}
            return
        console(error=True).print(f"{answer!r} is none of them.", markup=False)


def _of_profile(answers: dict[str, str], known: Mapping[str, Question]) -> list[str]:
    """What the chosen profile needs, a part of several fields as these."""
    from datong_ingestion import systems

    if not answers.get("profile"):
        return []
    needed = systems.needs(answers["profile"])
    parts = {question.within for question in known.values() if question.within}
    return [
        inner
        for name in needed
        for inner in ([one.name for one in known.values() if one.within == name] if name in parts else [name])
    ]


def _question(asked: Asked, question: Question, answers: dict[str, str]) -> None:
    """Ask one question; what does not matter after the answers before it is left out."""
    auth = answers.get("auth")
    needed = {
        "basic": ("user", "password"),
        "bearer": ("token",),
        "api_key": ("token",),
        "session": ("user", "password"),
    }
    credential = question.name in ("user", "password", "token") and not answers.get("profile")
    if credential and auth and question.name not in needed.get(auth, ()):
        return
    if credential and question.name == "password" and not auth and not answers.get("user"):
        return
    words = f"{question.name}"
    if question.choices:
        answers[question.name] = _ask(asked, words, f"--connection {question.name}=…", choices=question.choices)
        return
    if question.secret:
        words += " (not shown; or ${NAME})"
    elif not (question.required or question.within):
        words += f" (empty: {question.default or 'none'})"
    if question.required or question.within or (question.secret and (auth in needed or answers.get("profile"))):
        answers[question.name] = _ask(asked, words, f"--connection {question.name}=…", hidden=question.secret)
        return
    if answer := str(typer.prompt(words, default="", show_default=False, hide_input=question.secret, err=True)).strip():
        answers[question.name] = answer


def _keep(secrets: Mapping[str, str], where: str, *, dry_run: bool) -> None:
    """Put secrets that were given in plain where secrets are, and let this run use them; a dry run keeps none."""
    for name, value in secrets.items():
        if dry_run:
            settings.export(name, value)
        elif where == "none":
            settings.export(name, value)
            console(error=True).print(f"{name} is kept nowhere: set it wherever datong runs.", markup=False)
        else:
            place = settings.keep_value(name, value, in_keyring=where == "keyring")
            console(error=True).print(f"{name} is kept in {place}", markup=False)


def _entities(asked: Asked, protocol: str) -> dict[str, str]:
    """Addresses and patterns, each with its name where one was given (NAME=ADDRESS)."""
    texts = list(asked.entities)
    if not texts:
        hint = _ADDRESSES.get(protocol, f"as the guide of {protocol} says; a pattern with * takes what is offered")
        texts = [part.strip() for part in _ask(asked, f"Entities ({hint}), with commas", "--entity").split(",")]
    found: dict[str, str] = {}
    for text in filter(None, texts):
        name, separator, address = text.partition("=")
        named = bool(separator) and name.replace("_", "").isalnum() and name == name.lower()
        found[address if named else text] = names.word(name, "entity") if named else ""
    return found


def _options(asked: Asked, content: Mapping[str, Any], addresses: Sequence[str]) -> dict[str, Any]:
    """What every entity says in this protocol, asked for where it must be said."""
    from datong_ingestion.discovery.proposal import seed
    from datong_ingestion.systems_config import parse_system

    given = _pairs(asked.options, "--option")
    while True:
        options = _nested(given)
        entities = [
            seed(content["protocol"], f"entity_{at}", address, options) for at, address in enumerate(addresses, 1)
        ]
        try:
            parse_system({**content, "entities": entities})
        except ConfigurationError as error:
            if ".options." not in error.reason:
                raise
            told = re.sub(r"entities\.\d+\.options\.", "option ", error.reason)
            missing = ConfigurationError(
                error.thing, told, f"pass --option NAME=VALUE, as the guide of {content['protocol']} says."
            )
            if asked.yes:
                raise missing from error
            print_error(missing)
            name, _, value = _ask(asked, "NAME=VALUE for every entity", "--option").partition("=")
            given[name.strip()] = value.strip()
        else:
            return options


def _choose(asked: Asked, addresses: list[str]) -> list[str]:
    """All of what matches, or those that somebody chooses by number."""
    if asked.yes or len(addresses) < 2:
        return addresses
    out = console(error=True)
    for number, address in enumerate(addresses, 1):
        out.print(f"{number:4}  {address}", markup=False)
    while True:
        answer = str(
            typer.prompt("Which (numbers with commas, 3-7; empty for all)", default="", show_default=False, err=True)
        )
        chosen = _numbers(answer, len(addresses))
        if chosen is not None:
            return [addresses[number - 1] for number in chosen] or addresses
        out.print(f"Write numbers from 1 to {len(addresses)}.")


def _numbers(text: str, most: int) -> list[int] | None:
    found: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, _, last = part.partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            return None
        found += range(int(first), int(last or first) + 1)
    return found if all(1 <= number <= most for number in found) else None


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
        found[name] = value
    return found


def _nested(pairs: Mapping[str, str]) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = {}
    for name, value in pairs.items():
        place = found
        *path, last = name.split(".")
        for part in path:
            place = place.setdefault(part, {})
        # YAML would make a mapping of a placeholder, as {offset}, and nothing of signs, as the delimiters | and #
        is_text = re.fullmatch(r"\{\w+\}|[^\w\[\]{}\"']+", value)
        place[last] = value if is_text else yaml.safe_load(value)
    return found


def _unknown(wishes: set[str], addresses: Sequence[str], chosen: Mapping[str, str]) -> None:
    """A wish for an entity that is not there is a slip, and must not be overheard."""
    from datong_ingestion.discovery.proposal import entity_name

    known = {*addresses, *(entity_name(address) for address in addresses), *filter(None, chosen.values())}
    if wrong := [
        name for name in sorted(wishes) if name not in known and name.rstrip("0123456789").rstrip("_") not in known
    ]:
        raise ConfigurationError(
            f"entity {', '.join(wrong)}", "is not among the entities.", f"choose from {', '.join(sorted(known))}."
        )


def _teller() -> Any:
    out = console(error=True)

    def tell(address: str, found: ProposedEntity | DatongError) -> None:
        if isinstance(found, DatongError):
            out.print(f"  ✗ {address}  {found.reason}", style="red", markup=False)
        else:
            how = f"{found.content['mode']} {found.content.get('cursor', '')}".strip()
            out.print(f"  ✓ {address}  {found.fields} fields, {found.rows_seen:,} rows seen, {how}", markup=False)

    return tell
