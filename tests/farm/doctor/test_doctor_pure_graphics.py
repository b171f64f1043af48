"""GPUs: what is seen, and what is said of it."""

from __future__ import annotations

import pytest

from farm.doctor import graphics
from farm.doctor.finding import Level
from farm.doctor.graphics import Card, Graphics, Use

SMALL = "small built-in ones do without it"
A5000 = Card("0", "NVIDIA RTX A5000", 24564, 24000)


def test_nvidia_smis_cards() -> None:
    table = (
        "0, GPU-1, NVIDIA RTX A5000, 24564, 24000, 550.90.07\n"
        "1, GPU-2, NVIDIA GB10, [N/A], [Not Supported], 580.1\n"
        "\nNo devices were found\n"
    )
    assert graphics.read_cards(table) == (
        (A5000, "GPU-1", "550.90.07"),
        (Card("1", "NVIDIA GB10"), "GPU-2", "580.1"),
    )


def test_nvidia_smis_users() -> None:
    table = (
        "GPU-1, 41, 300, /usr/bin/python3\n"
        "GPU-2, 42, [N/A], C:\\odd, name\\ollama.exe\n"
        "GPU-1, x, 3, y\nshort, 1\n"
    )
    assert graphics.read_users(table) == (("GPU-1", "python3", 41, 300), ("GPU-2", "ollama.exe", 42, 0))


@pytest.mark.parametrize(
    ("seen", "lines"),
    [
        (Graphics(), [("gpu", Level.OK, "no GPU that Ollama could use: models run on the CPU")]),
        (
            Graphics(jetson="6"),
            [("jetson", Level.OK, "this is a Jetson with JetPack 6: docker mode runs with --runtime nvidia")],
        ),
        (
            Graphics(cards=(A5000, A5000), driver="550.90.07"),
            [
                ("nvidia", Level.OK, "2 × NVIDIA RTX A5000, driver 550.90.07"),
                ("gpu-memory", Level.OK, "GPU 0: 23.4 of 24.0 GiB free"),
                ("gpu-memory", Level.OK, "GPU 0: 23.4 of 24.0 GiB free"),
            ],
        ),
        (
            Graphics(cards=(Card("0", "GB10"),)),
            [
                ("nvidia", Level.OK, "1 × GB10, driver unknown"),
                ("gpu-memory", Level.OK, "GPU 0 does not tell its memory: it shares the machine's"),
            ],
        ),
        (
            Graphics(smi=True, smi_trouble="Failed to initialize NVML"),
            [("nvidia", Level.TROUBLE, "nvidia-smi fails: Failed to initialize NVML")],
        ),
        (
            Graphics(smi=True, smi_trouble="x", jetson="5"),
            [("jetson", Level.OK, "this is a Jetson with JetPack 5: docker mode runs with --runtime nvidia")],
        ),
        (
            Graphics(vendors=frozenset({"nvidia"})),
            [("nvidia", Level.TROUBLE, "there is an NVIDIA GPU without its driver (no nvidia-smi)")],
        ),
        (
            Graphics(vendors=frozenset({"nvidia"}), smi=True),
            [("gpu", Level.OK, "no GPU that Ollama could use: models run on the CPU")],
        ),
        (
            Graphics(kfd=True, kfd_open=True),
            [("amd", Level.OK, "there is an AMD GPU with its compute driver (/dev/kfd), and you may use it")],
        ),
        (
            Graphics(kfd=True),
            [
                (
                    "amd",
                    Level.TROUBLE,
                    "you may not use the AMD GPU (/dev/kfd), nor may an Ollama that you start without docker",
                )
            ],
        ),
        (
            Graphics(vendors=frozenset({"amd"})),
            [
                (
                    "amd",
                    Level.NOTE,
                    (
                        "there is an AMD GPU without its compute driver (/dev/kfd); "
                        "small built-in ones do without it"
                    ),
                )
            ],
        ),
    ],
)
def test_kinds_of_gpus(seen: Graphics, lines: list[tuple[str, Level, str]]) -> None:
    assert [(one.check, one.level, one.text) for one in graphics.gpus(seen, local=True)] == lines


