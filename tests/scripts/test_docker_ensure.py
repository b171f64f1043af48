"""docker_ensure.sh on a made-up Ubuntu: what it does, keeps and says, and when it does nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fakeroot import CONFIG, ENTRY, KEY, LIST, MERGED, REPOSITORY, SCRIPT, STAND_IN, Machine

WRAPPER = REPOSITORY / "farm" / "docker_ensure.sh"
TRIES = "docker run --rm --gpus all nvidia/cuda:12.8.0-base-ubuntu24.04 nvidia-smi"
OWNED = """{
  "log-driver": "local",
  "default-runtime": "runc",
  "runtimes": { "kata": { "path": "/opt/kata/bin/kata-runtime" } },
  "data-root": "/srv/dockér",
  "dns": []
}
"""
OWNED_MERGED = """{
  "log-driver": "local",
  "default-runtime": "nvidia",
  "runtimes": {
    "kata": {
      "path": "/opt/kata/bin/kata-runtime"
    },
    "nvidia": {
      "path": "nvidia-container-runtime",
      "runtimeArgs": []
    }
  },
  "data-root": "/srv/dockér",
  "dns": []
}
"""


@pytest.mark.parametrize(
    "script", [SCRIPT, WRAPPER, STAND_IN], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_shellcheck_finds_nothing(script: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is missing. Debian, Ubuntu: apt-get install shellcheck")
    found = subprocess.run([shellcheck, script], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_first_run_does_all_of_it_in_order(machine: Machine) -> None:
    done = machine.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.text(LIST) == ENTRY
    assert machine.text(CONFIG) == MERGED
    assert (machine.root / KEY).read_bytes().startswith(b"\x99")
    assert {mode for mode, _ in machine.files().values()} == {0o644}
    assert list(machine.temp.iterdir()) == []
    begun = [call.split(" /")[0] for call in machine.changing()]
    assert [call.split(" --")[0].split(" -fsSL")[0] for call in begun] == [
        "curl", "mv -f", "mv -f",
        "apt-get -o DPkg::Lock::Timeout=120 update", "apt-get -o DPkg::Lock::Timeout=120 install -y",
        "mv -f", "systemctl restart docker", "docker run",
    ]  # fmt: skip
    assert "2 running container(s) stop" in done.stdout
    assert "Default Runtime: nvidia" in done.stdout
    assert f"+ {TRIES}\n| NVIDIA-SMI" in done.stdout


def test_a_second_run_changes_fetches_and_restarts_nothing(machine: Machine) -> None:
    machine.run()
    before = machine.files()
    machine.calls()
    done = machine.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "9 of 9 are there" in done.stdout
    assert machine.files() == before
    assert machine.changing() == [TRIES]


def test_a_second_run_does_not_fetch_the_image_of_its_trial(machine: Machine) -> None:
    machine.run()
    machine.lacks("image").calls()
    done = machine.run()
    assert done.returncode == 0
    assert machine.changing() == []
    assert TRIES in done.stdout


@pytest.mark.parametrize("words", [[], ["--dry-run"], ["--check"]])
def test_no_call_goes_to_a_driver_package(machine: Machine, words: list[str]) -> None:
    machine.run(*words)
    for call in machine.calls():
        assert "install" not in call or call.endswith(" nvidia-container-toolkit"), call


def test_keys_of_the_owner_stay_in_their_order_and_indentation(machine: Machine) -> None:
    old = machine.write(CONFIG, OWNED, mode=0o600)
    os.utime(old, (1, 1))
    assert machine.run().returncode == 0
    assert machine.text(CONFIG) == OWNED_MERGED
    assert machine.files()[CONFIG][0] == 0o600
    kept = machine.root / f"{CONFIG}.bak"
    assert (kept.read_text(encoding="utf-8"), kept.stat().st_mtime) == (OWNED, 1)


def test_an_older_copy_is_never_overwritten(machine: Machine) -> None:
    machine.write(f"{CONFIG}.bak", "the first")
    machine.write(CONFIG, OWNED)
    assert machine.run().returncode == 0
    assert machine.text(f"{CONFIG}.bak") == "the first"
    assert machine.text(f"{CONFIG}.1.bak") == OWNED


def test_a_copy_is_made_where_hard_links_cannot_be(machine: Machine) -> None:
    machine.has("read-only", "ln").write(CONFIG, OWNED)
    assert machine.run().returncode == 0
    assert machine.text(f"{CONFIG}.bak") == OWNED
    assert machine.text(CONFIG) == OWNED_MERGED


RIGHT = [
    '{"runtimes":{"nvidia":{"args":[],"path":"/usr/bin/nvidia-container-runtime"}},"default-runtime":"nvidia"}',
    '\ufeff{ "default-runtime" : "nvidia",\r\n"runtimes":{"nvidia":{"path":"nvidia-container-runtime.cdi"}}}',
]


@pytest.mark.parametrize("text", RIGHT)
def test_a_right_daemon_json_is_not_touched_however_it_is_written(machine: Machine, text: str) -> None:
    machine.write(CONFIG, text)
    before = (machine.root / CONFIG).stat()
    assert machine.run().returncode == 0
    after = (machine.root / CONFIG).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list((machine.root / "etc/docker").iterdir()) == [machine.root / CONFIG]


def test_docker_restarts_for_a_right_daemon_json_that_it_has_not_read(machine: Machine) -> None:
    machine.run()
    machine.has("default-runtime", "runc").calls()
    assert machine.run().returncode == 0
    assert machine.changing() == ["systemctl restart docker", TRIES]


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("text", [OWNED, None], ids=["file", "dangling"])
def test_a_link_stays_a_link(machine: Machine, absolute: bool, text: str | None) -> None:
    target = machine.root / "srv/docker.json"
    target.parent.mkdir()
    if text is not None:
        target.write_text(text, encoding="utf-8")
    link = machine.root / CONFIG
    link.parent.mkdir(parents=True)
    link.symlink_to(target if absolute else "../../srv/docker.json")
    assert machine.run().returncode == 0
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == (MERGED if text is None else OWNED_MERGED)


REFUSED = [
    pytest.param('{\n  "debug": true\n  "dns": []\n}', "line 3 column 3", id="comma"),
    pytest.param('{"a": 1, "a": 2}', "'a' stands twice", id="twice"),
    pytest.param("[]", "outermost value must be an object", id="list"),
    pytest.param('{"runtimes": []}', "'runtimes' must hold an object", id="runtimes"),
]


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_a_broken_daemon_json_is_refused_before_anything_happens(
    machine: Machine, text: str, said: str, words: list[str]
) -> None:
    machine.write(CONFIG, text)
    before = machine.files()
    done = machine.run(*words)
    assert done.returncode == 1
    assert said in done.stderr
    assert f"/{CONFIG} cannot be merged" in done.stderr
    assert machine.files() == before
    assert machine.changing() == []


JAMMY = 'ID=ubuntu\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n'
DEBIAN = "ID=debian\nVERSION_ID='12'\nPRETTY_NAME='Debian 12'\n"
MINT = 'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_ID="24.04"\nPRETTY_NAME=Mint\n'
NO_DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure\nthat"
NO_DAEMON = "\nCannot connect to the Docker daemon at unix:///var/run/docker.sock."
NEEDED = [
    pytest.param("os", JAMMY, "this is Ubuntu 22.04.5 LTS; only Ubuntu 24.04", id="jammy"),
    pytest.param("os", DEBIAN, "this is Debian 12; only Ubuntu 24.04", id="debian"),
    pytest.param("os", MINT, "this is Mint", id="derived"),
    pytest.param("os", "", "a system without a name", id="nameless"),
    pytest.param("remove", "nvidia-smi", "ubuntu-drivers install", id="no driver"),
    pytest.param("driver-fails", NO_DRIVER, "fails: NVIDIA-SMI has failed", id="driver fails"),
    pytest.param("driver-fails", "No devices were found", "No devices were found", id="no GPU"),
    pytest.param("remove", "docker", "Docker is not installed", id="no Docker"),
    pytest.param("daemon-down", NO_DAEMON, "not answer: Cannot connect", id="daemon down"),
    pytest.param("daemon-down", NO_DAEMON, "systemctl enable --now docker", id="how to start it"),
    pytest.param("daemon-down", "permission denied while trying", "run this with sudo", id="no permission"),
    pytest.param("snap", "", "docker.service does not run it", id="snap"),
]


def spoil(machine: Machine, what: str, text: str) -> None:
    if what == "os":
        machine.write("etc/os-release", text)
    elif what == "remove":
        machine.remove(text)
    else:
        machine.has(what, text)


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
@pytest.mark.parametrize(("what", "text", "said"), NEEDED)
def test_what_only_the_owner_can_provide_is_named_and_nothing_is_done(
    machine: Machine, what: str, text: str, said: str, words: list[str]
) -> None:
    spoil(machine, what, text)
    before = machine.files()
    done = machine.run(*words)
    assert done.returncode == 1
    assert said in done.stderr
    assert "\n  → " in done.stderr
    assert machine.files() == before
    assert machine.changing() == []


def test_a_system_without_os_release_is_refused(machine: Machine) -> None:
    (machine.root / "etc/os-release").unlink()
    done = machine.run()
    assert done.returncode == 1
    assert "a system without a name; only Ubuntu 24.04" in done.stderr


def test_only_root_may(machine: Machine) -> None:
    machine.has("uid", "1000")
    done = machine.run()
    assert (done.returncode, machine.calls()) == (1, ["id -u"])
    assert "only root can do this" in done.stderr
    assert "sudo bash " in done.stderr


def test_curl_and_gnupg_are_installed_where_they_are_missing(machine: Machine) -> None:
    machine.remove("curl")
    machine.remove("gpg")
    assert machine.run().returncode == 0
    installed = [call for call in machine.calls() if " install -y " in call]
    assert [call.split()[-1] for call in installed] == ["gnupg", "nvidia-container-toolkit"]


@pytest.mark.parametrize("script", [SCRIPT, WRAPPER], ids=["scripts", "farm"])
@pytest.mark.parametrize("linked", [False, True])
def test_it_runs_by_either_path_from_anywhere(machine: Machine, script: Path, linked: bool) -> None:
    if linked:
        link = machine.temp / "linked.sh"
        link.symlink_to(script)
        script = link
    elsewhere = machine.temp / "a folder"
    elsewhere.mkdir()
    (elsewhere / "json.py").write_text("raise SystemExit('a module of the folder it is called from')")
    assert machine.run(script=script, cwd=elsewhere, PYTHONPATH=str(elsewhere)).returncode == 0
    assert json.loads(machine.text(CONFIG))["default-runtime"] == "nvidia"
