"""server.py as a person runs it: a process, its words, its exit code, its certificate over restarts."""

from __future__ import annotations

import asyncio
import hashlib
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import certificates
import pytest
from places import DEADLINE_S, PAGE, ROOT, SCRIPT, VENDORED, Script
from rawtls import Answer, Line, context, get


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def fetch(port: int, request: bytes, tls: ssl.SSLContext, name: str = "localhost") -> tuple[Answer, bytes]:
    """An answer, and the certificate it came with."""

    async def once() -> tuple[Answer, bytes]:
        async with await Line.open(port, tls, name) as line:
            shown = line.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            return await line.ask(request), shown

    return asyncio.run(once())


def test_ready_line_fingerprint_and_trust(script: Script) -> None:
    with script.start():
        warning = script.process.stdout.readline()
        trusted = context(script.certificates / "site.crt")
        answer, shown = fetch(script.port, get("/"), trusted)
    assert script.url == f"https://127.0.0.1:{script.port}/"
    assert (answer.status, answer.body) == (200, PAGE)
    fingerprint = hashlib.sha256(shown).digest().hex(":").upper()
    assert warning == (
        "  the browser warns once, since this machine made the certificate itself; its SHA-256 "
        f"fingerprint is {fingerprint}\n"
    )


def test_a_restart_keeps_the_certificate(script: Script) -> None:
    seen = set()
    for _ in range(3):
        with script.start():
            seen.add(fetch(script.port, get("/"), context(script.certificates / "site.crt"))[1])
            code, _, errors = script.end(signal.SIGTERM)
            assert (code, errors) == (0, "")
    assert len(seen) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_with_zero(script: Script, number: int) -> None:
    with (
        script.start(),
        socket.create_connection(("127.0.0.1", script.port)) as silent,
        context().wrap_socket(socket.create_connection(("127.0.0.1", script.port))) as kept,
    ):
        kept.sendall(get("/")[:20])
        silent.settimeout(DEADLINE_S)
        code, out, errors = script.end(number)
        assert silent.recv(1) == b""
    assert (code, errors) == (0, "")
    assert out.count("\n") <= 1  # the line on the warning, if it came so far, and no other


def test_signals_while_it_ends_change_nothing(script: Script) -> None:
    with script.start():
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            script.process.send_signal(number)
        code, _, errors = script.end(signal.SIGINT)
    assert (code, errors) == (0, "")


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777], ids=oct)
def test_key_modes_under_umasks(script: Script, umask: int) -> None:
    with script.start(umask=umask):
        assert (script.certificates.stat().st_mode & 0o777) == 0o700
        assert ((script.certificates / "site.pem").stat().st_mode & 0o777) == 0o600


