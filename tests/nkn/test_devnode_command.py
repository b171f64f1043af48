import asyncio
import json
import re
import signal
import ssl
import sys
import urllib.request
from dataclasses import fields
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from relay.nkn.devnode import DevNode, Faults, Times
from relay.nkn.devnode.command import main, options

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from relay.nkn.devnode.command import main; sys.exit(main(sys.argv[1:]))"


async def started(*arguments):
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        "--rpc-port",
        "0",
        "--ws-port",
        "0",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        return child, (await child.stdout.readline()).decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_says_when_it_is_ready_and_ends_when_it_is_told(number, tmp_path):
    pem = tmp_path / "node.pem"
    child, line = await started("--wss-port", "0", "--cert-file", str(pem), "--loss", "0.1", "--no-challenge")
    assert line.startswith("→ NKN dev node ready: http://127.0.0.1:")
    assert ssl.create_default_context(cafile=pem)
    child.send_signal(number)
    rest, errors = await child.communicate()
    assert (child.returncode, rest, errors) == (0, b"", b"")


async def test_what_clients_do_wrong_is_told_in_one_line():
    child, line = await started("--lenient")
    ask = json.dumps({"id": "1", "method": "getwsaddr", "params": {"address": "00"}}).encode()
    answer = await asyncio.to_thread(urllib.request.urlopen, line.rpartition(" ")[2].strip(), ask)
    with answer:
        addr = json.load(answer)["result"]["addr"]
    async with connect(f"ws://{addr}") as socket:
        await socket.send(b"garbage")
        error = await child.stderr.readline()
    assert error == (
        b"dev node dropped a frame (unreadable): it is no ClientMessage: not a client message"
        b" (socket 1, not registered)\n"
    )
    child.terminate()
    assert await child.communicate() == (b"", b"")
    assert child.returncode == 0


async def test_a_taken_port_ends_it_with_the_remedy(capsys):
    async with DevNode() as node:
        port = node.rpc_url.rpartition(":")[2]
        code = await asyncio.to_thread(main_without_signals, ["--rpc-port", port])
    assert code == 1
    assert capsys.readouterr().err == (
        f"dev node: cannot listen on 127.0.0.1:{port}: Address already in use: "
        "stop the program that uses it, or choose another with --rpc-port\n"
    )


async def test_a_certificate_that_cannot_be_written_ends_it(capsys, tmp_path):
    ports = ["--rpc-port", "0", "--ws-port", "0", "--wss-port", "0"]
    code = await asyncio.to_thread(main_without_signals, [*ports, "--cert-file", str(tmp_path)])
    assert code == 1
    assert "Is a directory" in capsys.readouterr().err


def main_without_signals(argv):
    """`main` in a thread, where signals cannot be handled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", lambda *_: None)
        return main(argv)


async def test_a_ring_names_its_nodes_and_its_control_port():
    child, first = await started("--nodes", "2", "--control-port", "0", "--lifelike", "--ping-s", "0.5")
    second, control = [(await child.stdout.readline()).decode() for _ in range(2)]
    pattern = r"→ NKN dev node %d of 2 \(ws://127.0.0.1:\d+\) ready: (http://127.0.0.1:\d+)\n"
    urls = [re.fullmatch(pattern % number, line)[1] for number, line in enumerate((first, second))]
    assert control.startswith("→ their control port: http://127.0.0.1:")
    url = control.rpartition(" ")[2].strip()
    with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
        assert [node["rpc"] for node in json.load(answer)["nodes"]] == urls
    with await asyncio.to_thread(urllib.request.urlopen, f"{url}/nodes/1/faults") as answer:
        assert json.load(answer)["shuffle"] == 1.0
    with await asyncio.to_thread(urllib.request.urlopen, f"{url}/nodes/1/times") as answer:
        assert json.load(answer)["ping_s"] == 0.5
    child.terminate()
    assert await child.communicate() == (b"", b"")


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--nodes", "0"], "dev node: nodes: must be 1 to 64, not 0\n"),
        (
            ["--nodes", "2", "--ws-port", "65530"],
            "dev node: ws_port: a port is between 0 and 65525, not 65530\n",
        ),
        (["--ping-s", "soon"], "dev node: ping_s: 'soon' is not a number\n"),
        (["--loss", "2"], "dev node: loss: a probability is between 0 and 1, not 2.0\n"),
        (["--delay-ms", "soon"], "dev node: delay_ms: 'soon' is not a number\n"),
        (["--ws-port", "70000"], "dev node: ws_port: a port is between 0 and 65535, not 70000\n"),
        (["--cert-file", "x.pem"], "dev node: cert_file: there is no certificate without --wss-port\n"),
        (["--block-s", "-1"], "dev node: block_s: must be 0 or more, not -1.0\n"),
    ],
)
def test_wrong_values_end_it_with_a_sentence(capsys, argv, sentence):
    assert main(argv) == 2
    assert capsys.readouterr().err == sentence


def test_wrong_options_and_help(capsys):
    assert main(["--rain"]) == 2
    assert main(["--rpc-port", "x"]) == 2
    capsys.readouterr()
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    for field in (*fields(Faults), *fields(Times)):
        assert f"--{field.name.replace('_', '-')}" in told


def test_every_knob_is_an_option():
    given = options().parse_args(["--path-delay-ms", "0=20", "--black-hole=-1", "--held-first=0.5"])
    assert (given.path_delay_ms, given.black_hole, given.held_first) == ("0=20", "-1", "0.5")
