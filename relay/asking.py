"""The command lines of a peer: `ask`, `ping`, `info`. Called by `cli`."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relay import keyfile
from relay.nkn import DEFAULT_SEEDS, AddressError
from relay.nkn.address import normalise
from relay.peer import Answer, Peer, PeerError, connect, text_of
from wire import jsontext, redact


def main(words: Sequence[str]) -> int:
    """Run one of the commands; 0 done, 1 the relay did not answer or the request failed, 2 arguments."""
    options = _parser().parse_args(words)
    try:
        options.address = normalise(options.address)
    except AddressError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        return asyncio.run(_run(options))
    except PeerError as error:
        print(f"\n{redact.words(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read the words has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("address", help="what the relay printed behind `→ NKN ready:`")
    shared.add_argument("--rpc", action="append", metavar="URL", help="NKN RPC server; may be repeated")
    shared.add_argument("--seed-file", type=Path, help="your identity, made if missing (default: a new one)")
    parser = argparse.ArgumentParser(prog="relay")
    commands = parser.add_subparsers(dest="command", required=True)
    ask = commands.add_parser("ask", parents=[shared], help="ask a model and print its words")
    ask.add_argument("prompt")
    ask.add_argument("--model", help="default: the first that the relay's service lists")
    ask.add_argument("--timeout-ms", type=int, default=120_000, help="longest silence of the model")
    ask.add_argument("--predict", type=int, help="at most so many tokens")
    ask.add_argument("--quiet", action="store_true", help="only the words, no table")
    ping = commands.add_parser("ping", parents=[shared], help="round-trip time over NKN")
    ping.add_argument("--count", type=int, default=5)
    commands.add_parser("info", parents=[shared], help="what the relay offers")
    return parser


async def _run(options: argparse.Namespace) -> int:
    seed = keyfile.read_or_create_seed(options.seed_file) if options.seed_file else None
    client = await connect(seed, options.rpc or DEFAULT_SEEDS)
    try:
        peer = Peer(options.address, client)
        return await _COMMANDS[options.command](peer, options)
    finally:
        await client.close()


async def _ping(peer: Peer, options: argparse.Namespace) -> int:
    times = []
    for index in range(max(1, options.count)):
        answer = await peer.call("relay.ping")
        times.append(answer["rtt_ms"])
        print(f"pong {index + 1} from {redact.key(peer.address)}: {answer['rtt_ms']:.1f} ms", flush=True)
        await asyncio.sleep(0.2 if index + 1 < options.count else 0)
    print(f"p50 {statistics.median(times):.1f} ms, min {min(times):.1f}, max {max(times):.1f}")
    return 0


async def _info(peer: Peer, _options: argparse.Namespace) -> int:
    answer = await peer.call("relay.info")
    print(json.dumps({name: value for name, value in answer.items() if name != "rtt_ms"}, indent=2))
    return 0


async def _ask(peer: Peer, options: argparse.Namespace) -> int:
    model = options.model or await _first_model(peer)
    body: dict[str, Any] = {"model": model, "prompt": options.prompt, "stream": True}
    if options.predict is not None:
        body["options"] = {"num_predict": options.predict}
    request = {"path": "/api/generate", "method": "POST", "json": body, "timeout_ms": options.timeout_ms}
    final: dict[str, Any] = {}
    answer = peer.request(request)
    waiting = asyncio.create_task(_show_wait(answer))
    try:
        async for piece in answer:
            waiting.cancel()
            sys.stdout.write(redact.words(text_of(piece)))
            sys.stdout.flush()
            if piece.line and '"done":true' in piece.line.replace(" ", ""):
                final = _object(piece.line)
    finally:
        waiting.cancel()
    print()
    end = answer.reader.end or {}
    if not options.quiet:
        _table(answer, model, final)
    if not end.get("ok"):
        why = f"not whole: {end.get('error')} ({end.get('code')})"
        print(redact.printable(why, 500), file=sys.stderr)
        return 1
    return 0


async def _show_wait(answer: Answer) -> None:
    """On a terminal: how long nothing has come, and what the relay says why."""
    if not sys.stderr.isatty():
        return
    try:
        for second in itertools.count(1):
            await asyncio.sleep(1)
            progress = answer.reader.progress
            place = f" {progress.position}" if progress.position else ""
            state = redact.printable(f"{progress.state or 'asked'}{place}")
            sys.stderr.write(f"\r{second} s {state} … ")
            sys.stderr.flush()
    finally:
        sys.stderr.write("\r\x1b[K")


async def _first_model(peer: Peer) -> str:
    """The name of the first model behind the relay."""
    answer = peer.request({"path": "/api/tags", "stream": "lines"})
    lines = [piece.line or "" async for piece in answer]
    end = answer.reader.end or {}
    if not end.get("ok"):
        raise PeerError(f"the relay could not list its models: {end.get('error')}")
    try:
        return str(_object("\n".join(lines))["models"][0]["name"])
    except (LookupError, TypeError) as error:
        raise PeerError(
            "the relay's service has no model; pull one there, or name one with --model"
        ) from error


def _table(answer: Answer, model: str, final: dict[str, Any]) -> None:
    reader, timing, end = answer.reader, answer.timing, answer.reader.end or {}
    rows: list[tuple[str, str]] = [("model", model)]
    if timing.acknowledged_s is not None:
        rows.append(("round trip", f"{timing.acknowledged_s * 1000:.1f} ms"))
    if timing.first_s is not None:
        rows.append(("first line after", f"{timing.first_s * 1000:.0f} ms"))
    count, nanoseconds = final.get("eval_count"), final.get("eval_duration")
    if isinstance(count, int) and isinstance(nanoseconds, int) and 0 <= count < 2**53 > nanoseconds > 0:
        rows.append(("tokens", f"{count} at {count / nanoseconds * 1e9:.1f}/s"))
    rows.append(("lines in frames", f"{end.get('lines')} in {reader.progress.frames}"))
    rows.append(("overtaken, doubled", f"{reader.progress.overtaken}, {reader.progress.doubled}"))
    rows.append(("bytes", str(end.get("bytes"))))
    marks = ("ok", "done_seen", "eot_seen", "truncated", "error", "t_ms")
    rows.append(("end", " ".join(f"{name}={json.dumps(end.get(name))}" for name in marks)))
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"  {name:<{width}}  {redact.printable(value, 500)}" for name, value in rows))


def _object(line: str) -> dict[str, Any]:
    """A line as a JSON object; empty if it is none."""
    try:
        value = jsontext.loads(line)
    except jsontext.JsonError:
        return {}
    return value if isinstance(value, dict) else {}


_COMMANDS = {"ask": _ask, "ping": _ping, "info": _info}
