"""docker_ensure.sh when something goes wrong: the files are as they were, or as they should be."""

from __future__ import annotations

import pytest
from fakeroot import CONFIG, ENTRY, FINGERPRINT, KEY, LIST, PLAN, Machine

OLD = '{\n  "debug": true\n}\n'
NEW = (
    '{\n  "debug": true,\n  "default-runtime": "nvidia",\n  "runtimes": {\n    "nvidia": {\n'
    '      "path": "nvidia-container-runtime",\n      "runtimeArgs": []\n    }\n  }\n}\n'
)
OTHER = "0" * 40


def leftovers(machine: Machine) -> list[str]:
    return [name for name in machine.files() if ".docker_ensure." in name] + [
        p.name for p in machine.temp.iterdir()
    ]


def fails(machine: Machine, *words: str) -> str:
    """What a run says that must fail and leave every file as it was."""
    machine.write(CONFIG, OLD, mode=0o640)
    before = machine.files()
    done = machine.run(*words)
    assert done.returncode == 1, done.stdout
    assert machine.files() == before
    assert leftovers(machine) == []
    return done.stderr


def succeeds(machine: Machine) -> None:
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert machine.text(CONFIG) == NEW
    assert machine.text(LIST) == ENTRY
    assert (machine.root / KEY).read_bytes().startswith(b"\x99-----BEGIN")
    assert (machine.state / "default-runtime").read_text().strip() == "nvidia"
    assert (machine.state / "installed").exists()


def test_no_network_for_the_key(machine: Machine) -> None:
    said = fails(machine.has("offline"))
    assert "Could not resolve host" in said
    assert "cannot fetch https://nvidia.github.io/libnvidia-container/gpgkey" in said
    assert not [call for call in machine.calls() if call.startswith("apt-get")]
    succeeds(machine.lacks("offline"))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("update-fails", "took back /etc/apt/sources.list.d/libnvidia-container.list"),
        ("offline", "cannot install nvidia-container-toolkit"),
    ],
    ids=["update says so", "update only warns"],
)
def test_no_network_for_apt(machine: Machine, told: str, said: str) -> None:
    machine.write(KEY, "\x98 a key").write_bytes(b"\x99-----BEGIN")
    assert said in fails(machine.has(told))
    assert "systemctl restart docker" not in machine.calls()
    succeeds(machine.lacks(told))


def test_a_list_that_was_replaced_comes_back(machine: Machine) -> None:
    machine.write(LIST, "# of the owner\n", mode=0o600)
    fails(machine.has("update-fails"))


