"""Plays the recorded HTTP requests to a node and compares its answers: head, headers, body, end.

Used by the tests of the development node's RPC.
"""

import asyncio
import contextlib
import json
import socket

from nkn.recorded import clock, recording
from nkn.recorded.likeness import NOTHING, Likeness, Literally

from relay.nkn.devnode import DevNode, Faults

WATCHED_S = 3.0
"""How long the recorder looked at a connection that did not end."""
PATIENCE_S = 9.0
"""How long it is looked at where it ended; the longest took 5 s."""
NODE = recording.FILE["nodes"][0]
STANDARD = recording.FILE["rpc"]["standard_response_head"].strip("\r\n")
METHOD = "getlatestblockheight"


def request_of(case):
    """The bytes of a recorded request; the file keeps the usual head once."""
    if case["case"] == "body_8MiB":
        return padded(case)
    if case["case"] == "options_429_default_limits":  # the file kept the answer alone
        case = recording.RPC["options_cors_preflight"]
    if "request" in case:
        return case["request"].encode()
    body = case.get("request_body")
    body = recording.compact(case["request_json"]) if body is None else body
    raw = body.encode("latin-1" if body.startswith("\xef\xbb\xbf") else "utf-8")
    head = recording.FILE["rpc"]["standard_request_head"].replace("<n>", str(len(raw)))
    return head.encode() + raw


def response_of(case):
    """The text of a recorded answer, the usual head put before a body that stands alone."""
    if "response" in case:
        return case["response"]
    body = recording.compact(case["response_json"]) if "response_json" in case else case["response_body"]
    return STANDARD.replace("<n>", str(len(body.encode()))) + "\r\n\r\n" + body


async def ask(port, request, watched_s):
    """(everything that came back, how it ended, seconds until then)."""
    loop, sock = asyncio.get_running_loop(), socket.socket()
    sock.setblocking(False)
    began, answer, end = clock.now(), bytearray(), "timeout"
    with contextlib.closing(sock):
        await loop.sock_connect(sock, ("127.0.0.1", port))
        writing = asyncio.create_task(loop.sock_sendall(sock, request))
        try:
            async with asyncio.timeout(watched_s):
                while piece := await loop.sock_recv(sock, 1 << 18):
                    answer += piece
                end = "fin"
        except ConnectionResetError:
            end = "rst"
        except TimeoutError:
            pass
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    return bytes(answer), end, clock.now() - began


def compare(like, recorded, ours):
    """Compare two answers of HTTP."""
    one, other = (text.partition("\r\n\r\n") for text in (recorded, ours))
    if " 100 " in one[0]:
        if one[0] != other[0]:
            like.differ("interim answer", one[0], other[0] if " 100 " in other[0] else NOTHING)
        one = one[2].partition("\r\n\r\n")
        other = other[2].partition("\r\n\r\n") if " 100 " in other[0] else other
    heads = [part[0].split("\r\n") for part in (one, other)]
    if heads[0][0] != heads[1][0]:
        like.differ("status line", heads[0][0], heads[1][0])
    fields = [[tuple(line.split(": ", 1)) for line in head[1:]] for head in heads]
    bodies_alike = len(like.differences)
    like.texts("", one[2], other[2])
    sizes_vary = one[2] != other[2]  # node names of another length, or a difference told already
    _headers(like, *fields, sizes_vary=sizes_vary or bodies_alike != len(like.differences))


def _headers(like, recorded, ours, *, sizes_vary):
    one, other = dict(recorded), dict(ours)
    for name in [*one, *(name for name in other if name not in one)]:
        here, there = one.get(name, NOTHING), other.get(name, NOTHING)
        if not (name == "Content-Length" and sizes_vary) and not like.same(str(here), str(there)):
            like.differ(f"header {name}", here, there)
    both = [name for name, _ in recorded if name in other]
    if both != [name for name, _ in ours if name in one]:
        like.differ("order of headers", both, [name for name, _ in ours if name in one])


def standard(method, params):
    """A question as the JS SDK asks it."""
    body = {"id": "nkn-sdk-js", "jsonrpc": "2.0", "method": method, "params": params}
    return request_of({"case": method, "request_json": body}).decode()


def result_of(body):
    """The result of an answer, or its error."""
    answer = json.loads(body)
    return answer.get("result", answer.get("error"))


async def play(case):
    """Replay one request; return the differences."""
    like, name = Likeness(), case["case"]
    faults = Faults(rate_burst=100 if name.endswith("default_limits") else 0)
    if name.endswith("node_without_id"):
        faults = Faults(rpc_failure="joining")
    async with DevNode(strict=False, block_s=0, node_id=bytes.fromhex(NODE["id"]), faults=faults) as node:
        ports = {
            side: int(url.rpartition(":")[2]) for side, url in (("rpc", node.rpc_url), ("ws", node.ws_url))
        }
        port = ports["ws" if case.get("port") == 30002 else "rpc"]
        request = request_of(case)
        if name in LIMITED:
            await LIMITED[name](like, port, request)
        recorded, ended = _unfinished(case)
        answer, end, took = await ask(port, request, WATCHED_S if ended == "timeout" else PATIENCE_S)
        compare(like, recorded, answer.decode("latin-1"))
        if end != ended:
            like.differ("end", Literally(ended), Literally(end))
        if end == "fin" and case.get("ms", 0) >= 1000 and abs(took - case["ms"] / 1000) > 0.25:
            like.differ("seconds", round(case["ms"] / 1000, 1), round(took, 1))
    return like.differences


def _unfinished(case):
    """The recorded answer and how it ended; once the file says that in the answer itself."""
    recorded = response_of(case)
    left_open = recorded.removesuffix("<no fin within 3 s>")
    return left_open, "timeout" if left_open != recorded else case.get("end", "fin")


async def _rpc_limit(like, port, request):
    """160 requests in 0.08 s, a rest, and on until the next refusal."""
    statuses = [await _status(port, request, 0.0005) for _ in range(160)]
    like.values("first refused", 101, statuses.index(429) + 1)
    like.values("passed and refused of 160", [100, 60], [statuses.count(200), statuses.count(429)])
    await asyncio.sleep(1.05)
    passed = 0
    while await _status(port, request, 0) == 200:
        passed += 1
    like.values("passed after 1.05 s", 11, passed)


async def _options_limit(like, port, request):
    """OPTIONS are counted as well."""
    statuses = [await _status(port, request, 0) for _ in range(101)]
    like.values("first refused", 101, statuses.index(429) + 1)


async def _ws_limit(like, port, request):
    """101 upgrades at once."""
    statuses = [await _status(port, request, 0) for _ in range(101)]
    like.values("first refused", 101, statuses.index(429) + 1 if 429 in statuses else 0)


async def _status(port, request, pause_s):
    """The status of an answer, whose end is not waited for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    line = await reader.readline()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    await asyncio.sleep(pause_s)
    return int(line.split()[1])


LIMITED = {
    "rpc_429_default_limits": _rpc_limit,
    "options_429_default_limits": _options_limit,
    "ws_429_default_limits": _ws_limit,
}
"""What goes before the request that is refused."""


def padded(case):
    """The request with a member of 8 MiB, which the file left out."""
    body = {
        "id": case["response_json"]["id"],
        "jsonrpc": "2.0",
        "method": "getwsaddr",
        "params": {"address": recording.ADDRESSES["alice"], "pad": "x" * 2**23},
    }
    return request_of({"case": "", "request_json": body})