def test_it_runs_from_any_folder_and_by_a_relative_path(script: Script, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    # A folder with modules of the same names must not be where ours are looked for.
    for name in ("answers.py", "cryptography.py", "site.py"):
        (tmp_path / "else" / name).write_text("raise RuntimeError('the wrong module')\n")
    with script.start(cwd=tmp_path / "else"):
        assert fetch(script.port, get("/app.js"), context())[0].body == SCRIPT


def test_the_default_folder_is_that_of_the_user(script: Script, tmp_path: Path) -> None:
    command = [
        word for word in script.command("--port", "0") if word not in {"--cert-dir", str(script.certificates)}
    ]
    with subprocess.Popen(
        command, env={"HOME": str(tmp_path), "PYTHONUTF8": "1"}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith("→ site ready: ")
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
    kept = tmp_path / ".local" / "share" / "gpu-over-nkn"
    assert sorted(path.name for path in kept.iterdir()) == ["site.crt", "site.pem"]


def test_a_terminal_without_arrows_is_no_reason_to_end(script: Script) -> None:
    with subprocess.Popen(
        script.command("--port", "0"), env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert b"site ready: https://127.0.0.1:" in process.stdout.readline()
        process.terminate()
        assert process.wait(DEADLINE_S) == 0


# -- the owner's certificate ------------------------------------------------------------


def test_the_owners_certificate(script: Script, tmp_path: Path) -> None:
    made = certificates.pair(tmp_path)
    with script.start("--cert", str(made.cert), "--key", str(made.key)):
        answer, _ = fetch(
            script.port, get("/", host="gpu.example.org"), context(made.cert), "gpu.example.org"
        )
        assert answer.status == 200
        assert answer.headers["strict-transport-security"] == "max-age=15552000"
        answer, _ = fetch(script.port, get("/", host="127.0.0.1"), context())
        assert answer.status == 200
        assert "strict-transport-security" not in answer.headers
        assert fetch(script.port, get("/", host="evil.example"), context())[0].status == 421
        code, out, errors = script.end(signal.SIGTERM)
    assert (code, out, errors) == (0, "", "")  # no line on a warning
    assert not script.certificates.exists()


def test_a_key_with_a_passphrase_asks_nobody(script: Script, tmp_path: Path) -> None:
    key = certificates.new_key()
    made = certificates.put(tmp_path, certificates.sign(key), certificates.secret(key, b"word"))
    code, said = script.refuses("--cert", str(made.cert), "--key", str(made.key))
    assert code == 2
    assert said == (
        f"site: --cert {made.cert} with --key {made.key} has a key with a passphrase, "
        "which nobody is asked for\n"
    )


def test_an_expired_certificate_ends_the_start(script: Script, tmp_path: Path) -> None:
    made = certificates.pair(tmp_path, begins=-9, ends=-1)
    code, said = script.refuses("--cert", str(made.cert), "--key", str(made.key))
    assert code == 2
    assert re.fullmatch(
        rf"site: --cert {made.cert} ended on \d{{4}}-\d\d-\d\d \d\d:\d\d UTC; renew it\n", said
    )


# -- what is wrong at the start ---------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--cert", "x"), "--cert and --key go together"),
        (("--key", "x"), "--cert and --key go together"),
        (("--cert", "x", "--key", "y"), "--cert x cannot be read: No such file or directory"),
        (("--port", "x"), "'x' is no port: 0 to 65535"),
        (("--port", "65536"), "'65536' is no port: 0 to 65535"),
        (("--port", "-1"), "'-1' is no port"),
        (("--port", "٣"), "'٣' is no port"),
        (("--host", "192.0.2.1"), "--host '192.0.2.1' is no address or name of this machine"),
        (("--host", ""), "--host '' is no address or name of this machine"),
        (("--cert-dir", "/dev/null"), "no certificate can be kept in /dev/null"),
        (("--unknown",), "unrecognized arguments: --unknown"),
        (("more",), "unrecognized arguments: more"),
    ],
)
def test_flags_that_cannot_be_used_are_a_sentence_and_two(
    script: Script, flags: tuple[str, ...], words: str
) -> None:
    code, said = script.refuses(*flags, env={"PYTHONUTF8": "1"})
    assert code == 2
    assert words in said.splitlines()[-1]


def test_a_port_in_use_is_one_sentence(script: Script) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, said = script.refuses("--port", str(port))
    assert code == 1
    assert (
        said == f"site: port {port} is in use on 127.0.0.1; end what uses it, or choose another with --port\n"
    )


def test_missing_libraries_are_one_sentence_with_the_command(script: Script) -> None:
    (script.folder / "node_modules").rename(script.folder / "gone")
    code, said = script.refuses()
    assert code == 1
    assert said == f"site: the libraries of the page are not installed: run `npm ci` in {script.folder}\n"
    assert not script.certificates.exists()


def test_a_library_with_other_bytes_ends_the_start(script: Script) -> None:
    path = script.folder / "node_modules" / "lib" / "dist" / "lib.min.js"
    path.write_bytes(path.read_bytes() + b" ")
    code, said = script.refuses()
    assert code == 1
    assert len(said.splitlines()) == 1
    assert VENDORED[0].integrity in said
    assert f"run `npm ci` in {script.folder}" in said


def test_without_the_package_it_says_how_to_get_it(script: Script) -> None:
    # -S: no site-packages; as a Python that never saw our requirements.
    words = [sys.executable, "-S", *script.command("--port", "0")[1:]]
    done = subprocess.run(words, env={}, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("site: The Python package cryptography is not installed for this Python.")
    assert "`make demo`" in done.stderr


def test_help_names_every_flag(script: Script) -> None:
    done = subprocess.run(script.command("--help"), capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0
    page = (ROOT / "docs" / "site-server.md").read_text(encoding="utf-8")
    flags = set(re.findall(r"--[a-z-]+", done.stdout)) - {"--help"}
    assert flags == {"--port", "--host", "--cert", "--key", "--cert-dir"}
    for flag in flags:
        assert f"`{flag}" in page