def test_an_amd_gpu_is_docker_s_affair_in_docker_mode() -> None:
    assert graphics.gpus(Graphics(kfd=True), local=False)[0].level is Level.NOTE


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (
            "Failed to initialize NVML: Driver/library version mismatch",
            "updated under the running kernel: reboot",
        ),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "Secure Boot"),
        ("nvidia-smi did not answer within 8 s", "needs a reboot"),
        ("No devices were found", "sudo dmesg"),
    ],
)
def test_a_driver_that_fails(words: str, remedy: str) -> None:
    (told,) = graphics.gpus(Graphics(smi=True, smi_trouble=words), local=True)
    assert told.level is Level.TROUBLE
    assert remedy in told.remedy


@pytest.mark.parametrize(
    ("free", "users", "level", "text"),
    [
        (600, (), Level.OK, "GPU 0: 0.6 of 1.0 GiB free"),
        (100, (), Level.NOTE, "GPU 0: 0.1 of 1.0 GiB free"),
        (100, (("ollama", 3, 900),), Level.OK, "GPU 0: 0.1 of 1.0 GiB free"),
        (100, (("llama-server", 3, 900),), Level.OK, "GPU 0: 0.1 of 1.0 GiB free"),
        (
            100,
            (("ollama", 3, 400), ("python3", 4, 512)),
            Level.NOTE,
            "GPU 0: 0.1 of 1.0 GiB free; used by python3 (process 4, 0.5 GiB)",
        ),
    ],
)
def test_free_memory(free: int, users: tuple[tuple[str, int, int], ...], level: Level, text: str) -> None:
    _, told = graphics.gpus(Graphics(cards=(Card("0", "x", 1024, free, users),)), local=True)
    assert (told.level, told.text) == (level, text)


@pytest.mark.parametrize(
    ("seen", "free"),
    [
        (Graphics(), None),
        (Graphics(cards=(A5000, Card("1", "x"))), None),
        (Graphics(cards=(A5000,), jetson="6"), None),
        (Graphics(cards=(A5000, A5000)), 48000 * 2**20),
    ],
)
def test_free_memory_of_all(seen: Graphics, free: int | None) -> None:
    assert seen.free_b == free


URL = "http://127.0.0.1:11434"


@pytest.mark.parametrize(
    ("use", "there", "level", "text", "remedy"),
    [
        (Use("a", URL, 10, 0), False, Level.OK, f"a at {URL} runs on the CPU: there is no GPU", ""),
        (
            Use("a", URL, 10, 0, refused=True),
            True,
            Level.OK,
            f"a at {URL} runs on the CPU: as --gpu-layers 0 wants it",
            "",
        ),
        (Use("a", URL, 10, 10), True, Level.OK, f"a at {URL} is on the GPU as a whole", ""),
        (
            Use("a", URL, 100, 62),
            True,
            Level.NOTE,
            f"a at {URL} is only in part on the GPU (62 %): it runs much slower",
            "--num-parallel",
        ),
        (
            Use("a", URL, 0, 1),
            True,
            Level.NOTE,
            f"a at {URL} is only in part on the GPU (100 %): it runs much slower",
            "--num-parallel",
        ),
        (
            Use("a", URL, 10, 0),
            True,
            Level.TROUBLE,
            f"GPU not used: a at {URL} runs on the CPU alone",
            "restart that Ollama",
        ),
        (
            Use("a", URL, 10, 0, "box", given=False),
            True,
            Level.TROUBLE,
            f"GPU not used: a at {URL} runs on the CPU alone; its container box was given none",
            "docker rm -f box",
        ),
        (
            Use("a", URL, 10, 0, "box"),
            True,
            Level.TROUBLE,
            f"GPU not used: a at {URL} runs on the CPU alone",
            "docker exec box nvidia-smi",
        ),
    ],
)
def test_whether_a_model_is_on_the_gpu(use: Use, there: bool, level: Level, text: str, remedy: str) -> None:
    (told,) = graphics.uses([use], there=there)
    assert (told.level, told.text) == (level, text)
    assert remedy in told.remedy
    assert bool(remedy) is bool(told.remedy)
