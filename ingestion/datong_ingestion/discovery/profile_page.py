"""A profile as a page for people and as a table for Markdown readers (Dagster's metadata)."""

from __future__ import annotations

from typing import Any

from datong_platform import page
from datong_platform.page import Markup

from datong_ingestion.discovery.profile import EntityProfile, FieldProfile, KeyProfile, shown


def key_words(key: KeyProfile) -> str:
    """What a candidate key came to, in words."""
    if key.unique:
        return "unique" if key.compared else "no rows to compare"
    told = [f"{key.repeated:,} repeated" if key.repeated else "", f"{key.nulls:,} null" if key.nulls else ""]
    return ", ".join(part for part in told if part)


def rate(item: FieldProfile) -> str:
    """A field's null rate as a percentage; what is not none never reads as 0 %."""
    percent = item.null_rate * 100
    return "0 %" if not item.nulls else "< 0.1 %" if percent < 0.1 else f"{percent:.1f} %"


def distinct(item: FieldProfile) -> str:
    """A field's distinct values; an estimate is marked so."""
    return f"{'' if item.distinct_exact else '≈ '}{item.distinct:,}"


def said(value: Any) -> str:
    """A value for people; one that cannot be seen is named."""
    text = str(shown(value))
    return text if text.strip() else "(blank)"


def span(item: FieldProfile) -> str:
    """From the least to the greatest value."""
    if item.minimum is None:
        return ""
    low, high = said(item.minimum), said(item.maximum)
    return low if low == high else f"{low} … {high}"


def length(item: FieldProfile) -> str:
    """From the shortest to the longest text, in characters."""
    if item.longest is None:
        return ""
    return str(item.longest) if item.shortest == item.longest else f"{item.shortest} to {item.longest}"


def markdown(profile: EntityProfile) -> str:
    """The fields as a Markdown table. It holds no value of a text field: this goes where more people read it."""
    lines = ["| field | type | null | distinct | range | looks like |", "| --- | --- | --- | --- | --- | --- |"]
    for item in profile.fields:
        told = span(item) if item.longest is None else f"{length(item)} characters"
        name = item.name.replace("|", "\\|")
        lines.append(f"| {name} | {item.type} | {rate(item)} | {distinct(item)} | {told} | {item.looks_like} |")
    return "\n".join(lines)


def html(profile: EntityProfile, *, values: bool = True) -> str:
    """The profile as a page; without `values` it shows no value of the data."""
    facts = [
        ("rows read", profile.rows),
        ("fields", len(profile.fields)),
        ("rows with a value that does not fit", profile.rescued),
        ("not readable", profile.refused),
        ("seconds", f"{profile.seconds:.1f}"),
    ]
    body: list[Markup] = [page.facts(facts)]
    if not profile.complete:
        body.append(page.element("p", "Only the first rows were read: rates and keys hold for these.", class_="warn"))
    body += [page.element("p", note, class_="warn") for note in profile.notes]
    body.append(page.element("h2", "Keys"))
    if profile.keys:
        body.append(
            page.table(
                ["fields", "from", "verdict", "#rows compared"],
                [
                    (
                        page.joined([page.code(name) for name in key.fields], ", "),
                        "definition or metadata" if key.declared else "found in the rows",
                        page.mark(key_words(key), "good" if key.unique else "bad"),
                        key.compared,
                    )
                    for key in profile.keys
                ],
            )
        )
    else:
        body.append(page.element("p", "No field, and no two or three together, are unique and never null."))
    body.append(page.element("h2", "Fields"))
    columns = ["field", "type", "null", "#distinct", "length", "looks like"]
    columns += ["range", "most frequent"] if values else []
    body.append(page.table(columns, [_row(item, values=values) for item in profile.fields]))
    under = f"{profile.address} · read {profile.taken_at:%Y-%m-%d %H:%M} UTC"
    return page.document(f"{profile.system}.{profile.entity}", under, body)


def _row(item: FieldProfile, *, values: bool) -> list[str | Markup]:
    nulls = page.element("span", page.joined([page.bar(item.null_rate), rate(item)]), class_="line")
    if item.empty:
        nulls = page.joined([nulls, page.element("small", f" · {item.empty:,} blank")])
    found: list[str | Markup] = [page.code(item.name), page.code(item.type), nulls, distinct(item), length(item)]
    found.append(page.mark(item.looks_like, "warn") if item.looks_like else "")
    if values:
        mean = f" (mean {item.mean:,.6g})" if item.mean is not None else ""
        frequent = [
            page.joined([page.code(said(value)), page.element("small", f" {count:,}")])
            for value, count in item.frequent
        ]
        found += [f"{span(item)}{mean}", page.joined(frequent, ", ")]
    return found
