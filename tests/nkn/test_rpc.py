import asyncio
import gzip
import json
import socket

import pytest

from relay.nkn.rpc import DEFAULT_SEEDS, RpcError, SeedRpc
from relay.nkn.session import NodeInfo
from wire import limits

ADDRESS = "alice." + "0" * 64
GOOD = {
    "id": "relay",
    "jsonrpc": "2.0",
    "result": {"addr": "10.0.0.1:30002", "pubkey": "6e" * 32, "rpcAddr": ""},
}
NODE = NodeInfo("10.0.0.1:30002", b"n" * 32)

pytestmark = pytest.mark.usefixtures("tidy")


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_a_seed_names_the_node_of_an_address(fake_seed):
    async with fake_seed(GOOD) as seed:
        assert await SeedRpc([seed.url]).locate(ADDRESS) == NODE
    (question,) = seed.questions
    assert question["method"] == "getwsaddr"
    assert question["params"] == {"address": ADDRESS}
    assert question["jsonrpc"] == "2.0"
    assert isinstance(question["id"], str)


async def test_with_tls_a_node_that_speaks_wss_is_asked_for(fake_seed):
    async with fake_seed(GOOD) as seed:
        await SeedRpc([seed.url], tls=True).locate(ADDRESS)
    assert seed.questions[0]["method"] == "getwssaddr"


LYING = [
    ("http 429 with an empty body", (429, b""), "HTTP 429"),
    ("http 500", (500, b"panic"), "HTTP 500"),
    ("a redirect", (302, b""), "HTTP 302"),
    ("no answer at all", None, "Error"),
    ("an empty body", (200, b""), "not JSON"),
    ("no json", "<html>", "not JSON"),
    ("no utf-8", (200, b"\xff\xfe"), "not JSON"),
    ("nested too deep", "[" * 50_000, "not JSON"),
    ("a list", [], "names no node"),
    ("null", "null", "names no node"),
    ("no result", {"id": "relay"}, "names no node"),
    ("the obsolete shape", {"result": "10.0.0.1:30002"}, "names no node"),
    ("an address without port", {"result": {"addr": "10.0.0.1"}}, "names no node"),
    ("an address that is a url", {"result": {"addr": "http://evil:80/x"}}, "names no node"),
    ("a key that is none", {"result": {"addr": "a:1", "pubkey": "xyz"}}, "names no node"),
    (
        "error -45001",
        {"error": {"code": -45001, "message": "INTERNAL ERROR", "data": "no predecessors"}},
        "-45001",
    ),
    ("an error that is no object", {"error": 5}, "names no node"),
    ("a body that is too large", (200, b" " * (limits.RPC_ANSWER_MAX_B + 1)), "too large"),
]


@pytest.mark.parametrize(("answer", "said"), [row[1:] for row in LYING], ids=[row[0] for row in LYING])
async def test_a_useless_answer_is_told_with_its_seed_and_the_next_one_is_asked(fake_seed, answer, said):
    async with fake_seed(answer) as bad, fake_seed(GOOD) as good:
        with pytest.raises(RpcError, match=said) as caught:
            await SeedRpc([bad.url]).locate(ADDRESS)
        assert bad.url in str(caught.value)
        assert await SeedRpc([bad.url, good.url]).locate(ADDRESS) == NODE


async def test_a_seed_that_is_down_costs_only_a_try(fake_seed):
    async with fake_seed(GOOD) as good:
        assert await SeedRpc([f"http://127.0.0.1:{closed_port()}", good.url]).locate(ADDRESS) == NODE


async def test_the_seed_that_answered_last_is_asked_first_the_next_time(fake_seed):
    async with fake_seed((500, b"")) as bad, fake_seed(GOOD) as good:
        rpc = SeedRpc([bad.url, good.url])
        await rpc.locate(ADDRESS)
        await rpc.locate(ADDRESS)
    assert (len(bad.questions), len(good.questions)) == (1, 2)


async def test_a_good_seed_that_turns_bad_is_followed_by_the_others_again(fake_seed):
    async with fake_seed((500, b""), GOOD) as one, fake_seed(GOOD, (500, b"")) as two:
        rpc = SeedRpc([one.url, two.url])
        await rpc.locate(ADDRESS)
        assert await rpc.locate(ADDRESS) == NODE
    assert (len(one.questions), len(two.questions)) == (2, 2)


