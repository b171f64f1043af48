"""The example of the README, as it stands there: an echo in Python and one in JavaScript ask each other."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from interop.sdk import HERE

ROOT = HERE.parents[1]
PYTHON = [sys.executable, "echo.py"]
NODE = ["node", "echo.mjs"]

pytestmark = pytest.mark.node


def text_in_readme(language: str, name: str) -> str:
    """The block of the README that shows this example."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    found = [block for block in blocks if name in block.partition("\n")[0]]
    assert len(found) == 1, f"README.md does not show {name}"
    return found[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Both examples with the README's text, and the SDK beside them."""
    for language, name in (("python", "echo.py"), ("js", "echo.mjs")):
        (tmp_path / name).write_text(text_in_readme(language, name), encoding="utf-8")
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    return tmp_path


@asynccontextmanager
async def echo(folder: Path, *command: str) -> AsyncIterator[asyncio.StreamReader]:
    """What an example prints, while it runs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(20):
            yield process.stdout
    finally:
        process.terminate()
        await process.wait()


async def line(output: asyncio.StreamReader) -> str:
    return (await output.readline()).decode().strip()


async def test_each_echo_hears_the_other(folder, rpc):
    async with echo(folder, *PYTHON, rpc) as python, echo(folder, *NODE, rpc) as javascript:
        in_python, in_javascript = await line(python), await line(javascript)
        assert re.fullmatch(r"echo\.[0-9a-f]{64}", in_python)
        async with (
            echo(folder, *PYTHON, rpc, in_javascript, in_python) as one,
            echo(folder, *NODE, rpc, in_python, in_javascript) as other,
        ):
            assert (await line(one)).startswith("echo.")
            assert [await line(one), await line(one)] == ["hello from Python"] * 2
            assert (await line(other)).startswith("echo.")
            assert [await line(other), await line(other)] == ["hello from JavaScript"] * 2


@pytest.mark.parametrize(("language", "name"), [("python", "echo.py"), ("js", "echo.mjs")])
def test_the_readme_shows_the_example_as_it_is(language, name):
    assert text_in_readme(language, name) == (ROOT / "examples" / name).read_text("utf-8")


def test_the_python_echo_has_twelve_lines():
    source = (ROOT / "examples" / "echo.py").read_text("utf-8").splitlines()
    assert len([code for code in source if code.strip() and '"""' not in code]) == 12