@pytest.mark.parametrize(
    ("served", "said"),
    [
        ("<html>please log in</html>", "what came is no OpenPGP key"),
        ("", "what came is no OpenPGP key"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n", "is unreadable, not C95B321B"),
        (f"-----BEGIN PGP\nfpr:::::::::{OTHER}:\n", f"is {OTHER}, not {FINGERPRINT}"),
        (
            f"-----BEGIN PGP\nfpr:::::::::{FINGERPRINT}:\nfpr:::::::::{OTHER}:\n",
            f"is {FINGERPRINT},{OTHER}, not",
        ),
    ],
    ids=["page", "empty", "no key", "another", "one more"],
)
def test_what_is_not_the_key_is_not_trusted(machine: Machine, served: str, said: str) -> None:
    assert said in fails(machine.has("served-key", served))


def test_another_key_is_trusted_when_the_owner_names_it(machine: Machine) -> None:
    machine.serves(OTHER)
    assert "--fingerprint=HEX" in fails(machine, f"--fingerprint={FINGERPRINT}")
    assert machine.run(f"--fingerprint={OTHER}").returncode == 0


@pytest.mark.parametrize(
    "line", ["Inst nvidia-driver-570 [550]", "Remv libnvidia-compute-570", "Inst linux-image-6.8"]
)
def test_an_installation_that_would_touch_the_driver_is_refused(machine: Machine, line: str) -> None:
    said = fails(machine.has("plan", f"{PLAN}{line} (1 Ubuntu:24.04)\n"))
    assert f"would touch the driver: {line.split()[1]}" in said
    assert not [call for call in machine.calls() if " install -y " in call]


def test_a_daemon_json_that_dockerd_refuses_does_not_end_a_running_docker(machine: Machine) -> None:
    machine.install("dockerd")
    said = fails(machine.has("dockerd-refuses", "unknown directives: colour"))
    assert "dockerd refuses /etc/docker/daemon.json: unknown directives: colour" in said
    assert machine.changing() == []
    succeeds(machine.lacks("dockerd-refuses"))


def test_a_dockerd_that_refuses_even_an_empty_daemon_json_is_no_judge(machine: Machine) -> None:
    machine.install("dockerd")
    machine.has("dockerd-refuses-all").write(CONFIG, OLD)
    succeeds(machine)


def test_docker_that_does_not_start_with_the_new_file_starts_with_the_old(machine: Machine) -> None:
    machine.write(CONFIG, OLD)
    done = machine.has("restart-fails-with-nvidia").run()
    assert done.returncode == 1
    assert "Docker did not restart" in done.stderr
    assert "took back /etc/docker/daemon.json\nDocker runs again as before" in done.stderr
    assert machine.text(CONFIG) == OLD
    assert f"{CONFIG}.bak" not in machine.files()
    restarts = [call for call in machine.calls() if call.startswith("systemctl re")]
    assert restarts == [
        "systemctl restart docker",
        "systemctl reset-failed docker",
        "systemctl restart docker",
    ]
    assert machine.text(LIST) == ENTRY  # the package is installed: its repository stays
    succeeds(machine.lacks("restart-fails-with-nvidia"))


def test_docker_that_does_not_start_at_all_is_not_said_to_run(machine: Machine) -> None:
    machine.write(CONFIG, OLD)
    done = machine.has("restart-fails").run()
    assert done.returncode == 1
    assert "runs again" not in done.stderr
    assert "journalctl -u docker" in done.stderr
    assert machine.text(CONFIG) == OLD


def test_a_flag_that_overrules_daemon_json_is_noticed(machine: Machine) -> None:
    machine.write(CONFIG, OLD)
    done = machine.has("unit-overrules").run()
    assert done.returncode == 1
    assert "Docker has restarted, but Docker's default runtime is runc" in done.stderr
    assert machine.text(CONFIG) == OLD


def test_a_container_that_does_not_reach_the_gpu_is_a_failure_but_undoes_nothing(machine: Machine) -> None:
    machine.write(CONFIG, OLD)
    done = machine.has("run-fails").run()
    assert done.returncode == 1
    assert "could not select device driver" in done.stderr
    assert "Docker is set up, but no container reached the GPU" in done.stderr
    assert machine.text(CONFIG) == NEW
    succeeds(machine.lacks("run-fails"))


@pytest.mark.parametrize("command", ["mktemp", "sync", "mv"])
def test_a_read_only_file_system(machine: Machine, command: str) -> None:
    said = fails(machine.has("read-only", command))
    assert f"{command}: Read-only file system\n" in said
    assert f"cannot write /{KEY}" in said


def test_a_daemon_json_where_nothing_can_be_written(machine: Machine) -> None:
    link = machine.root / CONFIG
    link.parent.mkdir(parents=True)
    link.symlink_to("/proc/daemon.json")  # no process, root or not, makes files there
    done = machine.run()
    assert done.returncode == 1
    assert f"cannot write /{CONFIG}" in done.stderr
    assert link.is_symlink()
    assert leftovers(machine) == []


@pytest.mark.parametrize(
    ("when", "taken", "runtime"),
    [
        ("apt-get 1", LIST, "runc"),
        ("apt-get 3", LIST, "runc"),
        ("systemctl 2", CONFIG, "runc"),
        ("mv 3", CONFIG, "runc"),
    ],
)
def test_told_to_end_it_takes_back_what_is_half_done(
    machine: Machine, when: str, taken: str, runtime: str
) -> None:
    machine.write(CONFIG, OLD)
    done = machine.has("term", when).run()
    assert done.returncode == 143
    assert f"took back /{taken}" in done.stderr
    assert machine.text(CONFIG) == OLD
    assert leftovers(machine) == []
    assert (machine.state / "default-runtime").read_text().strip() == runtime
    machine.calls()
    succeeds(machine.lacks("term"))


KILLED = [
    ("kill", "curl 1"), ("kill", "gpg 2"), ("kill", "sync 1"), ("kill", "mv 1"), ("killed", "mv 1"),
    ("killed", "mv 2"), ("kill", "apt-get 1"), ("kill", "apt-get 3"), ("killed", "apt-get 3"),
    ("killed", "ln 1"), ("kill", "mv 3"), ("killed", "mv 3"), ("kill", "systemctl 2"),
    ("killed", "systemctl 2"),
]  # fmt: skip


@pytest.mark.parametrize(("moment", "when"), KILLED)
def test_killed_it_leaves_the_old_or_the_new_and_the_next_run_ends_it(
    machine: Machine, moment: str, when: str
) -> None:
    machine.write(CONFIG, OLD)
    assert machine.has(moment, when).run().returncode == -9
    files = machine.files()
    assert machine.text(CONFIG) in (OLD, NEW)
    assert files.get(LIST, (0o644, ENTRY.encode())) == (0o644, ENTRY.encode())
    if LIST in files:
        assert KEY in files
    if KEY in files:
        assert files[KEY][1].endswith(f"{FINGERPRINT}:\n".encode())
    (machine.state / moment).unlink(missing_ok=True)
    machine.calls()
    succeeds(machine)
    assert OLD.encode() in [text for name, (_, text) in machine.files().items() if name.endswith(".bak")]
