"""What the standard's English sentences say in Chinese: descriptions, grains, the evidence of matches.

The translations are in `dbt_project/standard/in_chinese.yaml`, one for each sentence wherever it stands: contracts and
models share many. A sentence that was changed has no translation until somebody gives it one, and is shown in English;
`missing` names those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from datong_platform.errors import ConfigurationError
from datong_platform.settings import DBT_PROJECT

TRANSLATIONS = DBT_PROJECT / "standard" / "in_chinese.yaml"


def in_chinese(sentence: str, path: Path = TRANSLATIONS) -> str:
    """A sentence of the standard in Chinese, or as it is where nobody translated it.

    ConfigurationError for a file that is broken.
    """
    found = _known(path).get(_plain(sentence))
    if found is None:
        return sentence
    return f"{found}。" if sentence.rstrip().endswith(".") else found


def missing(sentences: Iterable[str], path: Path = TRANSLATIONS) -> list[str]:
    """Those that have no translation yet, each once, in order."""
    known = _known(path)
    return list(dict.fromkeys(one for one in map(_plain, sentences) if one and one not in known))


def _plain(sentence: str) -> str:
    return " ".join(sentence.split()).rstrip(".")


def _known(path: Path) -> Mapping[str, str]:
    try:
        return _read(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return {}


@lru_cache(maxsize=4)
def _read(path: Path, _changed: int) -> Mapping[str, str]:
    place = path.name
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(place, f"cannot be read: {error}", "mend that line.") from error
    if not isinstance(content, dict):
        raise ConfigurationError(place, "holds no translations.", "write `English sentence: 中文` line by line.")
    found: dict[str, str] = {}
    for english, chinese in content.items():  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(english, str) or not isinstance(chinese, str) or not chinese.strip():
            raise ConfigurationError(place, f"translates {english!r} to {chinese!r}.", "write both as texts.")
        found[_plain(english)] = chinese.strip().rstrip("。")
    return found
