"""The control port over real sockets, and the words of docs/devnode.md."""

import asyncio
import json
import os
import re
import shutil
import textwrap
from pathlib import Path

import pytest
from nkn.devnode_raw import PATIENCE_S, Raw, rpc, told, until

from relay.nkn.devnode import DevNode, Faults, PortTaken, Remote, Times, ToyRing
from relay.nkn.devnode.panel import _ROUTES

DOCS = (Path(__file__).parents[2] / "docs" / "devnode.md").read_text(encoding="utf-8")


async def ask(url, request, body=None, **headers):
    """Status and JSON of an answer."""
    raw = b"" if body is None else json.dumps(body).encode()
    host = url.removeprefix("http://")
    more = "".join(f"{name}: {value}\r\n" for name, value in {"Host": host, **headers}.items())
    reader, writer = await asyncio.open_connection(*host.split(":"))
    writer.write(f"{request} HTTP/1.1\r\n{more}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
    async with asyncio.timeout(PATIENCE_S):
        answer = await reader.read()
    writer.close()
    return int(answer[9:12]), told(answer)


async def test_faults_are_ordered_from_outside():
    async with DevNode(control_port=0) as node, Raw(node.ws_url) as alice:
        await alice.register()
        assert await ask(node.control_url, "PATCH /faults", {"loss": 1}) == (200, {**(await faults(node))})
        assert node.faults == Faults(loss=1.0)
        await alice.send(alice, "lost")
        await until(lambda: node.statistics().get("lost") == 1)
        status, body = await ask(node.control_url, "PATCH /faults", {"delay_ms": 5, "loss": -1})
        assert (status, body["error"]) == (400, "loss: a probability is between 0 and 1, not -1.0")
        assert node.faults == Faults(loss=1.0)
        await ask(node.control_url, "DELETE /faults")
        await alice.send(alice, "arrives")
        assert await alice.message() == "arrives"
        assert (await ask(node.control_url, "GET /statistics"))[1]["lost"] == 1


async def faults(node):
    return (await ask(node.control_url, "GET /faults"))[1]


async def test_one_clients_socket_is_cut():
    async with DevNode(control_port=0) as node, Raw(node.ws_url) as alice, Raw(node.ws_url, "bob") as bob:
        await alice.register()
        await bob.register()
        assert await ask(node.control_url, "POST /cut", {"address": "alice"}) == (200, {"cut": 1})
        assert await alice.gone() == 1006
        _, clients = await ask(node.control_url, "GET /clients")
        assert [client["address"] for client in clients] == [bob.addr]
        await ask(node.control_url, "POST /cut", {"socket": clients[0]["socket"]})
        assert await bob.gone() == 1006


async def test_clients_are_sent_away_and_blocks_are_made():
    async with DevNode(control_port=0, block_s=0) as node, Raw(node.ws_url) as alice:
        await alice.register()
        assert await ask(node.control_url, "POST /push-wrong-node") == (200, {"pushed": 1})
        assert (await alice.control(""))["Error"] == 48001
        _, block = await ask(node.control_url, "POST /make-block")
        assert (await alice.control("updateSigChainBlockHash"))["Result"] == block["signable"]


async def test_a_node_is_stopped_and_started_on_the_same_ports_without_what_it_held():
    async with DevNode(control_port=0, wss_port=0) as node, Raw(node.ws_url) as alice:
        await alice.register()
        await alice.send(Raw(node.ws_url, "bob"), "held", hold=60)
        await until(lambda: node.statistics()["holding"] == 1)
        _, before = await ask(node.control_url, "GET /")
        assert (await ask(node.control_url, "POST /stop"))[1]["running"] is False
        assert await alice.gone() == 1006
        with pytest.raises(OSError, match=r"Connect call failed|Connection refused"):
            await rpc(node)
        await ask(node.control_url, "POST /stop")
        assert (await ask(node.control_url, "POST /start"))[1]["running"] is True
        await ask(node.control_url, "POST /start")
        _, after = await ask(node.control_url, "GET /")
        assert after == before
        assert node.statistics()["holding"] == 0
        async with Raw(node.ws_url) as again:
            await again.register()


async def test_a_port_taken_meanwhile_is_told():
    async with DevNode(control_port=0) as node:
        await ask(node.control_url, "POST /stop")
        port = int(node.rpc_url.rpartition(":")[2])
        async with DevNode(rpc_port=port):
            status, body = await ask(node.control_url, "POST /start")
        assert status == 409
        assert body["error"].startswith(f"cannot listen on 127.0.0.1:{port}: ")


async def test_a_frozen_node_is_thawed_from_outside():
    async with DevNode(control_port=0, faults=Faults(frozen=True)) as node:
        asked = asyncio.create_task(rpc(node))
        await ask(node.control_url, "PATCH /faults", {"frozen": False})
        assert told(await asked)["result"] == 0


@pytest.mark.parametrize("headers", [{"Origin": "http://localhost"}, {"Host": "example.org"}])
async def test_web_pages_are_refused(headers):
    async with DevNode(control_port=0) as node:
        status, body = await ask(node.control_url, "POST /stop", **headers)
        assert (status, set(body), node.running) == (403, {"error"}, True)


async def test_it_listens_on_loopback_alone_and_ends_with_its_node():
    node = DevNode("0.0.0.0", control_port=0)
    assert node.control_url == ""
    await node.start()
    url = node.control_url
    assert url.startswith("http://127.0.0.1:")
    await node.stop()
    assert node.control_url == ""
    with pytest.raises(OSError, match=r"Connect call failed|Connection refused"):
        await ask(url, "GET /")


async def test_a_taken_control_port_leaves_nothing_open():
    async with DevNode(control_port=0) as node:
        port = int(node.control_url.rpartition(":")[2])
        other = DevNode(control_port=port)
        with pytest.raises(PortTaken) as raised:
            await other.start()
        assert raised.value.option == "control_port"
        assert not other.running


async def test_one_port_controls_a_ring():
    async with ToyRing(2) as ring, Remote(ring.nodes) as remote:
        await ask(remote.url, "PATCH /nodes/1/faults", {"refuse": True})
        assert [node.faults.refuse for node in ring.nodes] == [False, True]
        await ask(remote.url, "POST /nodes/0/stop")
        assert [node.running for node in ring.nodes] == [False, True]
        assert (await ask(remote.url, "GET /statistics"))[0] == 404


# -- the page --------------------------------------------------------------------------------


async def test_the_examples_of_the_page_run():
    if shutil.which("curl") is None:
        lack = "install curl to run the examples of docs/devnode.md"
        pytest.fail(lack) if os.environ.get("CI") == "true" else pytest.skip(lack)
    examples = next(block for block in re.findall(r"```sh\n(.*?)```", DOCS, re.DOTALL) if "$CONTROL" in block)
    async with DevNode(control_port=0) as node, Raw(node.ws_url) as alice:
        await alice.register()
        shell = await asyncio.create_subprocess_exec(
            "bash",
            "-ec",
            examples,
            env={**os.environ, "CONTROL": node.control_url},
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await shell.communicate()
        changed, clients, cut, reset = (json.loads(line) for line in said.splitlines())
        assert (changed["loss"], changed["path_delay_ms"]) == (0.2, {"1": 200})
        assert [client["address"] for client in clients] == [alice.addr]
        assert cut == {"cut": 1}
        assert (reset["loss"], node.faults) == (0.0, Faults())
        assert await alice.gone() == 1006


async def test_the_python_of_the_page_runs(capsys):
    example = next(re.finditer(r"```python\n(.*?)```", DOCS, re.DOTALL))[1]
    scope = {}
    exec("async def example():\n" + textwrap.indent(example, "    "), scope)  # noqa: S102 - our own page
    await scope["example"]()
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")


def test_every_counter_stands_on_the_page():
    sources = (Path(__file__).parents[2] / "relay" / "nkn" / "devnode").glob("*.py")
    counted = {
        name for source in sources for name in re.findall(r'counts\[f?"([a-z_]+)', source.read_text("utf-8"))
    }
    assert len(counted) > 20
    assert {name for name in counted if f"`{name}`" not in DOCS} == set()


@pytest.mark.parametrize(
    ("request_line"), [f"{method} /{name}" for name, deeds in _ROUTES.items() for method in deeds]
)
def test_every_route_stands_on_the_page(request_line):
    assert f"| `{request_line}` |" in DOCS


@pytest.mark.parametrize("name", [*Faults.__dataclass_fields__, *Times.__dataclass_fields__])
def test_every_knob_and_every_clock_stands_on_the_page(name):
    assert re.search(rf"^\|[^|]*`{name}`", DOCS, re.MULTILINE), name
