"""The stand-in programs: `ollama` with runners that are real processes, `docker` whose containers outlive
their client, `nvidia-smi`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from standin.calls import Callers, post
from standin.child import free_port

BIN = Path(__file__).parent / "standin" / "bin"
DEADLINE_S = 20.0
INSIDE = Path("/root", ".ollama")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "STANDIN_"))}


class Bench:
    """A folder, an environment and a free port; ends what was started in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.env = CLEAN | {
            "PATH": f"{BIN}:{CLEAN['PATH']}",
            "HOME": str(folder),
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "OLLAMA_MODELS": str(folder / "models"),
            "STANDIN_LOG": str(folder / "log"),
            "STANDIN_STATE": str(folder / "state"),
            "STANDIN_LIFE_S": "60",
        }
        self.started: list[subprocess.Popen[str]] = []
        self.left: list[int] = []

    def start(self, *argv: str, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            argv, env=self.env | env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.started.append(process)
        return process

    def run(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, env=self.env | env, text=True, capture_output=True, timeout=DEADLINE_S)

    def serve(self, **env: str) -> subprocess.Popen[str]:
        process = self.start("ollama", "serve", **env)
        until(self.answers)
        return process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        try:
            return self.get("/") == b"Ollama is running"
        except OSError:
            return False

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=DEADLINE_S) as answer:
            return bytes(answer.read())

    def generate(self, words: str = "tokens=1", **more: Any) -> dict[str, Any]:
        body = json.dumps({"model": "a", "prompt": words, **more}).encode()
        with urllib.request.urlopen(f"{self.url}/api/generate", body, timeout=DEADLINE_S) as answer:
            return dict(json.loads(answer.read().splitlines()[-1]))

    def log(self, what: str) -> list[dict[str, Any]]:
        lines = map(json.loads, (self.folder / "log").read_text().splitlines())
        return [line for line in lines if line["what"] == what]

    def runner(self, serve: int) -> psutil.Process:
        (child,) = psutil.Process(serve).children()
        self.left.append(child.pid)
        return child

    def close(self) -> None:
        if (self.folder / "state").exists():
            names = self.run("docker", "ps", "-aq").stdout.split()
            if names:
                self.run("docker", "rm", "-f", *names)
        for process in self.started:
            if process.poll() is None:
                self.left += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
                process.kill()
        for pid in self.left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.communicate()


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


# -- ollama --------------------------------------------------------------------------------------------------


def test_the_version_as_it_is_told(bench: Bench) -> None:
    assert bench.run("ollama", "--version").stdout == "ollama version is 0.24.0\n"


def test_serve_obeys_and_writes_down_its_environment(bench: Bench) -> None:
    bench.serve(OLLAMA_NUM_PARALLEL="3", CUDA_VISIBLE_DEVICES="GPU-1", OLLAMA_KEEP_ALIVE="7s")
    assert bench.generate()["done"] is True
    (line,) = bench.log("serve")
    assert line["argv"][1:] == ["serve"]
    told = {
        name: line["env"][name]
        for name in ("OLLAMA_NUM_PARALLEL", "CUDA_VISIBLE_DEVICES", "OLLAMA_KEEP_ALIVE")
    }
    assert told == {"OLLAMA_NUM_PARALLEL": "3", "CUDA_VISIBLE_DEVICES": "GPU-1", "OLLAMA_KEEP_ALIVE": "7s"}


