"""Secrets on disk: mode, never overwritten, one seed for two starts, clear errors."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay import keyfile, settings
from wire.errors import SettingsFault

SEED = "0123456789abcdefABCDEF0123456789" * 2


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=["umask 000", "umask 022", "umask 077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


MAKERS: list[Callable[[Path], object]] = [keyfile.create_env, keyfile.read_or_create_seed]


@pytest.mark.parametrize("make", MAKERS)
def test_a_new_file_is_for_its_owner_only(umask, tmp_path, make):
    path = tmp_path / "secret"
    make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]
    assert not keyfile.readable_by_others(path)


@pytest.mark.parametrize(
    ("mode", "open_to_others"), [(0o600, False), (0o640, True), (0o604, True), (0o644, True)]
)
def test_files_that_others_may_read_are_seen(tmp_path, mode, open_to_others):
    path = tmp_path / "secret"
    path.write_text(SEED)
    path.chmod(mode)
    assert keyfile.readable_by_others(path) is open_to_others


def test_a_new_env_can_be_loaded_and_has_a_seed_of_its_own(tmp_path):
    assert keyfile.create_env(tmp_path / "a") is True
    assert keyfile.create_env(tmp_path / "b") is True
    first, second = (settings.load(tmp_path / name, {}) for name in "ab")
    assert len(first.nkn_seed_hex) == 32
    assert first.nkn_seed_hex != second.nkn_seed_hex


def test_an_env_is_never_overwritten(tmp_path):
    path = tmp_path / ".env"
    path.write_text("mine")
    path.chmod(0o640)
    assert keyfile.create_env(path) is False
    assert path.read_text() == "mine"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", [SEED, SEED + "\n", f"  {SEED}\r\n\n"])
def test_a_seed_is_read_as_it_is(tmp_path, text):
    path = tmp_path / "seed"
    path.write_text(text)
    assert keyfile.read_or_create_seed(path) == bytes.fromhex(SEED)
    assert path.read_text() == text.replace("\r\n", "\n")


def test_a_made_seed_is_the_same_ever_after(tmp_path):
    path = tmp_path / "seed"
    seed = keyfile.read_or_create_seed(path)
    assert keyfile.read_or_create_seed(path) == seed
    assert bytes.fromhex(path.read_text().strip()) == seed


@pytest.mark.parametrize(
    "text", ["", "\n", SEED[:-1], SEED + "0", SEED[:-1] + "g", "0x" + SEED[2:], f"{SEED}\n{SEED}"]
)
def test_a_file_that_holds_no_seed_is_named_but_not_shown(tmp_path, text):
    path = tmp_path / "seed"
    path.write_text(text)
    with pytest.raises(SettingsFault, match=r"^--seed-file: must be 64 hex digits") as caught:
        keyfile.read_or_create_seed(path)
    assert SEED[:16] not in str(caught.value)
    assert path.read_text() == text


def test_a_file_that_is_no_text_is_not_shown_either(tmp_path):
    path = tmp_path / "seed"
    path.write_bytes(b"\xff" + SEED.encode())
    with pytest.raises(SettingsFault, match="cannot be read") as caught:
        keyfile.read_or_create_seed(path)
    assert SEED[:16] not in str(caught.value)


def test_two_that_start_at_once_get_one_seed(tmp_path, monkeypatch):
    """The second comes while the first has made its file but not yet written it."""
    path = tmp_path / "seed"
    second: list[bytes] = []
    real = os.open

    def interrupted(name: str, flags: int, *rest: int, **more: int) -> int:
        handle = real(name, flags, *rest, **more)
        if flags & os.O_CREAT and not second:
            second.append(b"")
            second[0] = keyfile.read_or_create_seed(path)
        return handle

    monkeypatch.setattr(os, "open", interrupted)
    first = keyfile.read_or_create_seed(path)
    assert second == [first]
    assert [entry.name for entry in tmp_path.iterdir()] == ["seed"]


def test_many_that_start_at_once_get_one_seed(tmp_path):
    seeds: list[bytes] = []
    ready = threading.Barrier(8)

    def start() -> None:
        ready.wait(10)
        seeds.append(keyfile.read_or_create_seed(tmp_path / "seed"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seeds) == 8
    assert len(set(seeds)) == 1


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", ["missing/secret", "file/secret", "x" * 300])
def test_a_place_where_nothing_can_be_made_is_named(tmp_path, make, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsFault, match="cannot be") as caught:
        make(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", MAKERS)
def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path, monkeypatch, make):
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsFault, match="No space left on device"):
        make(tmp_path / "secret")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", MAKERS)
def test_a_file_system_without_hard_links_will_do(umask, tmp_path, monkeypatch, make):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "secret"
    first = make(path)
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert make(path) == (first if isinstance(first, bytes) else False)
    assert path.read_text() == text


@pytest.mark.parametrize("make", MAKERS)
def test_a_folder_one_may_not_look_into_is_an_error_in_words(tmp_path, monkeypatch, make):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(SettingsFault, match="Permission denied"):
        make(tmp_path / "secret")


def test_a_directory_in_its_place_is_an_error_in_words(tmp_path):
    with pytest.raises(SettingsFault, match=r"--seed-file: .*cannot be read"):
        keyfile.read_or_create_seed(tmp_path)
    assert keyfile.create_env(tmp_path) is False


def test_a_link_into_nowhere_is_not_followed(tmp_path):
    link = tmp_path / "seed"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsFault, match="cannot be read"):
        keyfile.read_or_create_seed(link)
    assert not (tmp_path / "elsewhere").exists()


def test_parse_seed_names_the_key_it_was_given():
    assert keyfile.parse_seed("KEY", SEED) == bytes.fromhex(SEED)
    with pytest.raises(SettingsFault) as caught:
        keyfile.parse_seed("KEY", SEED + "\n")
    assert caught.value.key == "KEY"
    assert "65 characters" in caught.value.detail


@pytest.mark.parametrize("target", ["nowhere", "env"], ids=["dead link", "link to itself"])
def test_a_link_that_leads_nowhere_is_left_and_named(tmp_path, target):
    path = tmp_path / "env"
    path.symlink_to(tmp_path / target)
    assert keyfile.create_env(path) is False
    assert not keyfile.readable_by_others(path)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ExceptionGroup) as caught:
        settings.load(path, {})
    [fault] = caught.value.exceptions
    assert (fault.key, "cannot be read" in fault.detail) == (str(path), True)
