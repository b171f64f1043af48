"""Docker, its containers and what farms left: what is seen, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from farm.doctor import containers
from farm.doctor.containers import Container, Docker
from farm.doctor.finding import Level

WELL = Docker(there=True, version="27.5.1", default_runtime="runc")


def inspected(**more: Any) -> dict[str, Any]:
    return {
        "Name": "/box",
        "Config": {
            "Image": "ollama/ollama",
            "Env": ["OLLAMA_NUM_PARALLEL=4", "SECRET=1", "odd", 3],
            "Labels": {"io.gpu-over-nkn.farm": "11434", "x": "y"},
        },
        "State": {"Running": True},
        "HostConfig": {"PortBindings": {"11434/tcp": [{"HostIp": "127.0.0.1", "HostPort": "11500"}]}},
        **more,
    }


def test_a_container() -> None:
    (box,) = containers.read([inspected()])
    assert box == Container(
        "box",
        "ollama/ollama",
        running=True,
        ports=(("127.0.0.1", 11500, 11434),),
        farm="11434",
        settings={"OLLAMA_NUM_PARALLEL": "4"},
    )


@pytest.mark.parametrize(
    ("host", "gpu"),
    [
        ({}, False),
        ({"DeviceRequests": None, "Devices": [], "Runtime": "runc"}, False),
        ({"DeviceRequests": [{"Count": -1}]}, True),
        ({"Devices": [{"PathOnHost": "/dev/kfd"}]}, True),
        ({"Runtime": "nvidia"}, True),
    ],
)
def test_whether_it_was_given_a_gpu(host: dict[str, Any], gpu: bool) -> None:
    assert containers.read([inspected(HostConfig=host)])[0].gpu is gpu


@pytest.mark.parametrize(
    ("bindings", "network", "ports"),
    [
        ({"11434/tcp": [{"HostIp": "", "HostPort": "1"}]}, {}, (("0.0.0.0", 1, 11434),)),
        (
            {"11434/tcp": [{"HostIp": "", "HostPort": ""}]},
            {"11434/tcp": [{"HostIp": "::", "HostPort": "9"}]},
            (("::", 9, 11434),),
        ),
        ({"11434/tcp": None, "80/tcp": []}, {"11434/tcp": None}, ()),
        ({"odd": [{"HostIp": "", "HostPort": "1"}]}, {}, ()),
        (None, None, ()),
    ],
)
def test_published_ports(bindings: Any, network: Any, ports: tuple[Any, ...]) -> None:
    entry = inspected(HostConfig={"PortBindings": bindings}, NetworkSettings={"Ports": network})
    assert containers.read([entry])[0].ports == ports


@pytest.mark.parametrize("odd", [None, {}, "x", [], [3], [{}], [{"Name": ""}]])
def test_what_is_no_container_is_passed_over(odd: Any) -> None:
    assert containers.read(odd) == ()


def test_a_bare_container() -> None:
    assert containers.read([{"Name": "/x", "Config": {"Labels": None}}]) == (
        Container("x", "", running=False),
    )


def test_who_publishes_a_port() -> None:
    stopped = Container("a", "", running=False, ports=(("", 1, 2),))
    other = Container("b", "", running=True, ports=(("", 3, 2),))
    box = Container("c", "", running=True, ports=(("", 9, 2), ("", 1, 2)))
    assert containers.publishing([stopped, other, box], 1) == box
    assert containers.publishing([stopped, other], 1) is None


@pytest.mark.parametrize(
    ("address", "is_open"),
    [
        ("127.0.0.1", False),
        ("127.3.2.1", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("192.168.1.5", True),
        ("fe80::1%eth0", True),
        ("box", True),
    ],
)
def test_addresses(address: str, is_open: bool) -> None:
    assert containers.is_open(address) is is_open


@pytest.mark.parametrize("needed", [True, False])
@pytest.mark.parametrize(
    ("docker", "text", "remedy"),
    [
        (
            Docker(there=True, trouble="permission denied while trying to connect"),
            "you may not talk to Docker's daemon",
            "usermod -aG docker",
        ),
        (
            Docker(there=True, trouble="permission denied while trying to connect", member=True),
            "you are in the group docker, but this session began before that",
            "newgrp docker",
        ),
        (
            Docker(there=True, trouble="Cannot connect to the Docker daemon at unix:///x"),
            "Docker's daemon does not answer: Cannot connect",
            "systemctl enable --now docker",
        ),
        (
            Docker(there=True, trouble="docker did not answer within 8 s"),
            "Docker's daemon does not answer: docker did not",
            "systemctl enable --now docker",
        ),
        (
            Docker(there=True, trouble="Emulate Docker CLI using podman"),
            "docker cannot be used: Emulate",
            "docker info",
        ),
    ],
)
def test_a_docker_that_does_not_answer(docker: Docker, text: str, remedy: str, needed: bool) -> None:
    (told,) = containers.docker(docker, gpu=True, needed=needed)
    assert told.level is (Level.TROUBLE if needed else Level.NOTE)
    assert text in told.text
    assert remedy in told.remedy


def test_no_docker_is_a_note() -> None:
    (told,) = containers.docker(Docker(there=False), gpu=True, needed=True)
    assert (told.level, told.text) == (Level.NOTE, "docker is not installed; only --mode docker needs it")


@pytest.mark.parametrize(
    ("docker", "gpu", "lines"),
    [
        (WELL, False, [("docker", Level.OK, "Docker 27.5.1 answers; its default runtime is runc")]),
        (Docker(there=True, version="1"), False, [("docker", Level.OK, "Docker 1 answers")]),
        (
            Docker(there=True, version="1", elsewhere="ssh"),
            False,
            [
                (
                    "docker",
                    Level.NOTE,
                    "DOCKER_HOST (ssh://…) leads to another machine; a farm needs its own",
                )
            ],
        ),
        (
            Docker(there=True, version="1", snap=True, nvidia=True),
            True,
            [
                ("docker", Level.OK, "Docker 1 answers"),
                (
                    "docker",
                    Level.NOTE,
                    "docker comes from a snap, which sees neither all folders nor, as a rule, the GPU",
                ),
                ("docker-gpu", Level.OK, "docker can hand the NVIDIA GPU to containers"),
            ],
        ),
        (
            Docker(there=True, version="1"),
            True,
            [
                ("docker", Level.OK, "Docker 1 answers"),
                (
                    "docker-gpu",
                    Level.NOTE,
                    "docker cannot hand the NVIDIA GPU to containers: it has no runtime `nvidia`",
                ),
            ],
        ),
    ],
)
def test_a_docker_that_answers(docker: Docker, gpu: bool, lines: list[tuple[str, Level, str]]) -> None:
    told = containers.docker(docker, gpu=gpu, needed=False)
    assert [(one.check, one.level, one.text) for one in told] == lines


def test_a_gpu_that_docker_cannot_hand_over_is_trouble_where_nothing_else_is() -> None:
    told = containers.docker(WELL, gpu=True, needed=True)[-1]
    assert told.level is Level.TROUBLE
    assert "docker_ensure.sh" in told.remedy


def test_leftovers() -> None:
    made = [
        Container(name, "", running=True, farm="1")
        for name in ("ollama-farm-1", "ollama-farm-2", "ollama-farm-3")
    ]
    told = containers.leftovers(
        [*made, Container("theirs", "", running=True)], ["ollama-farm-2"], [("ollama", 7)]
    )
    assert [(one.level, one.text, one.remedy) for one in told] == [
        (
            Level.TROUBLE,
            "2 containers left behind by a farm that is gone: ollama-farm-1, ollama-farm-3",
            "docker rm -f ollama-farm-1 ollama-farm-3",
        ),
        (
            Level.TROUBLE,
            "1 process left behind by a farm that is gone: ollama (process 7)",
            "kill 7; the next start of a farm ends them too",
        ),
    ]


def test_more_leftovers() -> None:
    box = Container("b", "", running=False, farm="1")
    first, second = containers.leftovers([box], [], [("ollama", 7), ("ollama", 8)])
    assert first.text.startswith("1 container left")
    assert second.text.startswith("2 processes left")
    assert second.remedy.startswith("kill 7 8;")


def test_nothing_left() -> None:
    box = Container("b", "", running=True, farm="1")
    (told,) = containers.leftovers([box], ["b"], [])
    assert told.level is Level.OK
