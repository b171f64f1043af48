"""What docker_files.py makes of daemon.json and of apt's entries."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from fakeroot import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

MODULE = runpy.run_path(str(REPOSITORY / "scripts" / "docker_files.py"))
merge, entries, main = MODULE["merge"], MODULE["entries"], MODULE["main"]

OURS = {"path": "nvidia-container-runtime", "runtimeArgs": []}
BASE = "https://nvidia.github.io/libnvidia-container/stable/deb"

MERGED: list[tuple[str, list[str], dict[str, Any]]] = [
    ("", ["default-runtime nvidia", "runtimes.nvidia"], OURS),
    (" \n", ["default-runtime nvidia", "runtimes.nvidia"], OURS),
    ('{"runtimes": null}', ["default-runtime nvidia", "runtimes.nvidia"], OURS),
    ('{"default-runtime": "nvidia"}', ["runtimes.nvidia"], OURS),
    ('{"default-runtime": "crun", "runtimes": {"nvidia": {"path": "/opt/nvidia-container-runtime"}}}',
     ["default-runtime nvidia (now crun)"], {"path": "/opt/nvidia-container-runtime"}),
    ('{"default-runtime": "nvidia", "runtimes": {"nvidia": {"path": "/bin/runc", "runtimeArgs": ["--log"]}}}',
     ["runtimes.nvidia"], {"path": "nvidia-container-runtime", "runtimeArgs": ["--log"]}),
    ('{"default-runtime": "nvidia", "runtimes": {"nvidia": {"runtimeType": "io.containerd.nvidia.v1"}}}',
     [], {"runtimeType": "io.containerd.nvidia.v1"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lacks", "nvidia"), MERGED)
def test_what_is_missing_is_named_and_added(text: str, lacks: list[str], nvidia: dict[str, Any]) -> None:
    found, merged = merge(text)
    assert found == lacks
    assert json.loads(merged)["default-runtime"] == "nvidia"
    assert json.loads(merged)["runtimes"]["nvidia"] == nvidia


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
configs = st.dictionaries(st.text(), values).filter(lambda found: "runtimes" not in found)


@given(configs, st.none() | st.integers(1, 8))
def test_every_other_key_stays_in_its_place_and_a_second_merge_finds_nothing(
    config: dict[str, Any], indent: int | None
) -> None:
    _, merged = merge(json.dumps(config, indent=indent))
    known = list(config) + [key for key in ("default-runtime", "runtimes") if key not in config]
    assert list(json.loads(merged)) == known
    assert {**config, "default-runtime": "nvidia", "runtimes": {"nvidia": OURS}} == json.loads(merged)
    assert merge(merged) == ([], merged)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1,}', "line 1 column 9"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": {"b": 1, "b": 1}}', "'b' stands twice"),
        (b'{"runtimes": {"nvidia": "yes"}}', "'nvidia' must hold an object"),
        (b'"text"', "outermost value must be an object"),
        (b'{"a": "\xff"}', "can't decode byte 0xff"),
        (b'{"a": "\\ud800"}', "surrogates not allowed"),
        (b"[" * 100_000, "recursion"),
        (b"// a comment\n{}", "line 1 column 1"),
    ],
)
def test_what_cannot_be_merged_is_said_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes, said: str
) -> None:
    file = tmp_path / "daemon.json"
    file.write_bytes(text)
    assert main("merge", file) == 3
    out = capsys.readouterr().out
    assert said in out
    assert out.count("\n") == 1
    assert file.read_bytes() == text


def test_a_folder_in_its_place_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("merge", tmp_path) == 3
    assert "Is a directory" in capsys.readouterr().out


ENTRIES = [
    ("a.list", f"deb {BASE}/$(ARCH) /\n", [""]),
    ("a.list", f"deb [arch=amd64 signed-by=/k.gpg] {BASE}/amd64 /\ndeb http://a/ noble main", ["/k.gpg"]),
    ("a.list", f"#deb [signed-by=/k.gpg] {BASE}/amd64 /", []),
    ("a.list", f"deb-src [signed-by=/k.gpg] {BASE}/amd64 /", []),
    ("a.list", f"deb http://archive.ubuntu.com/ubuntu noble main # not {BASE}/", []),
    ("a.list", f"deb [signed-by=/k.gpg] {BASE.replace('stable', 'experimental')}/amd64 /", []),
    ("a.list.bak", f"deb {BASE}/amd64 /", []),
    (".a.list", f"deb {BASE}/amd64 /", []),
    ("a.sources", f"Types: deb\nURIs: {BASE}/amd64/\nSuites: /\nSigned-By: /k.gpg\n", ["/k.gpg"]),
    ("a.sources", f"Types: deb\nURIs: {BASE}/amd64/\nSuites: /\nsigned-by:\n -----BEGIN PGP\n .\n", [""]),
    ("a.sources", f"Enabled: no\nTypes: deb\nURIs: {BASE}/amd64/\nSuites: /\n", []),
    ("a.sources", f"URIs: http://a/\nSigned-By: /a\n\nURIs: {BASE}/\nSigned-By: /k\n", ["/k"]),
    ("a.sources", f"# URIs: {BASE}/\nTypes: deb\nURIs: http://a/\nSigned-By: /a\n", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "keyrings"), ENTRIES)
def test_active_entries_are_found_with_their_keyring(
    tmp_path: Path, name: str, text: str, keyrings: list[str]
) -> None:
    file = tmp_path / "etc/apt/sources.list.d" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert list(entries(tmp_path)) == [(file, keyring) for keyring in keyrings]


def test_the_one_file_of_old_is_read_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(entries(tmp_path)) == []
    file = tmp_path / "etc/apt/sources.list"
    file.parent.mkdir(parents=True)
    file.write_text(f"deb {BASE}/amd64 /\n")
    assert main("entries", tmp_path) == 0
    assert capsys.readouterr().out == f"{file}|\n"
