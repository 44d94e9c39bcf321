"""The data dictionary on the command line: written as a site, or listed."""

from __future__ import annotations

from pathlib import Path

from datong_platform import settings
from datong_platform.errors import ServiceError

from datong_infra.cli.output import Format, console, print_json, print_line


def dictionary(folder: Path | None, format_: Format) -> None:
    """Write the site; as JSON, print all that it holds."""
    from datong_assets import dictionary as dictionaries
    from datong_assets import dictionary_page

    with console(error=True).status("reading contracts and lineage"):
        found = dictionaries.dictionary(scores=_scores())
    first = dictionary_page.site(found, folder or settings.home() / "dictionary")
    if format_ is Format.json:
        print_json(found.as_dict() | {"page": str(first)})
        return
    fields = sum(len(table.fields) for table in found.tables)
    print_line(f"{len(found.tables)} tables, {fields} fields and {len(found.code_sets)} code lists, in two languages.")
    for note in found.notes:
        print_line(note, "yellow")
    print_line(f"Page: {first}")


def _scores() -> dict[str, float]:
    """The tables' quality scores; a dictionary is worth having without the lake, too."""
    from datong_platform.quality import scores

    try:
        return scores.overall()
    except ServiceError as error:
        console(error=True).print(f"Without quality scores: {error.reason} {error.next_step}")
        return {}
