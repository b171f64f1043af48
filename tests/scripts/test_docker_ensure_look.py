"""docker_ensure.sh when it only looks: --check, --dry-run, --help, and what it makes of apt's entries."""

from __future__ import annotations

import pytest
from fakeroot import CONFIG, ENTRY, FINGERPRINT, KEY, LIST, MERGED, Machine

POINTS = ["system", "driver", "docker", "daemon", "list", "key", "toolkit", "config", "running"]
OTHER_LIST = "etc/apt/sources.list.d/nvidia-container-toolkit.list"
OTHER_SOURCES = "etc/apt/sources.list.d/nvidia.sources"
OTHER_KEY = "usr/share/keyrings/nvidia-container-toolkit-keyring.gpg"
OTHER_ENTRY = ENTRY.replace(KEY, OTHER_KEY)
SOURCES = f"""# NVIDIA
Types: deb
URIs: https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH)
Suites: /
Signed-By: /{OTHER_KEY}
"""


def missing(machine: Machine) -> list[str]:
    """What --check says is missing; that it names every point, in order, and that its exit code agrees."""
    before = machine.files()
    done = machine.run("--check")
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith(("ok", "missing"))]
    assert [line[1] for line in lines] == POINTS
    assert done.stderr == ""
    found = [line[1] for line in lines if line[0] == "missing"]
    assert done.returncode == (1 if found else 0)
    assert machine.files() == before
    assert machine.changing() == []
    return found


def ready(machine: Machine) -> Machine:
    assert machine.run().returncode == 0
    machine.calls()
    return machine


def test_check_on_a_machine_where_nothing_is_done(machine: Machine) -> None:
    assert missing(machine) == ["list", "key", "toolkit", "config", "running"]


def test_check_on_a_machine_where_all_is_done(machine: Machine) -> None:
    assert missing(ready(machine)) == []


def test_check_needs_no_root(machine: Machine) -> None:
    assert missing(ready(machine).has("uid", "1000")) == []


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        (LIST, "", ["list"]),
        (LIST, f"# {ENTRY}", ["list"]),
        (LIST, ENTRY.replace("stable/deb", "stable/ubuntu18.04"), ["list"]),
        (LIST, ENTRY.replace("deb [", "deb-src ["), ["list"]),
        (KEY, "", ["key"]),
        (KEY, "<html>", ["key"]),
        (KEY, "-----BEGIN PGP PUBLIC KEY BLOCK-----", ["key"]),
        (CONFIG, "", ["config"]),
        (CONFIG, "{", ["config"]),
        (CONFIG, MERGED.replace('"nvidia",', '"runc",'), ["config"]),
        (CONFIG, MERGED.replace("nvidia-container-runtime", "runc"), ["config"]),
    ],
)
def test_check_finds_each_file_that_is_not_right(
    machine: Machine, file: str, text: str, found: list[str]
) -> None:
    ready(machine).write(file, text)
    assert missing(machine) == found


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({"default-runtime": "runc"}, ["running"]),
        ({"daemon-down": "Cannot connect to the Docker daemon"}, ["daemon", "running"]),
        ({"snap": ""}, ["daemon"]),
        ({"driver-fails": "No devices were found"}, ["driver"]),
    ],
)
def test_check_finds_what_does_not_run(machine: Machine, state: dict[str, str], found: list[str]) -> None:
    ready(machine)
    for name, text in state.items():
        machine.has(name, text)
    assert missing(machine) == found


@pytest.mark.parametrize(
    ("command", "found"), [("nvidia-smi", ["driver"]), ("docker", ["docker", "daemon", "running"])]
)
def test_check_finds_what_is_not_installed(machine: Machine, command: str, found: list[str]) -> None:
    ready(machine).remove(command)
    assert missing(machine) == found


def test_check_finds_a_removed_package_and_another_system(machine: Machine) -> None:
    ready(machine).lacks("installed").write("etc/os-release", "ID=debian\n")
    assert missing(machine) == ["system", "toolkit"]


