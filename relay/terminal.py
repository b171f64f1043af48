"""The live screen of `--debug`: draws twice a second, reads `q`, gives the terminal back whatever happens.

Written past Python's own streams and without ever waiting: a terminal that is stopped or slow holds no
stream of a peer. What is printed meanwhile becomes the screen's last lines. Used by `cli`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Self

from relay.screen import Facts, Paces, draw

try:
    import termios
    import tty
except ImportError:  # Windows
    termios = tty = None  # type: ignore[assignment]

_PAUSE_S = 0.5
_PATIENCE_S = 1.0
"""Between two pictures; and how long a terminal that is full may take to let go."""
_NEWS = 200
_LAST = 10
"""Lines kept to be shown, and those that are left behind on the terminal at the end."""
_ENTER = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE = b"\x18\x1b[?7h\x1b[?25h\x1b[?1049l"
"""The alternate screen, no cursor, no wrapping, and back; the cancel ends a sequence that was cut off."""
_STDIN, _STDOUT, _STDERR = 0, 1, 2


def usable() -> bool:
    """Whether there is a terminal that understands, and it is ours to draw on."""
    if termios is None or os.environ.get("TERM", "dumb") == "dumb":
        return False
    if not all(_is_terminal(one) for one in (_STDIN, _STDOUT, _STDERR)) or not _in_front():
        return False
    try:
        os.close(_opened())
    except OSError:  # somebody else's, after `su`
        return False
    return True


def _opened() -> int:
    """An opening of our own: that it does not block is nobody else's business."""
    return os.open(os.ttyname(_STDOUT), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)


def _is_terminal(number: int) -> bool:
    try:
        return os.isatty(number) and bool(os.ttyname(number))
    except OSError:
        return False


def _in_front() -> bool:
    """Whether we are not in the shell's background, where reading or setting the terminal would stop us."""
    try:
        return os.tcgetpgrp(_STDOUT) == os.getpgrp()
    except OSError:
        return True  # nobody's job control


class Terminal:
    """Use as a context around the relay's life, on its loop.

    Args:
        look: what is to be seen now, given the last lines that were printed.
        stop: called when the person wants to quit, or the terminal is gone.
    """

    def __init__(self, look: Callable[[Sequence[str]], Facts], stop: Callable[[], Any]) -> None:
        self._look = look
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._news: deque[str] = deque(maxlen=_NEWS)
        self._unsent = b""
        self._signals: list[int] = []
        self._streams = sys.stdout, sys.stderr
        self._on = False

    def __enter__(self) -> Self:
        self._out = _opened()
        self._saved = termios.tcgetattr(_STDIN)
        try:
            self._take()
            self._listen()
            self._task = self._loop.create_task(self._live())
        except BaseException:
            self._give_back()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._task.cancel()
        for number in self._signals:
            self._loop.remove_signal_handler(number)
        self._give_back()
        os.close(self._out)
        for line in list(self._news)[-_LAST:]:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"{line}\n")

    # -- the terminal -------------------------------------------------------------------------

    def _take(self) -> None:
        self._on = True
        sys.stdout = sys.stderr = _Tail(self._news)
        tty.setcbreak(_STDIN, termios.TCSANOW)
        self._loop.add_reader(_STDIN, self._key)
        self._unsent = b""
        self._write(_ENTER)

    def _give_back(self) -> None:
        """Everything as it was; each step whatever became of the others."""
        if not self._on:
            return
        self._on = False
        sys.stdout, sys.stderr = self._streams
        self._loop.remove_reader(_STDIN)
        with contextlib.suppress(OSError, termios.error):
            termios.tcflow(_STDOUT, termios.TCOON)  # perhaps Ctrl-S was pressed
        self._unsent = b""
        until = time.monotonic() + _PATIENCE_S
        whole = self._write(_LEAVE)
        while not whole and (left := until - time.monotonic()) > 0:
            select.select((), (self._out,), (), left)
            whole = self._write(b"")
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(_STDIN, termios.TCSANOW, self._saved)

    def _listen(self) -> None:
        own: dict[int, Callable[[], Any]] = {signal.SIGWINCH: self._draw, signal.SIGTSTP: self._sleep,
                                             signal.SIGQUIT: self._stop}  # fmt: skip
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            own[signal.SIGHUP] = self._stop
        for number, act in own.items():
            self._loop.add_signal_handler(number, act)
            self._signals.append(number)

    def _sleep(self) -> None:
        """Ctrl-Z; the next turn takes the terminal again, once it is ours."""
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _key(self) -> None:
        try:
            keys = os.read(_STDIN, 64)
        except OSError:
            keys = b""
        if not keys:  # the terminal is gone
            self._loop.remove_reader(_STDIN)
        if not keys or b"q" in keys.lower() or b"\x03" in keys:
            self._stop()

    # -- drawing ------------------------------------------------------------------------------

    async def _live(self) -> None:
        try:
            while True:
                if not self._on and _in_front():
                    self._take()
                self._draw()
                await asyncio.sleep(_PAUSE_S)
        except Exception as error:  # noqa: BLE001 - a screen that fails must not hide a relay that works
            self._give_back()
            sys.stderr.write(f"the screen has ended ({type(error).__name__}); plain lines follow\n")

    def _draw(self) -> None:
        if not self._on or (self._unsent and not self._write(b"")):
            return  # a slow terminal gets the next picture
        size = os.get_terminal_size(_STDOUT)
        lines = draw(self._look(self._news), size.columns, size.lines)
        rows = [f"\x1b[{row};1H\x1b[K{line}" for row, line in enumerate(lines, 1)]
        rows[0] = rows[0].replace("\x1b[K", "\x1b[K\x1b[7m") + "\x1b[0m"
        below = f"\x1b[{len(lines) + 1};1H\x1b[J" if len(lines) < size.lines else ""
        self._write(("".join(rows) + below).encode(errors="replace"))

    def _write(self, data: bytes) -> bool:
        """Write what the terminal takes; whether that was all."""
        self._unsent += data
        try:
            self._unsent = self._unsent[os.write(self._out, self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:  # it is gone
            self._unsent = b""
            self._loop.call_soon(self._stop)
        return not self._unsent


class _Tail(io.TextIOBase):
    """What is printed while the screen is up."""

    def __init__(self, news: deque[str]) -> None:
        self._news = news
        self._begun = ""

    def write(self, text: str) -> int:
        *whole, self._begun = (self._begun + text).split("\n")
        self._news.extend(whole)
        return len(text)


def facts_of(pump: Any, address: str, version: str, workers: int) -> Callable[[Sequence[str]], Facts]:
    """What is to be seen of a pump."""
    paces, born = Paces(), time.monotonic()

    def look(news: Sequence[str]) -> Facts:
        now = time.monotonic()
        rows = paces.rows(pump.running(), now)
        return Facts(address, version, now - born, workers, rows, pump.statistics(), tuple(news))

    return look