async def test_if_no_seed_can_tell_each_is_named_with_its_reason(fake_seed):
    async with fake_seed((429, b"")) as one, fake_seed((500, b"")) as two:
        with pytest.raises(RpcError) as caught:
            await SeedRpc([one.url, two.url, one.url]).locate(ADDRESS)
    assert str(caught.value) == f"{one.url}: HTTP 429; {two.url}: HTTP 500"


async def test_without_seeds_the_refusal_says_so():
    with pytest.raises(RpcError, match="no RPC server is configured"):
        await SeedRpc([]).locate(ADDRESS)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://127.0.0.1", "http://", "http://[::1", "http://127.0.0.1:99999"]
)
async def test_a_seed_that_is_no_url_is_one_bad_seed_and_not_the_end(fake_seed, url):
    with pytest.raises(RpcError):
        await SeedRpc([url]).locate(ADDRESS)
    async with fake_seed(GOOD) as good:
        assert await SeedRpc([url, good.url]).locate(ADDRESS) == NODE


async def test_a_proxy_of_the_environment_that_cannot_be_used_is_one_bad_seed_and_not_the_end(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "nonsense://127.0.0.1:1")
    with pytest.raises(RpcError):
        await SeedRpc(["http://seed.invalid:1"]).locate(ADDRESS)


async def test_this_machine_is_asked_without_the_environments_proxy(fake_seed, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with fake_seed(GOOD) as seed:
        assert await SeedRpc([seed.url]).locate(ADDRESS) == NODE


async def test_a_seed_that_says_nothing_is_left_after_the_time_out(fake_seed, monkeypatch, until):
    monkeypatch.setattr(limits, "RPC_TIMEOUT_S", 0.1)

    class Silent(fake_seed):
        async def _serve(self, reader, writer):
            self.questions.append(await reader.readuntil(b"\r\n\r\n"))
            await reader.read()

    async with Silent() as silent, fake_seed(GOOD) as good:
        assert await SeedRpc([silent.url, good.url]).locate(ADDRESS) == NODE
        assert len(silent.questions) == 1


async def test_a_seed_that_dribbles_is_left_after_the_same_time_as_a_silent_one(fake_seed, monkeypatch):
    monkeypatch.setattr(limits, "RPC_TIMEOUT_S", 0.15)

    class Dribbling(fake_seed):
        async def _serve(self, reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while True:
                writer.write(b" ")
                await asyncio.sleep(0.02)  # every read succeeds long before a time-out per read

    async with Dribbling() as dribbling, fake_seed(GOOD) as good:
        assert await SeedRpc([dribbling.url, good.url]).locate(ADDRESS) == NODE


async def test_a_compressed_bomb_is_never_inflated(fake_seed):
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < limits.RPC_ANSWER_MAX_B

    class Bomber(fake_seed):
        @staticmethod
        def _http(_):
            head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
            return head.encode() + bomb

    async with Bomber("") as seed:
        with pytest.raises(RpcError, match="not JSON"):
            await SeedRpc([seed.url]).locate(ADDRESS)
    assert "accept-encoding: identity" in seed.headers[0]


async def test_what_a_seed_says_of_its_error_is_bounded_and_cannot_draw_on_a_terminal(fake_seed):
    async with fake_seed({"error": {"code": 1, "message": "\x1b[2J" + "x" * 5000, "data": "\n"}}) as seed:
        with pytest.raises(RpcError) as caught:
            await SeedRpc([seed.url]).locate(ADDRESS)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_the_public_seeds_are_those_of_both_official_sdks():
    assert DEFAULT_SEEDS[0] == "https://mainnet-rpc-node-0001.nkn.org/mainnet/api/wallet"
    assert DEFAULT_SEEDS[1] == "http://seed.nkn.org:30003"
    assert DEFAULT_SEEDS[-1] == "http://mainnet-seed-0008.nkn.org:30003"
    assert len(DEFAULT_SEEDS) == len(set(DEFAULT_SEEDS)) == 10
    assert json.dumps(DEFAULT_SEEDS)