def test_dry_run_says_all_and_touches_nothing(machine: Machine) -> None:
    machine.has("uid", "1000").write(CONFIG, '{\n  "debug": true\n}\n')
    before = machine.files()
    done = machine.run("--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.files() == before
    assert list(machine.temp.iterdir()) == []
    assert machine.changing() == []
    told = [line.split() for line in done.stdout.splitlines() if line.startswith(("+", "would write"))]
    apt = ["+", "env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "apt-get", "-o"]
    assert [words[: words.index("apt-get") + 2] if "apt-get" in words else words[:3] for words in told] == [
        ["+", "curl", "-fsSL"],
        ["+", "gpg", "--homedir"],
        ["would", "write", f"/{KEY}:"],
        ["would", "write", f"/{LIST}:"],
        apt,
        apt,
        ["would", "write", f"/{CONFIG}:"],
        ["+", "systemctl", "restart"],
        ["+", "docker", "info"],
        ["+", "docker", "run"],
    ]
    assert f"    {ENTRY}" in done.stdout
    assert FINGERPRINT in done.stdout
    assert '    {\n      "debug": true,\n      "default-runtime": "nvidia",\n' in done.stdout


def test_dry_run_on_a_machine_where_all_is_done_has_only_the_trial_to_say(machine: Machine) -> None:
    done = ready(machine).run("--dry-run")
    assert done.returncode == 0
    assert "would write" not in done.stdout
    assert [line.split()[1:3] for line in done.stdout.splitlines() if line.startswith("+")] == [
        ["docker", "info"],
        ["docker", "run"],
    ]


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--check", "--help"]])
def test_help_says_what_it_writes_and_does_nothing(machine: Machine, words: list[str]) -> None:
    done = machine.run(*words)
    assert (done.returncode, done.stderr, machine.calls()) == (0, "", [])
    for word in ("--check", "--dry-run", "--fingerprint", f"/{KEY}", f"/{LIST}", f"/{CONFIG}"):
        assert word in done.stdout


@pytest.mark.parametrize("word", ["--dryrun", "check", "-n", ""])
def test_an_unknown_argument_is_an_error_before_anything_happens(machine: Machine, word: str) -> None:
    done = machine.run(word)
    assert (done.returncode, done.stdout, machine.calls()) == (2, "", [])
    assert f"unknown argument: {word}\nusage: " in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        (OTHER_LIST, OTHER_ENTRY, OTHER_KEY),
        (OTHER_SOURCES, SOURCES, OTHER_KEY),
        (OTHER_LIST, OTHER_ENTRY.replace(".gpg", ".asc"), OTHER_KEY.replace(".gpg", ".asc")),
        (OTHER_LIST, OTHER_ENTRY.replace(f"signed-by=/{OTHER_KEY}", "arch=amd64"), OTHER_KEY),
    ],
    ids=["list", "sources", "armour", "no key named"],
)
def test_an_entry_of_another_file_is_taken_as_it_is(machine: Machine, name: str, text: str, key: str) -> None:
    machine.write(name, text)
    (machine.root / key).parent.mkdir(parents=True)
    (machine.root / key).write_bytes(b"-----BEGIN" if key.endswith("asc") else b"\x99")
    assert machine.run().returncode == 0
    assert not (machine.root / LIST).exists()
    assert not (machine.root / KEY).exists()
    assert not [call for call in machine.calls() if call.startswith(("curl", "gpg"))]
    assert missing(machine) == []


def test_an_older_list_under_our_name_is_replaced_and_kept(machine: Machine) -> None:
    old = ENTRY.replace("stable/deb", "stable/ubuntu18.04")
    machine.write(LIST, old)
    assert machine.run().returncode == 0
    assert machine.text(LIST) == ENTRY
    assert machine.text(f"{LIST}.bak") == old


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({LIST: ENTRY, OTHER_LIST: OTHER_ENTRY}, f"/{LIST} /{OTHER_LIST}"),
        ({OTHER_LIST: OTHER_ENTRY}, f"there is no key in /{OTHER_KEY}"),
        ({OTHER_LIST: OTHER_ENTRY, OTHER_KEY: "-----BEGIN"}, f"there is no key in /{OTHER_KEY}"),
    ],
)
def test_entries_that_apt_would_refuse_are_named_and_left(
    machine: Machine, files: dict[str, str], said: str
) -> None:
    for name, text in files.items():
        machine.write(name, text)
    before = machine.files()
    done = machine.run()
    assert done.returncode == 1
    assert said in done.stderr
    assert machine.files() == before
    assert machine.changing() == []
