"""Secrets: where a `${NAME}` is looked up, in which order, and what is said when it cannot be had."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from datong_platform import settings
from datong_platform.errors import ConfigurationError
from keyring.backend import KeyringBackend


class Memory(KeyringBackend):
    """A keyring of the operating system, for a test."""

    priority = 1  # pyright: ignore[reportAssignmentType]

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATONG_HOME", str(tmp_path / "home"))


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    before = keyring.get_keyring()
    made = Memory()
    keyring.set_keyring(made)
    monkeypatch.setenv("DATONG_KEYRING", "datong")
    yield made
    keyring.set_keyring(before)


def origin(name: str) -> str:
    found = settings.find_value(name, "system shop")
    return f"{found.origin}: {found.text}" if found else "none"


def test_the_first_place_that_has_a_value_wins(ring: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert origin("SHOP_PASSWORD") == "none"
    ring.set_password("datong", "SHOP_PASSWORD", "of-the-keyring")
    assert origin("SHOP_PASSWORD") == "keyring: of-the-keyring"
    settings.write_state("connections.json", {"SHOP_PASSWORD": "of-the-sandbox"})
    assert origin("SHOP_PASSWORD") == "sandbox: of-the-sandbox"
    settings.keep_value("SHOP_PASSWORD", "of-the-folder")
    assert origin("SHOP_PASSWORD") == "secrets folder: of-the-folder"
    (tmp_path / "mounted").write_text("of-the-file\n", encoding="utf-8")
    monkeypatch.setenv("SHOP_PASSWORD_FILE", str(tmp_path / "mounted"))
    assert origin("SHOP_PASSWORD") == "file: of-the-file"
    monkeypatch.setenv("SHOP_PASSWORD", "of-the-environment")
    assert origin("SHOP_PASSWORD") == "environment: of-the-environment"
    assert settings.connection_value("a:${SHOP_PASSWORD}@b", "system shop") == "a:of-the-environment@b"


def test_only_the_line_end_behind_a_secret_is_taken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_bytes("  密码 with spaces \r\n".encode())
    monkeypatch.setenv("SHOP_PASSWORD_FILE", str(path))
    assert origin("SHOP_PASSWORD") == "file:   密码 with spaces "


def test_a_container_s_folder_of_secrets_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "SHOP_TOKEN").write_text("of-the-container", encoding="utf-8")
    monkeypatch.setenv("DATONG_SECRETS_FOLDER", str(tmp_path))
    assert origin("SHOP_TOKEN") == "secrets folder: of-the-container"


def test_a_kept_secret_is_read_by_its_owner_only() -> None:
    place = Path(settings.keep_value("SHOP_TOKEN", "kept"))
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    assert [path.name for path in place.parent.iterdir()] == ["SHOP_TOKEN"]


def test_a_secret_can_be_kept_in_the_keyring(ring: Memory) -> None:
    assert settings.keep_value("SHOP_TOKEN", "kept", in_keyring=True) == "the keyring, service datong"
    assert ring.kept == {("datong", "SHOP_TOKEN"): "kept"}


def test_a_value_that_is_nowhere_is_told_with_the_ways_to_give_it() -> None:
    with pytest.raises(ConfigurationError, match="needs the value SHOP_TOKEN") as caught:
        settings.connection_value("${SHOP_TOKEN}", "system shop")
    for way in ("export SHOP_TOKEN=", "datong secrets set SHOP_TOKEN", "SHOP_TOKEN_FILE"):
        assert way in caught.value.next_step


def test_a_file_that_cannot_be_read_is_an_error_and_not_the_next_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.keep_value("SHOP_TOKEN", "an older one")
    monkeypatch.setenv("SHOP_TOKEN_FILE", str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match=r"cannot read .*absent, which SHOP_TOKEN_FILE names"):
        settings.find_value("SHOP_TOKEN", "system shop")


def test_a_keyring_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATONG_KEYRING", "datong")
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigurationError, match="needs the package keyring") as caught:
        settings.find_value("SHOP_TOKEN", "system shop")
    assert "uv sync --extra keyring" in caught.value.next_step


def test_a_found_value_does_not_show_itself() -> None:
    assert "hidden" not in repr(settings.FoundValue("hidden", "environment"))
