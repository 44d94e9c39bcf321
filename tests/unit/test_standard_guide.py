"""The guide of the standard, followed word by word: a field added to one contract is in all that is made from it."""

import re
import shutil
from pathlib import Path

import pytest
from datong_platform.settings import DBT_PROJECT
from datong_platform.standard import compile as compiler
from datong_platform.standard import diff
from datong_platform.standard.contract import CONTRACTS, Contract, contracts, problems
from datong_platform.standard.masks import MASKS

GUIDE = DBT_PROJECT / "standard" / "README.md"


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contracts, with the field that the guide shows added where it says."""
    folder = tmp_path_factory.mktemp("standard") / "contracts"
    shutil.copytree(CONTRACTS, folder)
    (shown,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    field = "".join(line.removeprefix("   ") for line in shown.splitlines(keepends=True))
    field = "".join(f"   {line}" if line.strip() else line for line in field.splitlines(keepends=True)).rstrip() + "\n"
    path = folder / "contact.odcs.yaml"
    before, after = re.split(r"(?m)^(?=      - name: changed_at$)", path.read_text("utf-8"))
    path.write_text(before + field + after, "utf-8")
    return folder


def contact(folder: Path) -> Contract:
    return contracts("silver", folder)["contact"]


def test_the_field_of_the_guide_is_a_right_one(edited: Path) -> None:
    assert problems(edited) == []
    city = contact(edited).field("city")
    assert (city.title_zh, city.mask, city.max_length) == ("城市", "address", 40)


def test_diff_says_what_the_guide_says(edited: Path) -> None:
    found = diff.compare({"contact": contracts()["contact"]}, {"contact": contact(edited)})
    assert [(change.level, change.what) for change in found] == [
        ("breaking", "rule max_length is new"),
        ("harmless", "new, string"),
    ]
    assert "held back" in found[0].why


def test_compile_brings_it_to_silver_its_rules_its_masks_and_its_properties(edited: Path) -> None:
    made = {path.as_posix(): text for path, text in compiler.generated(edited).items()}
    held = {path.as_posix(): text for path, text in compiler.generated().items()}
    assert {path for path in made if made[path] != held.get(path)} == {
        "macros/standard/columns.sql",
        "macros/standard/conform/conform__contact.sql",
        "models/silver/contact.yml",
        "models/masked/masked_contact.sql",
        "models/masked/masked_contact.yml",
    }
    conform = made["macros/standard/conform/conform__contact.sql"]
    assert "{{ blank_to_null(half_width('city')) }} as city" in conform
    assert "length(city) > 40" in conform
    assert "- name: city\n        data_type: string" in made["models/silver/contact.yml"]
    assert "{{ mask_address('city') }} as city" in made["models/masked/masked_contact.sql"]


def test_every_key_and_mask_that_the_guide_names_is_known() -> None:
    text = GUIDE.read_text("utf-8")
    assert all(mask in text for mask in MASKS)
    for command in re.findall(r"datong standard (\w+)", text):
        assert command in {"list", "lint", "compile", "diff"}
