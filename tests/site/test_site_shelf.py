"""shelf: what is served is decided at the start, and only by what lies in the folder and is as expected."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import bounds
import pytest
from faults import SiteFault
from places import LIBRARY_URL, OWN_URLS, SECRET, VENDORED
from shelf import gather


def test_the_table_holds_these_and_nothing_else(folder: Path) -> None:
    items = gather(folder, VENDORED)
    assert set(items) == {*OWN_URLS, LIBRARY_URL, "/vendor/@scope/styles@2.0.0/all.css"}
    assert not any(SECRET in item.body for item in items.values())


@pytest.mark.parametrize(
    "name",
    [
        "app.py", "app.mjs", "App.js", "a.b.js", "app.js.bak", "app.js~", ".app.js", "app.json", "notes.txt",
        "app.JS", "-a.js", "ä.js", "a b.js", "page.html", "cert.pem", "app", "app.map", "a.js\n",
    ],
)  # fmt: skip
def test_other_files_of_the_folder_are_not_served(folder: Path, name: str) -> None:
    (folder / name).write_bytes(SECRET)
    assert not any(item.body == SECRET for item in gather(folder, VENDORED).values())


def test_a_new_module_is_served_after_a_restart(folder: Path) -> None:
    (folder / "relay-peer2.js").write_bytes(b"new")
    assert gather(folder, VENDORED)["/relay-peer2.js"].body == b"new"


def test_what_is_served_is_what_was_read_at_the_start(folder: Path) -> None:
    items = gather(folder, VENDORED)
    before = items["/app.js"].body
    (folder / "app.js").write_bytes(SECRET)
    (folder / "app.js").unlink()
    assert items["/app.js"].body == before


@pytest.mark.parametrize("name", ["index.html", "leak.js", "node_modules/lib/dist/lib.min.js"])
def test_a_link_that_leads_out_ends_the_start(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(folder.parent / "secret.txt")
    with pytest.raises(SiteFault, match="leads out of the site's folder"):
        gather(folder, VENDORED)


def test_a_linked_folder_of_libraries_that_leads_out_ends_the_start(folder: Path) -> None:
    (folder / "node_modules").rename(folder.parent / "elsewhere")
    (folder / "node_modules").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(SiteFault, match="leads out"):
        gather(folder, VENDORED)


def test_a_link_within_the_folder_is_served(folder: Path) -> None:
    (folder / "other.js").symlink_to("app.js")
    items = gather(folder, VENDORED)
    assert items["/other.js"].body == items["/app.js"].body


def test_the_folder_itself_may_be_reached_by_a_link(folder: Path) -> None:
    (folder.parent / "way").symlink_to(folder)
    assert set(gather(folder.parent / "way", VENDORED)) == set(gather(folder, VENDORED))


@pytest.mark.parametrize("kind", ["folder", "fifo", "circle", "dead"])
def test_what_is_no_file_ends_the_start_at_once(folder: Path, kind: str) -> None:
    path = folder / "odd.js"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("odd.js" if kind == "circle" else "gone.js")
    with pytest.raises(SiteFault, match=r"odd\.js"):
        gather(folder, VENDORED)


def test_no_index_is_a_sentence(folder: Path) -> None:
    (folder / "index.html").unlink()
    with pytest.raises(SiteFault, match=r"index\.html cannot be read: No such file or directory"):
        gather(folder, VENDORED)


def test_no_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SiteFault, match="cannot be read"):
        gather(tmp_path / "none", ())


def test_a_file_too_large_to_hold_ends_the_start(folder: Path) -> None:
    with (folder / "large.js").open("wb") as file:
        file.truncate(bounds.FILE_MAX_B + 1)
    with pytest.raises(SiteFault, match="is larger than"):
        gather(folder, VENDORED)


def test_libraries_that_are_not_installed_are_a_sentence_with_the_command(folder: Path) -> None:
    (folder / "node_modules").rename(folder / "gone")
    with pytest.raises(SiteFault) as fault:
        gather(folder, VENDORED)
    assert fault.value.detail == (
        f"the libraries of the page are not installed: run `npm ci` in {folder.resolve()}"
    )
    assert len(gather(folder, ())) == len(OWN_URLS)


@pytest.mark.parametrize("change", ["one byte", "cut", "empty", "missing", "other hash", "unhashed"])
def test_a_library_with_other_bytes_ends_the_start(folder: Path, change: str) -> None:
    path = folder / "node_modules" / "lib" / "dist" / "lib.min.js"
    data = path.read_bytes()
    first = VENDORED[0]
    if change == "other hash":
        first = replace(first, integrity=VENDORED[1].integrity)
    elif change == "unhashed":
        first = replace(first, integrity="")
    elif change == "missing":
        path.unlink()
    else:
        path.write_bytes({"one byte": b"X" + data[1:], "cut": data[:-1], "empty": b""}[change])
    with pytest.raises(SiteFault, match=r"lib\.min\.js .*run `npm ci` in") as fault:
        gather(folder, (first, VENDORED[1]))
    assert fault.value.code == 1
