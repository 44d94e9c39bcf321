"""The business glossary: said in two languages, and about columns that are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from datong_platform.errors import ConfigurationError
from datong_platform.standard import terms


def test_the_glossary_of_the_project_is_right() -> None:
    assert terms.problems() == []
    known = terms.terms()
    assert sum(term.kind == "metric" for term in known.values()) >= 5
    assert "gold.mart_inventory.actual_quantity" in known["actual_quantity"].fields


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    formula: ordered", "    form: ordered", "form"),
        ("    formula_zh: 订购", "    # 订购", "one language only"),
        ("    title_zh: 客户\n", "", "title_zh"),
        ("  - name: supplier\n", "  - name: customer\n", "twice"),
        ("see_also: [open_quantity, ", "see_also: [no_such_term, ", "no_such_term"),
        ("silver.material.gtin", "silver.material.gtim", "silver.material has no gtim"),
        ("gold.dim_material.gtin", "gold.dim_article.gtin", "there is no gold.dim_article"),
        ("gold.dim_material.gtin", "material.gtin", "no column of silver, gold or serve"),
        ("terms:\n", "words:\n", "no list of terms"),
        ("    kind: term\n", "    kind: [term\n", "not YAML"),
    ],
)
def test_a_mistake_names_the_file_the_line_and_what_is_wrong(old: str, new: str, said: str, tmp_path: Path) -> None:
    text = terms.FILE.read_text("utf-8")
    assert old in text
    path = tmp_path / "terms.yaml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    (wrong, *_) = terms.problems(path)
    assert said in wrong.reason
    assert wrong.next_step
    assert 0 < wrong.line <= len(text.splitlines())
    assert (
        wrong.line == 1
        or said == "not YAML"
        or path.read_text("utf-8").splitlines()[wrong.line - 1].startswith("  - name")
    )
    assert f"terms.yaml:{wrong.line}" in wrong.place


def test_a_glossary_that_is_wrong_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "terms.yaml"
    path.write_text("terms:\n  - name: x\n", "utf-8")
    with pytest.raises(ConfigurationError, match=r"terms.yaml:2, field x"):
        terms.terms(path)
    with pytest.raises(ConfigurationError, match="not there"):
        terms.terms(tmp_path / "none.yaml")