def test_a_runner_is_a_process_that_tells_its_health(bench: Bench) -> None:
    serve = bench.serve()
    bench.generate()
    argv = bench.runner(serve.pid).cmdline()
    assert argv[1:4] == [str(BIN / "ollama"), "runner", "--model"]
    port = argv[argv.index("--port") + 1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
        assert answer.read() == b'{"status":0,"progress":1}'


def test_sigterm_ends_serve_and_its_runners(bench: Bench) -> None:
    serve = bench.serve()
    bench.generate()
    runner = bench.runner(serve.pid)
    serve.terminate()
    assert serve.wait(DEADLINE_S) == 0
    assert not runner.is_running()


def test_kill_9_leaves_the_runner_to_init_and_sigterm_ends_it(bench: Bench) -> None:
    serve = bench.serve()
    bench.generate()
    runner = bench.runner(serve.pid)
    serve.kill()
    serve.wait(DEADLINE_S)
    until(lambda: runner.ppid() != serve.pid)
    assert runner.is_running()
    runner.terminate()
    until(lambda: not runner.is_running())


def test_a_killed_runner_breaks_its_stream_and_is_replaced(bench: Bench) -> None:
    serve = bench.serve()
    bench.generate()
    first = bench.runner(serve.pid)
    callers = Callers()
    wire = callers(bench.url, post(prompt="tokens=900 gap=0.01"))
    wire.head()
    stream = wire.chunks()
    next(stream)
    first.kill()
    *_, end = stream
    assert json.loads(end) == {"error": "an error was encountered while running the model: unexpected EOF"}
    callers.close()
    assert bench.generate()["done"] is True
    assert bench.runner(serve.pid).pid != first.pid


def test_a_stopped_runner_is_silence(bench: Bench) -> None:
    serve = bench.serve()
    bench.generate()
    runner = bench.runner(serve.pid)
    runner.suspend()
    callers = Callers()
    wire = callers(bench.url, post(prompt="tokens=1"))
    assert not wire.ended(0.2)
    assert bench.get("/api/version") == b'{"version":"0.24.0"}'
    runner.resume()
    callers.close()
    assert bench.generate()["done"] is True


def test_a_ghost_is_seen_in_its_processor_time(bench: Bench) -> None:
    serve = bench.serve()
    bench.generate()
    runner = bench.runner(serve.pid)

    def used() -> float:
        return sum(runner.cpu_times()[:2])

    callers = Callers()
    before = used()
    callers(bench.url, post(prompt="prefill=1.5"))
    until(lambda: used() > before + 0.02)
    callers.close()
    left = used()
    until(lambda: used() > left + 0.05)
    bench.generate()
    rests = used()
    time.sleep(0.05)
    assert used() - rests <= 0.01


def test_a_second_serve_on_the_port(bench: Bench) -> None:
    bench.serve()
    second = bench.run("ollama", "serve")
    assert second.returncode == 1
    assert "bind: address already in use" in second.stderr


def test_serve_can_fail_at_first(bench: Bench) -> None:
    words = {"STANDIN_FAIL": "Error: no luck", "STANDIN_FAILS": "1"}
    first = bench.run("ollama", "serve", **words)
    assert (first.returncode, first.stderr) == (1, "Error: no luck\n")
    bench.serve(**words)


def test_serve_can_die_by_itself(bench: Bench) -> None:
    assert bench.serve(STANDIN_DIE_S="0.3").wait(DEADLINE_S) == 2


def test_what_one_pulled_its_neighbours_on_the_same_store_have(bench: Bench) -> None:
    bench.serve(STANDIN_REGISTRY='{"new": {}}')
    body = json.dumps({"model": "new", "stream": False}).encode()
    with urllib.request.urlopen(f"{bench.url}/api/pull", body) as answer:
        assert json.load(answer) == {"status": "success"}
    other = Bench(bench.folder)
    try:
        other.serve()
        assert "new:latest" in [one["name"] for one in json.loads(other.get("/api/tags"))["models"]]
    finally:
        other.close()


# -- docker --------------------------------------------------------------------------------------------------


def container(bench: Bench, name: str = "w1", *more: str, **env: str) -> subprocess.Popen[str]:
    argv = [
        "docker",
        "run",
        "--rm",
        "--name",
        name,
        "-p",
        f"127.0.0.1:{bench.port}:11434",
        "--label",
        "farm=x",
    ]
    return bench.start(*argv, *more, "ollama/ollama", **env)


def names(bench: Bench, *filters: str) -> list[str]:
    argv = [word for one in filters for word in ("--filter", one)]
    return bench.run("docker", "ps", "-a", "--format", "{{.Names}}", *argv).stdout.split()


def test_a_container_serves_on_its_published_port(bench: Bench) -> None:
    container(bench, "w1", "-e", "OLLAMA_NUM_PARALLEL=5", "-v", f"{bench.folder}:{INSIDE}")
    until(bench.answers)
    assert bench.generate()["done"] is True
    (line,) = bench.log("serve")
    assert (line["env"]["OLLAMA_NUM_PARALLEL"], line["env"]["OLLAMA_MODELS"]) == (
        "5",
        f"{bench.folder}/models",
    )
    assert "-e" in bench.log("docker")[0]["argv"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One running container that is only looked at."""
    made = Bench(tmp_path_factory.mktemp("shown"))
    container(made)
    until(made.answers)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["label=farm"], True), (["label=farm=x"], True), (["label=farm=y"], False), (["name=w1"], True),
        (["name=^/w1$"], True), (["name=^/w$"], False), (["publish={port}"], True), (["publish=1"], False),
        (["label=farm=x", "publish=1"], False), (["status=running"], True), (["status=exited"], False),
    ],
)  # fmt: skip
def test_filters(shown: Bench, filters: list[str], found: bool) -> None:
    told = [one.replace("{port}", str(shown.port)) for one in filters]
    assert names(shown, *told) == (["w1"] if found else [])


def test_a_killed_client_leaves_its_container_and_stop_ends_it(bench: Bench) -> None:
    client = container(bench)
    until(bench.answers)
    assert psutil.Process(client.pid).children(recursive=True) == []
    client.kill()
    client.wait(DEADLINE_S)
    assert bench.generate()["done"] is True
    (short,) = bench.run("docker", "ps", "-q").stdout.split()
    assert bench.run("docker", "stop", "-t", "5", short).stdout == f"{short}\n"
    assert not bench.answers()
    assert names(bench) == []


def test_with_a_daemon_a_container_is_the_daemons(bench: Bench) -> None:
    daemon = bench.start("dockerd")
    until((bench.folder / "state" / "daemon").exists)
    client = container(bench, "w1", "-e", "MARK=7")
    until(bench.answers)
    inside = psutil.Process(int(bench.run("docker", "inspect", "-f", "{{.State.Pid}}", "w1").stdout))
    assert [above.pid for above in inside.parents()][1] == daemon.pid
    assert inside.environ()["MARK"] == "7"
    assert "STANDIN_LOG" in inside.environ()
    assert "HOME" not in inside.environ()
    client.terminate()
    assert client.wait(DEADLINE_S) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_client_goes_to_the_container(bench: Bench, number: signal.Signals) -> None:
    client = container(bench)
    until(bench.answers)
    client.send_signal(number)
    assert client.wait(DEADLINE_S) == 0
    assert not bench.answers()
    assert names(bench) == []


def test_kill_tells_the_client_137_and_ends_the_runners(bench: Bench) -> None:
    client = container(bench)
    until(bench.answers)
    bench.generate()
    runner = bench.runner(int(bench.run("docker", "inspect", "-f", "{{.State.Pid}}", "w1").stdout))
    assert bench.run("docker", "kill", "w1").returncode == 0
    assert client.wait(DEADLINE_S) == 137
    until(lambda: not runner.is_running())


def test_a_container_that_does_not_hear_is_killed_when_its_time_is_over(bench: Bench) -> None:
    client = container(bench, STANDIN_DEAF="1")
    until(bench.answers)
    assert bench.run("docker", "stop", "--time=0.1", "w1").returncode == 0
    assert client.wait(DEADLINE_S) == 137


def test_inspect_and_rm(bench: Bench) -> None:
    container(bench)
    until(bench.answers)
    (told,) = json.loads(bench.run("docker", "inspect", "w1").stdout)
    assert (told["State"]["Running"], told["Name"], told["Config"]["Labels"]) == (True, "/w1", {"farm": "x"})
    form = '{{index .Config.Labels "farm"}} {{json .State.Running}} {{.State.Status}}'
    assert bench.run("docker", "inspect", "-f", form, "w1").stdout == "x true running\n"
    refused = bench.run("docker", "rm", "w1")
    assert (refused.returncode, "container is running" in refused.stderr) == (1, True)
    assert bench.run("docker", "rm", "-f", "w1").stdout == "w1\n"
    again = bench.run("docker", "rm", "-f", "w1")
    assert (again.returncode, "No such container: w1" in again.stderr) == (0, True)
    gone = bench.run("docker", "inspect", "w1")
    assert (gone.returncode, gone.stdout, gone.stderr) == (1, "[]\n", "Error: No such object: w1\n")


def test_a_container_without_rm_stays_with_its_status(bench: Bench) -> None:
    client = bench.start("docker", "run", "--name", "w1", "ollama/ollama", STANDIN_FAIL="Error: no luck")
    _, errors = client.communicate(timeout=DEADLINE_S)
    assert (client.returncode, "Error: no luck" in errors) == (1, True)
    assert bench.run("docker", "ps", "-a", "--format", "{{.Names}} {{.State}}").stdout == "w1 exited\n"
    assert bench.run("docker", "inspect", "-f", "{{.State.ExitCode}}", "w1").stdout == "1\n"
    assert bench.run("docker", "rm", "w1").returncode == 0
    assert names(bench) == []


def test_names_and_ports_are_taken_once(bench: Bench) -> None:
    container(bench)
    until(bench.answers)
    same = bench.run("docker", "run", "--rm", "--name", "w1", "ollama/ollama")
    assert (same.returncode, 'Conflict. The container name "/w1" is already in use' in same.stderr) == (
        125,
        True,
    )
    port = f"127.0.0.1:{bench.port}:11434"
    taken = bench.run("docker", "run", "--rm", "--name", "w2", "-p", port, "ollama/ollama")
    assert (taken.returncode, "port is already allocated" in taken.stderr) == (125, True)
    assert names(bench) == ["w1"]


def test_no_driver_for_gpus(bench: Bench) -> None:
    refused = bench.run("docker", "run", "--rm", "--gpus", "all", "ollama/ollama", STANDIN_NO_GPU_DRIVER="1")
    assert refused.returncode == 125
    assert 'could not select device driver "" with capabilities: [[gpu]]' in refused.stderr


@pytest.mark.parametrize(("argv", "code"), [(["info"], 1), (["ps"], 1), (["run", "x"], 125)])
def test_no_daemon(bench: Bench, argv: list[str], code: int) -> None:
    told = bench.run("docker", *argv, STANDIN_DOCKER_DOWN="1")
    assert told.returncode == code
    assert (
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
        in told.stderr
    )


@pytest.mark.parametrize("there", ["0", "1"])
def test_runtimes(bench: Bench, there: str) -> None:
    told = bench.run("docker", "info", "--format", "{{json .Runtimes}}", STANDIN_NVIDIA_RUNTIME=there)
    assert ("nvidia" in json.loads(told.stdout)) is (there == "1")


def test_images(bench: Bench) -> None:
    none = {"STANDIN_NO_IMAGE": "1"}
    missing = bench.run("docker", "image", "inspect", "ollama/ollama:0.24.0", **none)
    assert (missing.returncode, missing.stdout) == (1, "[]\n")
    assert missing.stderr == "Error response from daemon: No such image: ollama/ollama:0.24.0\n"
    failed = bench.run("docker", "pull", "ollama/ollama:0.24.0", STANDIN_PULL_FAILS="no such host", **none)
    assert (failed.returncode, "no such host" in failed.stderr) == (1, True)
    assert bench.run("docker", "pull", "ollama/ollama:0.24.0", **none).returncode == 0
    assert bench.run("docker", "image", "inspect", "ollama/ollama:0.24.0", **none).returncode == 0


# -- nvidia-smi ------------------------------------------------------------


def test_gpus(bench: Bench) -> None:
    query = ["nvidia-smi", "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader"]
    told = bench.run(*query, STANDIN_GPUS="2").stdout.splitlines()
    assert [line.split(", ")[0] for line in told] == ["0", "1"]
    assert told[1] == "1, GPU-00000000-0000-0000-0000-000000000001, NVIDIA RTX A5000, 24564 MiB"


@pytest.mark.parametrize(
    ("gpus", "code", "words"),
    [("broken", 9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."),
     ("0", 6, "No devices were found")],
)  # fmt: skip
def test_no_gpus(bench: Bench, gpus: str, code: int, words: str) -> None:
    told = bench.run("nvidia-smi", STANDIN_GPUS=gpus)
    assert (told.returncode, words in told.stdout) == (code, True)
