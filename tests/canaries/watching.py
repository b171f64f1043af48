"""Every seed and every prompt that the suite uses is a canary: none may show in what a program writes.

    learnt from            │ seeds: every Identity · prompts, keys: every request that relay or farm accepts
    looked for in          │ standard output and error (so logs, tracebacks, screens), /metrics, /health
    seeds alone            │ every message before it is sealed: an answer may well hold its own peer's prompt

Installed in every Python program that a test starts, by `sitecustomize`, and in the tests themselves by
`conftest`. What is found goes into files, since the program may be about to end. Standard library only.
"""

from __future__ import annotations

import atexit
import functools
import json
import logging
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

VARIABLE = "TEST_CANARIES"
NEEDLE = 24
"""Characters of a secret that are looked for: a log may cut it."""
LEAST = 8
"""Shorter texts stand in logs for other reasons."""
MOST = 256
PROMPTS = frozenset({"prompt", "content", "system", "suffix", "input", "text", "thinking", "instructions"})
KEYS = frozenset({"authorization", "x-api-key", "proxy-authorization"})


def folder() -> Path | None:
    """Where findings go; None if nobody wants them."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def environment(*paths: Path) -> dict[str, str]:
    """Variables for a program that is to be watched and finds modules there; none if nobody watches."""
    named = folder()
    here = [Path(__file__).parent] if named else []
    return {VARIABLE: str(named or ""), "PYTHONPATH": os.pathsep.join(map(str, [*here, *paths]))}


class Watch:
    """One program's secrets, and what it wrote.

    Args:
        found: where findings go.
    """

    def __init__(self, found: Path | None) -> None:
        self.found = found
        self.counts = dict.fromkeys(("seeds", "prompts", "texts"), 0)
        self._seeds: OrderedDict[str, None] = OrderedDict()
        self._prompts: OrderedDict[str, None] = OrderedDict()

    def seed(self, seed: bytes) -> None:
        """An identity was made."""
        self._learn(self._seeds, "seeds", bytes(seed).hex())

    def said(self, raw: object) -> None:
        """A request was accepted: whatever a person wrote in it."""
        for text in _texts(raw):
            self._learn(self._prompts, "prompts", text)

    def look(self, text: str | bytes, where: str, *, seeds_only: bool = False) -> None:
        """Something leaves the program."""
        shown = text.decode(errors="replace") if isinstance(text, bytes) else text
        self.counts["texts"] += 1
        for kind, known in (("seed", self._seeds), ("prompt", {} if seeds_only else self._prompts)):
            for needle in list(known):
                if needle in shown:
                    self._report(kind, needle, where, shown)

    def save(self) -> None:
        """Say what was looked at."""
        if self.found and self.found.is_dir():
            (self.found / f"seen-{os.getpid()}").write_text(json.dumps(self.counts), encoding="utf-8")

    def _learn(self, known: OrderedDict[str, None], kind: str, text: str) -> None:
        if len(text) < LEAST or text[:NEEDLE] in known:
            return
        self.counts[kind] += 1
        known[text[:NEEDLE]] = None
        if len(known) > MOST:
            known.popitem(last=False)

    def _report(self, kind: str, needle: str, where: str, text: str) -> None:
        if self.found and self.found.is_dir():
            line = f"{kind} {needle[:8]}… in {where} of {sys.argv}: {text[:300]!r}\n"
            with (self.found / f"leak-{os.getpid()}").open("a", encoding="utf-8") as file:
                file.write(line)


class Tee:
    """A text stream of which everything is looked at."""

    def __init__(self, stream: TextIO, watch: Watch, name: str) -> None:
        self._stream, self._watch, self._name = stream, watch, name

    def write(self, text: str) -> int:
        self._watch.look(text, self._name)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Listener(logging.Handler):
    """Every record that a logger of this program gets."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        self._watch.look(self.format(record), f"log {record.name}")


def install(watch: Watch, program: Any = None) -> None:
    """Look from now on.

    Args:
        watch: what to tell.
        program: `sys`, if its standard streams are to be looked at; tests look at records instead.
    """
    if watch.found is None:
        return
    if program is None:
        logging.getLogger().addHandler(Listener(watch))
    else:
        program.stdout, program.stderr = (
            stream and Tee(stream, watch, name)
            for stream, name in ((program.stdout, "stdout"), (program.stderr, "stderr"))
        )
    sys.meta_path.insert(0, Finder(watch))
    atexit.register(watch.save)
    watch.save()


class Finder(MetaPathFinder):
    """Puts the watch into modules as they are imported."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._busy: set[str] = set()

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in PLACES or name in self._busy:
            return None
        self._busy.add(name)
        try:
            spec = next(
                filter(None, (f.find_spec(name, path, target) for f in sys.meta_path if f is not self))
            )
        finally:
            self._busy.discard(name)
        if spec.loader is not None:
            spec.loader = _After(spec.loader, functools.partial(PLACES[name], self._watch))
        return spec


class _After(Loader):
    def __init__(self, loader: Loader, then: Callable[[ModuleType], None]) -> None:
        self._loader, self._then = loader, then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._then(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


# -- where --------------------------------------------------------------------------------------


def _wrap(owner: Any, name: str, tell: Callable[[tuple[Any, ...], Any], None]) -> None:
    """Tell the arguments and the result of every call."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def outer(*args: Any, **named: Any) -> Any:
        result = inner(*args, **named)
        tell(args, result)
        return result

    setattr(owner, name, outer)


def _identities(watch: Watch, module: Any) -> None:
    _wrap(module.Identity, "__init__", lambda args, _: watch.seed(args[1]))


def _requests(watch: Watch, module: Any) -> None:
    def accepted(_args: tuple[Any, ...], request: Any) -> None:
        watch.said(request.body)
        watch.said([{"text": value} for name, value in request.headers.items() if name.lower() in KEYS])

    _wrap(module.Policy, "judge", accepted)


def _demands(watch: Watch, module: Any) -> None:
    _wrap(module, "read", lambda args, _: watch.said(args[0]))


def _metrics(watch: Watch, module: Any) -> None:
    _wrap(module.Metrics, "text", lambda _, text: watch.look(text, "/metrics"))


def _panel(watch: Watch, module: Any) -> None:
    _wrap(module.Panel, "answer", lambda _, answer: watch.look(repr(answer), "/health"))


def _payloads(watch: Watch, module: Any) -> None:
    _wrap(module.Payload, "encode", lambda _, raw: watch.look(raw, "a message", seeds_only=True))


PLACES: dict[str, Callable[[Watch, Any], None]] = {
    "relay.nkn.identity": _identities,
    "relay.policy": _requests,
    "farm.demand": _demands,
    "relay.metrics": _metrics,
    "farm.metrics": _metrics,
    "relay.panel": _panel,
    "relay.nkn.payload": _payloads,
}


def _texts(raw: object) -> Iterator[str]:
    if isinstance(raw, bytes):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError):
            return
    waiting = [raw]
    while waiting:
        match waiting.pop():
            case dict() as fields:
                yield from (
                    text for name, text in fields.items() if name in PROMPTS and isinstance(text, str)
                )
                waiting += fields.values()
            case list() as items:
                waiting += items
