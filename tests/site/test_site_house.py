"""The site's house rules: small files, names that shadow nothing, a page whose every address is served."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bounds import Patience
from places import ROOT
from vendored import VENDORED

SITE = ROOT / "site"
MODULES = sorted(SITE.glob("*.py"))
PAGE_DOC = (ROOT / "docs" / "site-server.md").read_text(encoding="utf-8")
PAGES = sorted([*SITE.glob("*.html"), *SITE.glob("*.js"), *SITE.glob("*.css")])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_is_small_and_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert path.read_text(encoding="utf-8").count("\n") <= 300
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, node.name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_shadows_nothing(path: Path) -> None:
    # `python3 site/server.py` puts this folder first on the path.
    assert path.stem not in sys.stdlib_module_names
    code = f"import importlib.util as u; print(u.find_spec({path.stem!r}))"
    found = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=SITE, env={}
    )
    assert found.stdout == "None\n", f"{path.stem} is also the name of an installed package"


def test_what_is_pure_touches_neither_sockets_nor_files_nor_the_clock() -> None:
    for name in ("asked", "answers", "certificate", "vendored", "bounds"):
        tree = ast.parse((SITE / f"{name}.py").read_text(encoding="utf-8"))
        roots = {
            (alias.name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not roots & {"asyncio", "os", "pathlib", "socket", "ssl", "sys", "time", "tempfile"}, name


def test_the_standard_library_keeps_its_site() -> None:
    assert not (SITE / "__init__.py").exists()
    found = importlib.util.find_spec("site")
    assert found is not None
    assert not str(found.origin).startswith(str(ROOT / "site"))


def test_every_vendored_file_is_named_once_and_pinned_in_the_lock_file() -> None:
    import json

    assert len({one.url for one in VENDORED}) == len(VENDORED)
    lock = json.loads((SITE / "package-lock.json").read_text())["packages"]
    for one in VENDORED:
        assert lock[f"node_modules/{one.package}"]["version"] == one.version
        assert re.fullmatch(r"sha384-[A-Za-z0-9+/]{64}", one.integrity)
    assert set(lock[""]["dependencies"]) == {one.package for one in VENDORED}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_address_the_page_names_is_one_the_server_serves(path: Path) -> None:
    served = {"/", *(f"/{own.name}" for own in PAGES), "/icon.svg", *(one.url for one in VENDORED)}
    text = path.read_text(encoding="utf-8")
    named = re.findall(
        r"""(?:src|href)="(/[^"]*)"|(?:from|import)\s*\(?\s*'(/[^']*)'|url\(["']?(/[^)"']*)""", text
    )
    for address in ("".join(groups) for groups in named):
        assert address in served, f"{path.name} names {address}"


@pytest.mark.parametrize(
    "path", [path for path in PAGES if path.suffix == ".html"], ids=lambda path: path.name
)
def test_the_page_has_neither_script_nor_style_in_line(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text, re.IGNORECASE)
    for attributes, content in re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL):
        assert "src=" in attributes
        assert content.strip() == ""


@pytest.mark.parametrize("name", Patience.__slots__)
def test_every_bound_stands_in_the_docs(name: str) -> None:
    value = getattr(Patience(), name)
    assert f"| `{name}` | {value:g}" in PAGE_DOC
