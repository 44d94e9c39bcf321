"""The standard's sentences in Chinese: every one that is shown has its translation, and none is left over."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from datong_platform.errors import ConfigurationError
from datong_platform.settings import DBT_PROJECT
from datong_platform.standard.contract import contracts
from datong_platform.standard.in_chinese import TRANSLATIONS, in_chinese, missing

MODELS = ("gold", "serve")


def _plain(sentence: object) -> str:
    return " ".join(str(sentence or "").split())


def _sentences() -> list[str]:
    """Descriptions and grains of contracts and models, and the levels of evidence that a match can have."""
    found: list[str] = []
    for each in contracts().values():
        found += [each.description, each.grain, *(column.description for column in each.columns)]
    for layer in MODELS:
        for path in sorted((DBT_PROJECT / "models" / layer).glob("**/*.yml")):
            for model in yaml.safe_load(path.read_text("utf-8")).get("models", []):
                if model["name"] in contracts() or model["name"].startswith("int_"):
                    continue  # a contract says it; steps in between are not in the dictionary
                description, _, grain = _plain(model.get("description")).partition("Grain: ")
                found += [description.strip(), grain]
                found += [_plain(column.get("description")) for column in model.get("columns", [])]
    for path in sorted((DBT_PROJECT / "standard" / "matching").glob("*.yaml")):
        for comparison in yaml.safe_load(path.read_text("utf-8")).get("comparisons", []):
            found += [level["name"] for level in comparison["levels"]]
    return found


def test_every_sentence_of_the_dictionary_and_of_matches_has_its_chinese() -> None:
    assert missing(_sentences()) == []


def test_no_translation_is_left_over_from_a_sentence_that_was_changed() -> None:
    shown = {" ".join(one.split()).rstrip(".") for one in _sentences()}
    assert sorted(set(yaml.safe_load(TRANSLATIONS.read_text("utf-8"))) - shown) == []


def test_a_sentence_keeps_its_full_stop_and_one_without_translation_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "in_chinese.yaml"
    path.write_text("Day of creation: 创建日期。\nkept: 保留\n", encoding="utf-8")
    assert in_chinese("Day of\n  creation.", path) == "创建日期。"
    assert in_chinese("kept", path) == "保留"
    assert in_chinese("Nobody said it.", path) == "Nobody said it."
    assert missing(["kept.", "Nobody said it.", "", "Nobody said it"], path) == ["Nobody said it"]


@pytest.mark.parametrize("text", ["- a list", "Day: 1", "Day: ''", "Day: [", "? [a]\n: b"])
def test_a_file_that_holds_something_else_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "in_chinese.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="in_chinese"):
        in_chinese("Day", path)
