"""The data dictionary for people: pages in Chinese and English that search in themselves, without any network.

`site` writes them as files; the desk serves the same pages in its own frame. Links between pages are relative, so both
work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datong_platform import page
from datong_platform.page import Lang, Markup
from datong_platform.standard.terms import Term

from datong_assets import drawing
from datong_assets.dictionary import (
    LAYERS,
    CodeSet,
    Dictionary,
    FieldEntry,
    Link,
    RuleEntry,
    TableEntry,
)

INDEX, CODES, TERMS = "index.html", "codes.html", "terms.html"
SCRIPT, WORDS = "search.js", "words.js"
"""The search, and what it searches in."""
_LANGUAGES: tuple[Lang, ...] = ("en", "zh")
_LAYERS = {"silver": ("Conformed", "标准层"), "gold": ("Facts and dimensions", "主题层"), "serve": ("Public", "服务层")}
_CLASSES = {
    "public": "公开",
    "general": "一般",
    "personal": "个人信息",
    "sensitive_personal": "敏感个人信息",
    "important": "重要",
    "core": "核心",
}
_ROLES = {"key": "主键", "required": "必填", "unique": "唯一"}
_ON_FAILURE = {
    "withhold": ("withholds the row", "拦截整行", "bad"),
    "empty": ("empties the field", "字段置空", "warn"),
    "warn": ("is reported", "仅报告", "soft"),
}
_WIDTH, _BOX, _GAP, _MOST = 1180, 300, 12, 12

Say = Callable[[str, str], str]


@dataclass(frozen=True)
class Content:
    """A page without its frame."""

    title: str
    under: Markup
    body: list[Markup]


def names(dictionary: Dictionary) -> list[str]:
    """The names of all pages."""
    sets = [_code_page(code_set.name) for code_set in dictionary.code_sets]
    return [INDEX, CODES, TERMS, *(f"{table.name}.html" for table in dictionary.tables), *sets]


def content(dictionary: Dictionary, name: str, lang: Lang) -> Content | None:
    """One page; None when there is none of this name."""
    t = _say(lang)
    if name == INDEX:
        return _index(dictionary, t)
    if name == CODES:
        return _codes(dictionary, t)
    if name == TERMS:
        return _terms(dictionary, t)
    stem = name.removesuffix(".html")
    if table := dictionary.by_name.get(stem):
        return _table(dictionary, table, t)
    for code_set in dictionary.code_sets:
        if _code_page(code_set.name) == name:
            return _code_set(code_set, t)
    return None


def site(dictionary: Dictionary, folder: Path) -> Path:
    """Write all pages in both languages below `folder`; the page to open first. Pages of tables that are gone go."""
    for lang in _LANGUAGES:
        below = folder / lang
        below.mkdir(parents=True, exist_ok=True)
        wanted = names(dictionary)
        for name in wanted:
            found = content(dictionary, name, lang)
            if found:
                text = page.document(
                    found.title, found.under, found.body, lang=lang, top=_top(name, lang), scripts=[WORDS, SCRIPT]
                )
                (below / name).write_text(text, encoding="utf-8")
        (below / SCRIPT).write_text(script(), encoding="utf-8")
        (below / WORDS).write_text(words(dictionary, lang), encoding="utf-8")
        for old in below.glob("*.html"):
            if old.name not in wanted:
                old.unlink()
    first = folder / INDEX
    first.write_text(
        '<!doctype html><meta charset="utf-8"><title>Datong</title>'
        '<meta http-equiv="refresh" content="0; url=zh/index.html">'
        '<p><a href="zh/index.html">数据字典</a> · <a href="en/index.html">Data dictionary</a></p>\n',
        encoding="utf-8",
    )
    return first


def _top(name: str, lang: Lang) -> Markup:
    other: Lang = "en" if lang == "zh" else "zh"
    parts = [
        page.link(INDEX, "打通数据字典" if lang == "zh" else "Datong data dictionary", class_="brand"),
        page.link(TERMS, "术语" if lang == "zh" else "Glossary"),
        page.link(CODES, "代码" if lang == "zh" else "Codes"),
        page.element("span", page.link(f"../{other}/{name}", "English" if other == "en" else "中文"), class_="rest"),
    ]
    return page.element("nav", page.joined(parts), class_="top")


def script() -> str:
    """The search as JavaScript."""
    return Path(__file__).with_name("dictionary_search.js").read_text(encoding="utf-8")


def words(dictionary: Dictionary, lang: Lang) -> str:
    """What the search searches in, as JavaScript: page, name, titles in both languages, what it is, what it means."""
    t = _say(lang)
    kinds = {
        "table": t("table", "表"),
        "field": t("field", "字段"),
        "code": t("code", "代码"),
        "term": t("term", "术语"),
    }
    rows = [
        [
            f"{TERMS}#{term.name}",
            " · ".join((*term.synonyms, *term.synonyms_zh)),
            term.title,
            term.title_zh,
            kinds["term"],
            t(term.definition, term.definition_zh),
        ]
        for term in dictionary.terms
    ]
    for table in dictionary.tables:
        rows.append([f"{table.name}.html", table.name, table.title, table.title_zh, kinds["table"], _said(table, t)])
        rows += [
            [
                f"{table.name}.html#{column.name}",
                f"{table.name}.{column.name}",
                column.title,
                column.title_zh,
                kinds["field"],
                _said(column, t),
            ]
            for column in table.fields
            if not column.name.startswith("_")
        ]
    for code_set in dictionary.code_sets:
        for code in code_set.codes:
            called = " ".join(f"{system} {one}" for system, ones in code.systems.items() for one in ones)
            rows.append(
                [
                    f"{_code_page(code_set.name)}#{code.code}",
                    f"{code_set.name} {code.code}",
                    code.title,
                    code.title_zh,
                    kinds["code"],
                    called,
                ]
            )
    return f"window.datongWords = {json.dumps(rows, ensure_ascii=False, separators=(',', ':'))};\n".replace(
        "</", "<\\/"
    )


def _say(lang: Lang) -> Say:
    return lambda en, zh: zh if lang == "zh" else en


def _search(t: Say) -> Markup:
    box = page.element(
        "input",
        type="search",
        id="search",
        placeholder=t("Search a table, a field, a code, in English or Chinese", "搜索表、字段、代码，中英文均可"),
        aria_label=t("Search", "搜索"),
        size="60",
        autocomplete="off",
        data_none=t("Nothing is called so.", "没有匹配的内容。"),
    )
    return page.joined(
        [page.element("div", box, class_="filters"), page.element("div", "", id="found", aria_live="polite")]
    )


def _index(dictionary: Dictionary, t: Say) -> Content:
    fields = sum(len(table.fields) for table in dictionary.tables)
    body = [_search(t), *(page.element("p", note, class_="warn") for note in dictionary.notes)]
    measured = any(table.score is not None for table in dictionary.tables)
    for layer in LAYERS:
        tables = [table for table in dictionary.tables if table.layer == layer]
        if not tables:
            continue
        body.append(page.element("h2", page.joined([f"{t(*_LAYERS[layer])} ", page.code(layer)])))
        columns = [t("table", "表"), t("Chinese", "英文"), t("what it holds", "说明"), t("owner", "负责人")]
        columns += ["#" + t("fields", "字段数"), *([t("quality", "质量")] if measured else [])]
        body.append(page.table(columns, [_row(table, t, measured=measured) for table in tables]))
    body.append(page.element("h2", t("Glossary", "业务术语")))
    body.append(page.element("p", page.joined([_term(term, t) for term in dictionary.terms], " · ")))
    body.append(page.element("h2", t("Codes, units, currencies", "代码、单位、货币")))
    body.append(_sets(dictionary, t))
    under = t(
        f"{len(dictionary.tables)} tables, {fields} fields, {len(dictionary.code_sets)} code lists, "
        f"{len(dictionary.terms)} terms. Generated from the contracts.",
        f"{len(dictionary.tables)} 张表，{fields} 个字段，{len(dictionary.code_sets)} 个代码集，"
        f"{len(dictionary.terms)} 个术语。由数据合约生成。",
    )
    return Content(t("Data dictionary", "数据字典"), page.text(under), body)


def _said(entry: TableEntry | FieldEntry, t: Say) -> str:
    return t(entry.description, entry.description_zh or entry.description)


def _row(table: TableEntry, t: Say, *, measured: bool) -> Sequence[Any]:
    to = page.link(f"{table.name}.html", t(table.title, table.title_zh))
    name = page.element("div", page.joined([to, Markup("<br>"), page.code(table.name)]), class_="line")
    told = (name, t(table.title_zh, table.title), page.prose(_said(table, t)), table.owner, len(table.fields))
    return (*told, _score(table.score)) if measured else told


def _score(score: float | None) -> Markup:
    if score is None:
        return Markup("")
    # never rounded up to a perfection that is not there
    shown = f"{int(score * 1000) / 10:.1f} %"
    return page.joined([page.bar(score), page.element("span", shown, class_="line")])


def _term(term: Term, t: Say) -> Markup:
    return page.link(f"{TERMS}#{term.name}", t(term.title, term.title_zh))


def _terms(dictionary: Dictionary, t: Say) -> Content:
    """The glossary: what each word means, how a metric is made, and which columns hold it."""
    body = [_search(t)]
    by_name = {term.name: term for term in dictionary.terms}
    for term in dictionary.terms:
        head = [t(term.title, term.title_zh), " ", page.element("small", t(term.title_zh, term.title))]
        head += [" ", page.mark(t("metric", "指标"), "good")] if term.kind == "metric" else []
        body.append(page.element("h2", page.joined(head), id=term.name))
        body.append(page.element("p", t(term.definition, term.definition_zh)))
        synonyms = (*term.synonyms, *term.synonyms_zh) if t("en", "zh") == "en" else (*term.synonyms_zh, *term.synonyms)
        held = [
            page.link(_of_field(name), page.code(name, long=True))
            for name in term.fields
            if name.rpartition(".")[0] in dictionary.by_name
        ]
        said = [
            (t("formula", "公式"), t(term.formula, term.formula_zh)),
            (t("unit", "单位"), t(term.unit, term.unit_zh)),
            (t("also called", "又称"), ", ".join(synonyms)),
            (t("owner", "负责人"), term.owner),
            (t("defined by", "依据"), term.source),
            (t("held by", "字段"), page.joined(held, ", ") if held else ""),
            (
                t("see also", "参见"),
                page.joined([_term(by_name[other], t) for other in term.see_also if other in by_name], ", ")
                if term.see_also
                else "",
            ),
        ]
        lines = (page.joined([page.element("b", t(f"{name}: ", f"{name}：")), value]) for name, value in said if value)
        body.append(page.element("ul", page.joined(page.element("li", line) for line in lines)))
    metrics = sum(term.kind == "metric" for term in dictionary.terms)
    under = t(
        f"What words mean here: {len(dictionary.terms)} terms, {metrics} of them metrics with their formula.",
        f"业务词语的统一含义：{len(dictionary.terms)} 个术语，其中 {metrics} 个为带公式的指标。",
    )
    return Content(t("Glossary", "业务术语"), page.text(under), body)


def _codes(dictionary: Dictionary, t: Say) -> Content:
    under = t("What a coded field may hold, and what each system calls it.", "代码字段的取值，以及各系统的叫法。")
    return Content(
        t("Codes, units, currencies", "代码、单位、货币"), page.text(under), [_search(t), _sets(dictionary, t)]
    )


def _sets(dictionary: Dictionary, t: Say) -> Markup:
    rows = [
        (
            page.link(_code_page(code_set.name), page.code(code_set.name)),
            len(code_set.codes),
            ", ".join(t(code.title, code.title_zh) for code in code_set.codes[:8])
            + (" …" if len(code_set.codes) > 8 else ""),
            len(code_set.used_by),
        )
        for code_set in dictionary.code_sets
    ]
    return page.table(
        [t("code list", "代码集"), "#" + t("codes", "代码数"), t("such as", "例如"), "#" + t("fields", "使用字段数")],
        rows,
    )


def _code_page(name: str) -> str:
    return f"codes.{name}.html"


def _code_set(code_set: CodeSet, t: Say) -> Content:
    systems = sorted({system for code in code_set.codes for system in code.systems})
    dated = any(code.valid for code in code_set.codes)
    noted = any(code.note for code in code_set.codes)
    columns = [t("code", "代码"), t("meaning", "含义"), t("中文", "English")]
    columns += [t("more", "备注")] if noted else []
    columns += [t("valid", "有效期")] if dated else []
    columns += [t(f"in {system}", f"{system} 中") for system in systems]
    rows: list[list[Any]] = []
    for code in code_set.codes:
        row: list[Any] = [
            page.element("span", page.code(code.code), id=code.code),
            t(code.title, code.title_zh),
            t(code.title_zh, code.title),
        ]
        row += [code.note] if noted else []
        row += [code.valid] if dated else []
        row += [page.joined([page.code(one) for one in code.systems.get(system, ())], ", ") for system in systems]
        rows.append(row)
    used = page.joined([page.link(f"{_of_field(one)}", page.code(one, long=True)) for one in code_set.used_by], ", ")
    body = [
        page.table(columns, rows),
        page.element("h2", t("Fields that hold it", "使用它的字段")),
        page.element("p", used),
    ]
    under = page.joined([page.link(CODES, t("Codes", "代码")), f" · {len(code_set.codes)} ", t("codes", "个代码")])
    return Content(code_set.name.replace("_", " "), under, body)


def _of_field(name: str) -> str:
    table, _, column = name.rpartition(".")
    return f"{table}.html#{column}"


def _table(dictionary: Dictionary, table: TableEntry, t: Say) -> Content:
    said = [
        (t("layer", "层"), t(*_LAYERS[table.layer])),
        (t("fields", "字段"), len(table.fields)),
        (t("owner", "负责人"), table.owner),
        (t("domain", "业务域"), table.domain),
        (t("contract", "合约版本"), table.version),
        (
            t("at most behind", "时效"),
            t(f"{table.freshness_hours:g} h", f"{table.freshness_hours:g} 小时") if table.freshness_hours else "",
        ),
        (t("kept for", "保留"), _span(table.retention_days, t)),
        (t("quality", "质量"), _score(table.score)),
    ]
    body: list[Markup] = [page.element("p", page.prose(_said(table, t)))]
    if table.grain:
        grain = table.grain[:1].upper() + table.grain[1:].rstrip(".") + "."
        grain_zh = f"{table.grain_zh.rstrip('。')}。" if table.grain_zh not in ("", table.grain) else grain
        body.append(page.element("p", page.joined([page.element("b", t("Grain: ", "粒度：")), t(grain, grain_zh)])))
    body.append(page.facts([(name, value) for name, value in said if value not in ("", None)]))
    body += [page.element("h2", t("Fields", "字段")), _fields(dictionary, table, t), _legend(t)]
    if table.rules:
        body += [page.element("h2", t("Rules of the whole row", "整行规则")), page.element("p", _rules(table.rules, t))]
    body += [page.element("h2", t("Lineage", "血缘")), _lineage(dictionary, table, t)]
    if table.origins:
        systems = [
            page.joined([page.element("b", system), f": {', '.join(entities)}"])
            for system, entities in table.origins.items()
        ]
        body.append(page.element("p", page.joined([t("Made in the end of ", "最终来自 "), page.joined(systems, "; ")])))
    if table.contract:
        body.append(
            page.element(
                "p", page.joined([t("Contract: ", "合约："), page.code(table.contract, long=True)]), class_="soft"
            )
        )
    under = page.joined(
        [
            page.link(INDEX, t("Data dictionary", "数据字典")),
            " · ",
            page.code(table.name),
            " · ",
            t(table.title_zh, table.title),
        ]
    )
    return Content(t(table.title, table.title_zh), under, body)


def _span(days: int | None, t: Say) -> str:
    if days is None:
        return ""
    return t(f"{days // 365} years", f"{days // 365} 年") if days >= 365 else t(f"{days} days", f"{days} 天")


def _fields(dictionary: Dictionary, table: TableEntry, t: Say) -> Markup:
    rows = [_field(dictionary, table, column, t) for column in table.fields]
    return page.table(
        [
            t("field", "字段"),
            t("type", "类型"),
            t("meaning", "含义"),
            t("values", "取值"),
            t("rules", "规则"),
            t("protection", "分级"),
        ],
        rows,
    )


def _legend(t: Say) -> Markup:
    """What the colours of rules mean."""
    parts = [page.element("span", t(words, zh), class_=tone) for words, zh, tone in _ON_FAILURE.values()]
    return page.element("small", page.joined([t("A broken rule: ", "违反规则时："), page.joined(parts, " · ")]))


def _field(dictionary: Dictionary, table: TableEntry, column: FieldEntry, t: Say) -> Sequence[Any]:
    title = page.element("b", t(column.title, column.title_zh) or column.title)
    name = page.element("span", page.joined([title, Markup("<br>"), page.code(column.name, long=True)]), id=column.name)
    roles = page.joined(
        [
            page.mark(t(role, _ROLES[role]), "good" if role == "key" else "soft")
            for role in column.role.split(", ")
            if role
        ],
        " ",
    )
    kind = page.joined(
        [page.element("span", page.code(column.type), class_="line"), *([Markup("<br>"), roles] if roles else [])]
    )
    meaning: list[Any] = [page.prose(_said(column, t))]
    if column.is_deprecated:
        meaning += [" ", page.mark(t("deprecated", "已弃用"), "warn")]
    if column.refers_to:
        meaning += [
            Markup("<br>"),
            t("Names a row of ", "引用 "),
            page.joined(_references(dictionary, column.refers_to), ", "),
        ]
    meant = [term for term in dictionary.terms if f"{table.name}.{column.name}" in term.fields]
    if meant:
        meaning += [Markup("<br>"), t("Term: ", "术语："), page.joined([_term(term, t) for term in meant], ", ")]
    meaning += [
        part
        for one in column.written_to
        for part in (Markup("<br>"), t("Written to ", "回写到 "), page.code(one, long=True))
    ]
    values: list[Any] = []
    if column.unit:
        inside = any(other.name == column.unit for other in table.fields)
        values.append(
            page.joined(
                [
                    t("in ", "单位："),
                    page.link(f"#{column.unit}", page.code(column.unit)) if inside else page.code(column.unit),
                ]
            )
        )
    if column.code_set:
        known = any(code_set.name == column.code_set for code_set in dictionary.code_sets)
        code = page.code(column.code_set, long=True)
        values.append(
            page.joined([t("codes: ", "代码："), page.link(_code_page(column.code_set), code) if known else code])
        )
    if column.examples:
        values.append(
            page.joined(
                [
                    page.element("small", t("such as ", "例如 ")),
                    page.joined([page.code(example) for example in column.examples[:3]], ", "),
                ]
            )
        )
    if column.normalised:
        values.append(
            page.joined(
                [page.element("small", t("brought into form by ", "规范化：")), page.code(column.normalised, long=True)]
            )
        )
    known = column.classification
    protection: list[Any] = [
        page.element("span", t(known.replace("_", " "), _CLASSES.get(known, known)), class_="line")
    ]
    if column.mask:
        protection += [Markup("<br>"), page.mark(t(f"masked as {column.mask}", f"脱敏：{column.mask}"), "warn")]
    return (
        name,
        kind,
        page.joined(meaning),
        page.joined(values, "<br>"),
        _rules(column.rules, t),
        page.joined(protection),
    )


def _references(dictionary: Dictionary, refers_to: str) -> Iterator[Markup]:
    for one in refers_to.split(", "):
        entity, _, column = one.partition(".")
        target = f"silver.{entity}"
        yield (
            page.link(f"{target}.html#{column}", page.code(one, long=True))
            if target in dictionary.by_name
            else page.code(one)
        )


def _rules(rules: Iterable[RuleEntry], t: Say) -> Markup:
    made: list[Markup] = []
    for rule in rules:
        words, zh, tone = _ON_FAILURE[rule.on_failure]
        params = t(rule.params, rule.params_zh)
        told = f"{t(rule.title, rule.title_zh)}{f' ({params})' if params else ''}"
        hint = f"{rule.name} · {t(rule.dimension, rule.dimension_zh)} · {t(words, zh)}"
        made.append(page.element("span", told, class_=f"rule {tone}", title=hint))
    return page.joined(made, "<br>")


def _lineage(dictionary: Dictionary, table: TableEntry, t: Say) -> Markup:
    """What it is made of on the left, what it goes into on the right."""
    left, right = table.made_of[:_MOST], table.goes_into[:_MOST]
    tall = max(_stack(left), _stack(right), 60.0)
    middle = (_WIDTH - _BOX) / 2
    parts = [drawing.HEAD]
    height = drawing.height([table.name])
    centre = tall / 2
    parts.append(
        drawing.box(
            (middle, centre - height / 2, _BOX, height), t(table.title, table.title_zh), [table.name], strong=True
        )
    )
    for links, x, into in ((left, 0.0, True), (right, float(_WIDTH - _BOX), False)):
        y = (tall - _stack(links)) / 2
        for link in links:
            tall_box = drawing.height([link.name])
            parts.append(
                drawing.box(
                    (x, y, _BOX, tall_box),
                    t(link.title, link.title_zh or link.title),
                    [link.name],
                    to=_to(dictionary, link),
                )
            )
            at = y + tall_box / 2
            parts.append(
                drawing.curve(_BOX, at, middle, centre) if into else drawing.curve(middle + _BOX, centre, x, at)
            )
            y += tall_box + _GAP
    picture = drawing.picture(_WIDTH, tall + 4, t(f"Lineage of {table.name}", f"{table.name} 的血缘"), parts)
    more = [link.name for links in (table.made_of, table.goes_into) for link in links[_MOST:]]
    if more:
        return page.joined([picture, page.element("p", page.joined([t("and ", "以及 "), ", ".join(more)]))])
    return picture


def _stack(links: Sequence[Link]) -> float:
    return sum(drawing.height([link.name]) + _GAP for link in links) - (_GAP if links else 0)


def _to(dictionary: Dictionary, link: Link) -> str:
    return f"{link.name}.html" if link.kind == "table" and link.name in dictionary.by_name else ""
