"""The clients of one load, in a process of their own: `python -m bench.proxy_load JOB`, figures as JSON.

Bare sockets, and nothing is read while the load runs but the end of an answer, so that the clients take
little of the machine. Started by `proxies`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from bisect import bisect_left
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from bench import processes, proxy_reading
from bench.measured import quantile
from bench.proxy_cases import NATIVE, Load
from bench.proxy_reading import Answer, Heard
from bench.proxy_upstream import MODEL

_AGAIN_S = 0.05
"""Before a connection that was lost is made again."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to do.

    Attributes:
        port: of who is asked.
        path: the route.
        model: as it is called there.
        load: how.
        clocks: name → the processes whose processor time is taken together.
    """

    port: int
    path: str
    load: Load
    key: str = ""
    clocks: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Self:
        """The job of a command line."""
        told: dict[str, Any] = json.loads(text)
        return cls(**{**told, "load": Load(**told["load"])})

    def written(self) -> str:
        """As a word of a command line."""
        return json.dumps(asdict(self))

    def request(self) -> bytes:
        """What every client sends."""
        text = json.dumps({"rate": self.load.rate, "lines": self.load.lines})
        if self.path == NATIVE:
            asked: dict[str, Any] = {"model": MODEL, "prompt": text, "stream": True}
        else:
            messages = [{"role": "user", "content": text}]
            asked = {"model": MODEL, "messages": messages, "stream": True}
        body = json.dumps(asked)
        key = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{key}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()


class Client(asyncio.Protocol):
    """One connection that asks again and again, and keeps what comes."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._answer: Answer | None = None
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._crowd.clients.add(self)
        self._ask()

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            return
        answer.pieces.append((time.monotonic(), data))
        self._tail = (self._tail + data)[-len(proxy_reading.END) :]
        if self._tail == proxy_reading.END:
            answer.over = True
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's form
        self._crowd.clients.discard(self)
        if not self._crowd.over:
            asyncio.get_running_loop().call_later(_AGAIN_S, self._crowd.come)

    def cut(self) -> None:
        """The load is over."""
        if self._answer is not None:
            self._answer.cut = True
        self._transport.abort()

    def _ask(self) -> None:
        self._tail = b""
        self._answer = Answer(self._crowd.job.path, time.monotonic())
        self._crowd.answers.append(self._answer)
        self._transport.write(self._crowd.request)


class Crowd:
    """All clients of a load."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.request = job.request()
        self.answers: list[Answer] = []
        self.clients: set[Client] = set()
        self.over = False
        self._coming: set[asyncio.Task[Any]] = set()

    async def run(self) -> tuple[float, float, dict[str, float]]:
        """Until the load is over; its beginning, its end and what processor time each name used."""
        loop, load = asyncio.get_running_loop(), self.job.load
        for index in range(load.streams):
            loop.call_later(index * load.gap_s, self.come)
        await asyncio.sleep(load.warm_s)
        began, before = time.monotonic(), self._clocks()
        await asyncio.sleep(load.seconds)
        ended, after = time.monotonic(), self._clocks()
        self.over = True
        for client in list(self.clients):
            client.cut()
        await asyncio.gather(*self._coming, return_exceptions=True)
        return began, ended, {name: after[name] - before[name] for name in after}

    def come(self) -> None:
        """One more client."""
        if self.over:
            return
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.create_connection(lambda: Client(self), "127.0.0.1", self.job.port))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    def _clocks(self) -> dict[str, float]:
        used = {name: sum(map(processes.cpu_s, pids)) for name, pids in self.job.clocks.items()}
        return used | {"client": time.process_time()}


def figures(answers: list[Heard], began: float, ended: float) -> dict[str, Any]:
    """What was heard between two moments."""
    lines = sum(bisect_left(one.came, ended) - bisect_left(one.came, began) for one in answers)
    late = [
        late for one in answers for moment, late in zip(one.came, one.late_ms, strict=True) if moment >= began
    ]
    words = [one.words for one in answers if one.words]
    return {
        "seconds": ended - began,
        "lines": lines,
        # By first line, not by request: who is overloaded would have no late ones to show.
        "ttft_ms": [one.ttft_ms for one in answers if one.came and began <= one.came[0] < ended],
        "late_ms": quantile(late, 0.5),
        "late_p95_ms": quantile(late, 0.95),
        "whole": sum(one.whole for one in answers),
        "failed": len(words),
        "words": words[0] if words else "",
    }


def main() -> None:
    """Run the job of the command line."""
    crowd = Crowd(Job.read(sys.argv[1]))
    began, ended, cpu = asyncio.run(crowd.run())
    found = figures([proxy_reading.read(answer) for answer in crowd.answers], began, ended)
    print(json.dumps(found | {"cpu": cpu}))


if __name__ == "__main__":
    main()
