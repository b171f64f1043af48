"""farm.plan: the ports of several backends, and what the embedded engine is started with."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from farm import settings
from farm.plan import KEY_VARIABLE, EnginePlan, FarmPlan, engine_threads
from wire.errors import SettingsFault


def farm(front_port: int, back_port: int) -> FarmPlan:
    plan = settings.check(
        mode="auto", model="m", host="127.0.0.1", front_port=1, back_port=2, num_parallel=4, ctx=None,
        keepalive="1h",
    )  # fmt: skip
    return replace(plan, front_port=front_port, back_port=back_port)


@pytest.mark.parametrize(
    ("front", "back", "backends", "ports"),
    [
        (8080, 11434, 1, [11434]),
        (8080, 11434, 3, [11434, 11435, 11436]),
        (8080, 65535, 1, [65535]),
        (8080, 65532, 4, [65532, 65533, 65534, 65535]),
        (11437, 11434, 3, [11434, 11435, 11436]),
        (11433, 11434, 3, [11434, 11435, 11436]),
    ],
)
def test_backends_stand_on_ports_in_a_row(front, back, backends, ports):
    assert list(farm(front, back).back_ports(backends)) == ports


@pytest.mark.parametrize(
    ("front", "back", "backends", "detail"),
    [
        (8080, 65535, 2, "--back-port: leaves no room for 2 backends"),
        (8080, 65533, 4, "--back-port: leaves no room for 4 backends"),
        (11434, 11434, 1, "--front-port: 11434 is one of the back ports 11434 to 11434"),
        (8080, 8078, 3, "--front-port: 8080 is one of the back ports 8078 to 8080"),
    ],
)
def test_ports_that_do_not_fit(front, back, backends, detail):
    with pytest.raises(SettingsFault) as caught:
        farm(front, back).back_ports(backends)
    assert caught.value.detail == detail


def test_a_free_front_port_is_never_one_of_the_back_ports():
    assert list(farm(0, 0).back_ports(2)) == [0, 1]


# -- the embedded engine ------------------------------------------------------------------------

PLAN = EnginePlan("/m/x.gguf", slots=4, slot_tokens=2048, threads=1, batch=512)


@pytest.mark.parametrize(("cores", "threads"), [(0, 1), (1, 1), (2, 1), (3, 2), (64, 63)])
def test_one_core_is_left_to_the_http_side(cores, threads):
    assert engine_threads(cores) == threads


def test_the_command_carries_the_plan():
    *command, plan = PLAN.argv("/usr/bin/python3")
    assert command == ["/usr/bin/python3", "-m", "farm.engine"]
    assert EnginePlan(**json.loads(plan)) == PLAN


@pytest.mark.parametrize(
    ("inherited", "path", "waiting"),
    [
        ({}, "/repo", "PASSIVE"),
        ({"PYTHONPATH": ""}, "/repo", "PASSIVE"),
        ({"PYTHONPATH": "/mine:/yours"}, "/repo:/mine:/yours", "PASSIVE"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "/repo", "ACTIVE"),
        ({KEY_VARIABLE: "old"}, "/repo", "PASSIVE"),
    ],
)
def test_the_engine_s_environment(inherited, path, waiting):
    made = PLAN.environment({"HOME": "/h", **inherited}, root="/repo", pathsep=":", key="secret")
    assert made == {"HOME": "/h", "PYTHONPATH": path, "OMP_WAIT_POLICY": waiting, KEY_VARIABLE: "secret"}


def test_the_key_is_in_no_command_line():
    made = PLAN.environment({}, root="/repo", pathsep=":", key="secret")
    assert "secret" not in " ".join(PLAN.argv("python"))
    assert made[KEY_VARIABLE] == "secret"
