"""`--debug` on a terminal: a live screen, and the terminal as it was whatever ends it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, Ollamalike

from relay import terminal
from relay.nkn import MultiClient
from relay.peer import Peer

PATIENCE_S = 20
ENTERED, LEFT = "\x1b[?1049h", "\x1b[?1049l"


def _as_a_shell_does() -> None:
    """Have the terminal, and no signal ignored that whoever runs the tests ignores."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Shell:
    """A relay on a terminal of its own.

    Attributes:
        text: everything that was written to it.
    """

    def __init__(
        self, folder: Path, env: dict[str, str], words: tuple[str, ...], size: tuple[int, int]
    ) -> None:
        self.text = ""
        self._master, self.slave = pty.openpty()
        self.resize(*size)
        self.before = termios.tcgetattr(self.slave)
        self.child = subprocess.Popen(
            [sys.executable, "-m", "relay", *words, "--env-file", str(folder / "env")],
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm", **env},
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=_as_a_shell_does,  # noqa: PLW1509 - before anything of ours runs
        )
        os.set_blocking(self._master, False)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            self.text += os.read(self._master, 65_536).decode(errors="replace")

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        for one in (self._master, self.slave):
            with contextlib.suppress(OSError):
                os.close(one)

    @property
    def picture(self) -> list[str]:
        """The rows of the last whole picture."""
        pictures = self.text.split("\x1b[1;1H")
        last = next((one for one in reversed(pictures[1:]) if "dropped " in one), "")
        rows = re.split(r"\x1b\[\d+;1H", last)
        return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x18", "", one) for one in rows]

    async def until(self, so: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not so():
                await asyncio.sleep(0.02)

    async def ends(self) -> int:
        await self.until(lambda: self.child.poll() is not None)
        await asyncio.sleep(0.1)
        return int(self.child.returncode)

    def is_as_before(self) -> bool:
        after = self.text.rpartition(ENTERED)[2]
        return (
            termios.tcgetattr(self.slave) == self.before
            and LEFT in after
            and "\x1b[?25h" in after
            and "\x1b[?7h" in after
        )


@contextlib.asynccontextmanager
async def shell(
    folder: Path, rpc: str, target: str, *words: str, size: tuple[int, int] = (100, 30), **env: str
) -> AsyncIterator[Shell]:
    given = {"NKN_RPC_ADDR": rpc, "RELAY_TARGETS": json.dumps({"ollama": target}), **env}
    one = Shell(folder, given, words or ("--debug",), size)
    try:
        yield one
    finally:
        one.close()


async def test_it_shows_address_links_and_a_running_request_and_q_quits(
    tmp_path: Path, node: str, upstream: Ollamalike
) -> None:
    upstream.hold = 1
    async with shell(tmp_path, node, upstream.url) as one:
        await one.until(lambda: "NKN 3 up, 0 down" in one.text)
        address = one.picture[1].strip()
        assert re.fullmatch(r"relay\.[0-9a-f]{64}", address)
        async with MultiClient(num_sub_clients=2, rpc_server_addr=[node]) as client:
            await client.wait_connected(10)
            req = {"path": "/api/generate", "method": "POST", "json": {"model": "m", "prompt": "s3cret"}}
            asking = asyncio.create_task(_all(Peer(address, client).request(req)))
            await one.until(lambda: "generating" in "".join(one.picture))
            [row] = [line for line in one.picture if "/api/generate" in line and "generating" in line]
            assert row.split()[:2] == ["1", f"{client.get_public_key()[:8]}…"]
            upstream.go_on.set()
            assert len(await asking) == 4
            await one.until(lambda: any(line.startswith("answered 1 ") for line in one.picture))
        assert not one.is_as_before()
        one.type(b"q")
        assert await one.ends() == 0
        assert one.is_as_before()
        assert "s3cret" not in one.text
        rest = one.text.rpartition(LEFT)[2]
        assert "counts " in rest
        assert "NKN ready" in rest or "end      tag=1" in rest


async def _all(pieces: Any) -> list[Any]:
    return [piece async for piece in pieces]


@pytest.mark.parametrize(
    ("by", "code"),
    [(b"\x03", 0), (b"\x1c", 0), (signal.SIGTERM, 0), (signal.SIGHUP, 0)],
    ids=["ctrl-c", "ctrl-backslash", "sigterm", "sighup"],
)
async def test_whatever_ends_it_gives_the_terminal_back(tmp_path: Path, by: Any, code: int) -> None:
    async with shell(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9") as one:
        await one.until(lambda: "dropped 0" in one.text)
        if isinstance(by, bytes):
            one.type(by)
        else:
            one.child.send_signal(by)
        assert await one.ends() == code
        assert one.is_as_before()
        assert "Traceback" not in one.text


async def test_a_narrow_one_and_one_that_is_resized(tmp_path: Path) -> None:
    async with shell(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9", size=(40, 12)) as one:
        await one.until(lambda: any("trying again" in line or "nkn " in line for line in one.picture))
        assert max(map(len, one.picture)) <= 40
        assert len(one.picture) <= 13
        for size in ((100, 30), (20, 5), (1, 1), (40, 12)):
            one.text = ENTERED
            one.resize(*size)
            await one.until(lambda: one.text.count("\x1b[1;1H") >= 3)
            rows = [int(row) for row in re.findall(r"\x1b\[(\d+);1H", one.text.split("\x1b[1;1H", 2)[2])]
            assert max(rows, default=0) <= size[1], size
        assert max(map(len, one.picture)) <= 40
        one.type(b"Q")
        assert await one.ends() == 0


async def test_ctrl_z_gives_it_back_and_the_foreground_takes_it_again(tmp_path: Path) -> None:
    async with shell(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9") as one:
        await one.until(lambda: "dropped 0" in one.text)
        one.type(b"\x1a")
        await one.until(lambda: Path(f"/proc/{one.child.pid}/stat").read_text().split(") ")[1][0] == "T")
        assert one.is_as_before()
        one.text = ""
        one.child.send_signal(signal.SIGCONT)
        await one.until(lambda: ENTERED in one.text and "dropped 0" in one.text)
        one.type(b"q")
        assert await one.ends() == 0
        assert one.is_as_before()


async def test_a_terminal_that_goes_away_ends_it(tmp_path: Path) -> None:
    async with shell(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9") as one:
        await one.until(lambda: "dropped 0" in one.text)
        asyncio.get_running_loop().remove_reader(one._master)
        os.close(one.slave)
        os.close(one._master)
        async with asyncio.timeout(PATIENCE_S):
            while one.child.poll() is None:
                await asyncio.sleep(0.02)
        one._master, one.slave = pty.openpty()
        assert one.child.returncode in {0, 1}


async def test_a_terminal_that_nobody_reads_holds_no_stream(
    tmp_path: Path, node: str, upstream: Ollamalike
) -> None:
    async with shell(tmp_path, node, upstream.url) as one:
        await one.until(lambda: "NKN 3 up" in one.text)
        address = one.picture[1].strip()
        asyncio.get_running_loop().remove_reader(one._master)
        async with MultiClient(num_sub_clients=2, rpc_server_addr=[node]) as client:
            await client.wait_connected(10)
            peer = Peer(address, client)
            until = asyncio.get_running_loop().time() + 8  # more pictures than a terminal's buffer holds
            while asyncio.get_running_loop().time() < until:
                req = {"path": "/api/generate", "method": "POST", "json": {"model": "m", "lines": 30}}
                assert len(await asyncio.wait_for(_all(peer.request(req)), 10)) == 31
        one.child.terminate()
        asyncio.get_running_loop().add_reader(one._master, one._read)
        assert await one.ends() == 0
        assert one.is_as_before()


async def test_a_terminal_that_understands_little_gets_lines_as_before(tmp_path: Path, node: str) -> None:
    async with shell(tmp_path, node, "http://127.0.0.1:9", TERM="dumb") as one:
        await one.until(lambda: "→ NKN ready: " in one.text)
        assert "\x1b" not in one.text
        one.child.terminate()
        assert await one.ends() == 0
        assert "counts " in one.text


async def test_without_debug_there_is_no_screen(tmp_path: Path, node: str) -> None:
    async with shell(tmp_path, node, "http://127.0.0.1:9", "--env-file", "/nowhere") as one:
        await one.until(lambda: "→ NKN ready: " in one.text)
        assert "\x1b" not in one.text


async def test_a_pipe_gets_lines_as_before(tmp_path: Path, node: str) -> None:
    master, slave = pty.openpty()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "--debug", "--env-file", str(tmp_path / "env")),
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", "NKN_RPC_ADDR": node},
        stdin=slave,
        stdout=asyncio.subprocess.PIPE,
        stderr=slave,
    )
    assert (await child.stdout.readline()).startswith("→ NKN ready: ".encode())
    assert b"\x1b" not in os.read(master, 65_536)
    child.terminate()
    assert await child.wait() == 0
    os.close(master)
    os.close(slave)


async def test_a_picture_that_fails_ends_the_screen_and_not_the_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    for name in ("_STDIN", "_STDOUT"):
        monkeypatch.setattr(terminal, name, slave)

    def broken(_news: Any) -> Any:
        raise RuntimeError("s3cret")

    stopped: list[int] = []
    with terminal.Terminal(broken, lambda: stopped.append(1)):
        await asyncio.sleep(0.1)
        sys.stdout.write("plain\n")
    assert termios.tcgetattr(slave) == before
    assert LEFT.encode() in os.read(master, 65_536)
    out, err = capfd.readouterr()
    assert "the screen has ended (RuntimeError); plain lines follow\n" in err
    assert (out, stopped, "s3cret" in err) == ("plain\n", [], False)
    os.close(master)
    os.close(slave)
