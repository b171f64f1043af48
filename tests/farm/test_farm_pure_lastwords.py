"""What is said of a server that ended, out of its exit code and its log."""

from __future__ import annotations

import pytest

from farm.lastwords import LastWords

GIN = '[GIN] 2026/11/21 - 15:58:01 | 200 |      21.4µs |       127.0.0.1 | GET      "/api/ps"'
INFO = 'time=2026-11-21T15:58:01.000Z level=INFO source=routes.go:1864 msg="Listening on 127.0.0.1:1"'
WARN = 'time=2026-11-21T15:58:02.000Z level=WARN source=x.go:1 msg="a warning"'
ERROR = 'time=2026-11-21T15:58:03.000Z level=ERROR source=x.go:2 msg="no space left on device"'


@pytest.mark.parametrize(
    ("code", "log", "told"),
    [
        (1, [], "it ended with code 1"),
        (0, [GIN, INFO, ""], "it ended with code 0"),
        (137, [GIN, INFO], "it was ended by SIGKILL"),
        (128 + 10, [], "it was ended by signal 10"),
        (137, ["llama_context: graph splits = 1", ERROR], "it was ended by SIGKILL"),
        (128 + 11, ["SIGSEGV: oh", "x"], "it was ended by SIGSEGV: SIGSEGV: oh"),
        (-15, [], "its guard was ended by SIGTERM"),
        (255, ["so"], "it ended with code 255: so"),
        (1, ["a", "b", "c", GIN, "d"], "it ended with code 1: b / c / d"),
        (1, [WARN, GIN], 'it ended with code 1: msg="a warning"'),
        (1, [ERROR, "x", GIN], 'it ended with code 1: msg="no space left on device"'),
        (1, ["x", "Error: could not find it", "y"], "it ended with code 1: Error: could not find it"),
        (
            2,
            ["panic: oh", "", "goroutine 1 [running]:", *["main.go:7"] * 99],
            "it ended with code 2: panic: oh",
        ),
        (
            2,
            ["SIGSEGV: segmentation violation", "PC=0x1"],
            "it ended with code 2: SIGSEGV: segmentation violation",
        ),
        (
            125,
            ["docker: Error response from daemon: no.", "", "Run 'docker run --help' for more information"],
            "it ended with code 125: docker: Error response from daemon: no.",
        ),
    ],
)
def test_last_words(code: int, log: list[str], told: str) -> None:
    words = LastWords()
    kept = [line for line in log if words.counts(line)]
    assert words.of(code, kept[-40:]) == told
    assert not words.port_was_taken


@pytest.mark.parametrize(
    "line",
    [
        "Error: listen tcp 127.0.0.1:11434: bind: address already in use",
        "docker: Error response from daemon: Bind for 127.0.0.1:11434 failed: port is already allocated.",
    ],
)
def test_last_words_of_a_port_in_use(line: str) -> None:
    words = LastWords()
    words.counts(line)
    assert words.port_was_taken
