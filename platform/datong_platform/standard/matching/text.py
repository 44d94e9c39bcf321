"""Names as they are compared: companies and materials, in Chinese and in English.

Two spellings of one name come out equal or near: full-width and half-width, traditional and simplified characters,
with and without the legal form, the region in brackets or in front. Pinyin tells homophones, which typing makes.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Any

from datong_platform import settings

_NOISE = re.compile(r"[\s\W_]+")
_FORMS = re.compile(
    r"(股份有限公司|有限责任公司|集团有限公司|有限公司|股份公司|集团公司|总公司|责任公司|公司|集团"
    r"|COMPANYLIMITED|COLTD|COMPANY|LIMITED|LTD|CORPORATION|CORP|INCORPORATED|INC|LLC|GMBH|SARL|SA|AG|BV|PLC|PTYLTD|CO)$"
)
_BRANCH = re.compile(r"(?:公司|集团|厂)(.{1,12}?(?:分公司|分厂|办事处|营业部|经营部|门市部))$")
_REGIONS = [
    region
    for line in (settings.DBT_PROJECT / "standard" / "matching" / "regions.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
    for region in line.split()
]
_REGION = "|".join(sorted(_REGIONS, key=len, reverse=True))
_REGION_FIRST = re.compile(rf"^(?:({_REGION})(?:特别行政区|维吾尔自治区|壮族自治区|回族自治区|自治区|省|市)?)")
_REGION_IN_BRACKETS = re.compile(rf"[(\[【]\s*({_REGION})(?:省|市)?\s*[)\]】]")
_SPEC = re.compile(r"\d+(?:\.\d+)?|[A-Z]+\d[A-Z0-9.]*")
_TIMES = re.compile(r"(?<=\d)\s*[×xX*✕╳]\s*(?=\d)")
_UNITS = re.compile(r"(?<=\d)(MM|毫米)(?![A-Z])")


@cache
def _simplifier() -> Any:
    import opencc

    return opencc.OpenCC("t2s")


def plain(value: str | None) -> str:
    """Half-width, simplified, upper case; blanks and punctuation kept."""
    if not value:
        return ""
    folded = unicodedata.normalize("NFKC", value).upper()
    return folded if folded.isascii() else _simplifier().convert(folded).upper()


def pinyin(value: str) -> str:
    """The syllables of the Chinese characters without tones, what is not Chinese as it is.

    A character has one reading, whatever stands beside it: so a mistyped neighbour does not change how it sounds.
    """
    return value if value.isascii() else "".join(map(_syllable, value))


@cache
def _syllable(mark: str) -> str:
    from pypinyin import lazy_pinyin

    return lazy_pinyin(mark)[0].upper()


def bag(value: str) -> str:
    """The characters in order of the alphabet: equal for words that only changed their places."""
    return "".join(sorted(value))


@dataclass(frozen=True)
class Company:
    """A company's name, taken apart; each part empty where there is none."""

    core: str
    """Without blanks, punctuation and legal form; with the region where it stands in front."""
    brand: str
    """The core without the region."""
    region: str
    branch: str
    """What tells a branch from its company: it has a credit code of its own."""


def company(name: str | None) -> Company:
    """A company's name, taken apart."""
    text = plain(name)
    region = ""
    if found := _REGION_IN_BRACKETS.search(text):
        region = found.group(1)
        text = text[: found.start()] + text[found.end() :]
    text = _NOISE.sub("", text)
    branch = ""
    if found := _BRANCH.search(text):
        branch = found.group(1)
        text = text[: found.start(1)]
    core = text
    while (shorter := _FORMS.sub("", core)) and shorter != core:
        core = shorter
    brand = core
    while found := _REGION_FIRST.match(brand):
        if found.end() == len(brand):
            break
        # 中国 is no region that tells two companies apart
        if found.group(1) != "中国":
            region = region or found.group(1)
        brand = brand[found.end() :]
    return Company(core=region + brand, brand=brand, region=region, branch=branch)


@dataclass(frozen=True)
class Article:
    """A material's name, taken apart."""

    words: str
    """The name without its numbers, blanks and punctuation."""
    specs: tuple[str, ...]
    """The numbers and type codes in it, in order of the alphabet: M8x40 and M8x45 are two materials."""


def article(*names: str | None) -> Article:
    """A material's name, taken apart; of several names the first that is there."""
    text = next((plain(name) for name in names if name and name.strip()), "")
    text = _UNITS.sub("", _TIMES.sub("*", text))
    specs = sorted({_number(found) for found in _SPEC.findall(text)})
    return Article(words=_NOISE.sub("", _SPEC.sub(" ", text)), specs=tuple(specs))


def _number(token: str) -> str:
    return re.sub(r"\.0+$|(\.\d*?)0+$", r"\1", token) if "." in token else token


def digits(value: str | None) -> str:
    """The digits of a text."""
    return re.sub(r"\D", "", unicodedata.normalize("NFKC", value)) if value else ""


def street(value: str | None) -> str:
    """An address as it is compared: without blanks and punctuation, 号 and the like."""
    return re.sub(r"[号弄室]", "", _NOISE.sub("", plain(value)))


def place(value: str | None) -> str:
    """A city without 市 and the like."""
    return re.sub(r"(?<=..)(市|省|区|县)$", "", _NOISE.sub("", plain(value)))
