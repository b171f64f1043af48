"""Whole machines, as the doctor sees them and what it prints."""

from __future__ import annotations

from dataclasses import replace

from farm.doctor import paper
from farm.doctor.containers import Container, Docker
from farm.doctor.examination import Asked, Facts, examine
from farm.doctor.front import Front
from farm.doctor.graphics import Card, Graphics
from farm.doctor.ollamas import Binary
from farm.doctor.servers import Answer, Kind, Listener, Loaded, Serve, Servers, Unit
from farm.doctor.software import Choice, Engine, Packages
from farm.doctor.storage import Folder, Storage
from farm.doctor.surroundings import Surroundings
from farm.doctor.trial import Trial

GB = 10**9
ASKED = Asked(8080, 11434, (11434, 11435, 8080))
BARE = Facts(
    ASKED,
    packages=Packages("3.12.3"),
    engine=Engine(there=False),
    choice=Choice(""),
    docker=Docker(there=False),
    graphics=Graphics(),
    servers=Servers(),
    storage=Storage(Folder("/w/models/models", writable=True), free=90 * GB),
    surroundings=Surroundings(available=7 * GB, memory=8 * GB, cores=4),
)


def printed(facts: Facts) -> str:
    return paper.text(examine(facts))


def test_a_machine_with_nothing() -> None:
    assert (
        printed(BARE)
        == """\
trouble mode      neither docker nor an `ollama` command can be used: no model of your choice can be run
                  → https://docs.docker.com/engine/install/ or https://ollama.com/download; \
`--mode embedded` runs a very small model without them
ok      python    Python 3.12.3 has all packages of the farm
trouble engine    the embedded engine is not installed; only --mode embedded needs it
                  → pip install 'gpu-over-nkn[embedded]'
ok      gpu       no GPU that Ollama could use: models run on the CPU
note    docker    docker is not installed; only --mode docker needs it
                  → https://docs.docker.com/engine/install/
note    ollama    there is no `ollama` command; only --mode local needs it
                  → https://ollama.com/download
ok      port      ports 11434, 8080, 11435 are free
ok      exposed   no Ollama here can be reached from other machines
ok      leftovers nothing is left behind by earlier farms
ok      models    no models yet; /w/models/models is made at the first start
ok      disk      90.0 GB free on the disk of the models
ok      memory    7.0 GB of 8.0 GB memory available, 4 cores
ok      proxies   no proxy variable catches requests to this machine
2 troubles and 2 notes
"""
    )


CARD = Card("0", "NVIDIA RTX A5000", 24564, 9000, (("python3", 41, 15000),))
BACK = Answer(
    "http://127.0.0.1:11434", 11434, Kind.OLLAMA, "0.24.0", loaded=(Loaded("gemma3:4b", 4 * GB, 0),),
    models={"gemma3:4b": 3_300_000_000},
)  # fmt: skip
SERVICE = replace(
    BARE,
    engine=Engine(there=True, model_here=True),
    choice=Choice("local"),
    docker=Docker(there=True, version="27.5.1", default_runtime="runc"),
    graphics=Graphics(cards=(CARD,), driver="550.90.07", smi=True),
    binary=Binary("/usr/local/bin/ollama", "0.24.0"),
    unit=Unit("active", 7, {"OLLAMA_HOST": "0.0.0.0"}),
    servers=Servers(listeners=(Listener("::", 11434, 7, "ollama"),), answers=(BACK,)),
)


def test_a_service_that_does_not_use_its_gpu() -> None:
    assert (
        printed(SERVICE)
        == """\
ok      mode       `python -m farm` would use the Ollama that runs at http://127.0.0.1:11434
ok      python     Python 3.12.3 has all packages of the farm
ok      engine     the embedded engine can be loaded; its model is here
ok      nvidia     1 × NVIDIA RTX A5000, driver 550.90.07
note    gpu-memory GPU 0: 8.8 of 24.0 GiB free; used by python3 (process 41, 14.6 GiB)
                   → end what has the memory, or choose a smaller model
trouble gpu-use    GPU not used: gemma3:4b at http://127.0.0.1:11434 runs on the CPU alone
                   → restart that Ollama: it looks for GPUs only at its start; \
the log has a line `inference compute`
ok      docker     Docker 27.5.1 answers; its default runtime is runc
note    docker-gpu docker cannot hand the NVIDIA GPU to containers: it has no runtime `nvidia`
                   → sudo bash scripts/docker_ensure.sh (Ubuntu 24.04; docs/docker-gpu.md has the rest)
ok      ollama     ollama 0.24.0 at /usr/local/bin/ollama
note    service    the service ollama runs; a farm on its port uses it as it is, its settings included
                   → to give its port to the farm's own: sudo systemctl disable --now ollama
ok      port       11434: Ollama 0.24.0 (the service ollama)
ok      port       ports 8080, 11435 are free
trouble exposed    the Ollama on port 11434 (the service ollama) can be reached from other machines (::): \
whoever does may use, pull and delete models
                   → sudo systemctl edit ollama: [Service] Environment="OLLAMA_HOST=127.0.0.1"; \
then sudo systemctl restart ollama. See: ss -ltn 'sport = :11434'
note    parallel   the Ollama at http://127.0.0.1:11434 answers one request at a time (OLLAMA_NUM_PARALLEL \
is not set, or 1)
                   → sudo systemctl edit ollama: [Service] Environment="OLLAMA_NUM_PARALLEL=4"; \
then sudo systemctl restart ollama
ok      leftovers  nothing is left behind by earlier farms
ok      models     no models yet; /w/models/models is made at the first start
ok      disk       90.0 GB free on the disk of the models
ok      memory     7.0 GB of 8.0 GB memory available, 4 cores
ok      proxies    no proxy variable catches requests to this machine
2 troubles and 4 notes
"""
    )


HEALTH = {
    "status": "ready", "warm": {"gemma3:4b": True}, "slots": 9, "running": 0, "waiting": 0,
    "backends": [{"url": BACK.url, "phase": "ready", "up": True, "ours": True, "restarts": 0}],
}  # fmt: skip
FRONT = Answer("http://127.0.0.1:8080", 8080, Kind.FARM, health=HEALTH)
FARM = replace(
    SERVICE,
    asked=replace(ASKED, model="gemma3:4b"),
    choice=Choice("docker"),
    docker=Docker(there=True, version="27.5.1", default_runtime="nvidia", nvidia=True),
    graphics=Graphics(cards=(Card("0", "NVIDIA RTX A5000", 24564, 20000),), driver="550.90.07", smi=True),
    containers=(
        Container(
            "ollama-farm-11434", "ollama/ollama:latest", running=True, ports=(("127.0.0.1", 11434, 11434),),
            farm="11434", settings={"OLLAMA_NUM_PARALLEL": "9"}, gpu=True,
        ),
    ),
    binary=None,
    unit=None,
    servers=Servers(
        listeners=(Listener("127.0.0.1", 8080, 5, "python"), Listener("127.0.0.1", 11434)),
        answers=(replace(BACK, loaded=(Loaded("gemma3:4b", 4 * GB, 4 * GB),)), FRONT),
        guarded=("ollama-farm-11434",),
    ),
    fronts=(Front(FRONT.url, HEALTH),),
    trial=Trial(FRONT.url, "gemma3:4b", 2, spans=((0, 1), (0, 1)), load_s=0.1),
)  # fmt: skip


def test_a_farm_that_is_well() -> None:
    assert (
        printed(FARM)
        == """\
ok      mode       `python -m farm` would use the Ollama that runs at http://127.0.0.1:11434
ok      python     Python 3.12.3 has all packages of the farm
ok      engine     the embedded engine can be loaded; its model is here
ok      nvidia     1 × NVIDIA RTX A5000, driver 550.90.07
ok      gpu-memory GPU 0: 19.5 of 24.0 GiB free
ok      gpu-use    gemma3:4b at http://127.0.0.1:11434 is on the GPU as a whole
ok      docker     Docker 27.5.1 answers; its default runtime is nvidia
ok      docker-gpu docker can hand the NVIDIA GPU to containers
                   → to see it: docker run --rm --gpus all nvidia/cuda:12.8.0-base-ubuntu24.04 nvidia-smi
note    ollama     there is no `ollama` command; only --mode local needs it
                   → https://ollama.com/download
ok      port       11434: Ollama 0.24.0 (container ollama-farm-11434)
ok      port       8080: the front of a farm (python, process 5)
ok      port       port 11435 is free
ok      exposed    no Ollama here can be reached from other machines
ok      parallel   the Ollama at http://127.0.0.1:11434 runs 9 streams of a model at once
ok      leftovers  nothing is left behind by earlier farms
ok      models     no models yet; /w/models/models is made at the first start
ok      disk       90.0 GB free on the disk of the models
ok      model      gemma3:4b is there (3.3 GB)
ok      memory     7.0 GB of 8.0 GB memory available, 4 cores
ok      proxies    no proxy variable catches requests to this machine
ok      front      the farm at http://127.0.0.1:8080 is ready; 0 of 9 slots taken, 0 waiting
ok      try        gemma3:4b at http://127.0.0.1:8080 was in memory after 0.1 s
ok      try        2 answers ran at the same time
1 note
"""
    )


def checks(facts: Facts) -> list[str]:
    return [one.check for one in examine(facts)]


def test_what_was_not_seen_is_said_and_nothing_else_of_it() -> None:
    silent = {"ollama": "no answer within 30 s", "port": "the Python package psutil is missing"}
    told = examine(Facts(replace(ASKED, model="a"), silent=silent))
    assert [(one.check, one.text) for one in told] == [
        ("model", "a is not in the folder of models"),
        ("ollama", "not looked at: no answer within 30 s"),
        ("port", "not looked at: the Python package psutil is missing"),
    ]


def test_gpus_are_judged_without_servers_too() -> None:
    assert checks(Facts(ASKED, graphics=Graphics())) == ["gpu", "ollama"]


def test_without_a_model_in_memory_nobody_knows_whether_the_gpu_is_used() -> None:
    idle = replace(SERVICE, servers=Servers(answers=(replace(BACK, loaded=()),)))
    (told,) = [one for one in examine(idle) if one.check == "gpu-use"]
    assert "`--try MODEL`" in told.remedy
    engine = replace(SERVICE, servers=Servers(answers=(replace(BACK, loaded=(), embedded=True),)))
    assert "gpu-use" not in checks(engine)


def test_a_model_that_is_not_in_memory_must_fit() -> None:
    asked = replace(ASKED, model="gemma3:4b")
    small = Surroundings(available=3 * GB, memory=4 * GB)
    cold = Servers(answers=(replace(BACK, loaded=()),))
    assert "fit" in checks(replace(BARE, asked=asked, servers=cold, surroundings=small))
    assert "fit" in checks(replace(BARE, asked=asked, servers=cold, surroundings=small, graphics=None))
    assert "fit" not in checks(
        replace(BARE, asked=asked, servers=Servers(answers=(BACK,)), surroundings=small)
    )
    on_disk = Storage(Folder("/m", there=True, readable=True, writable=True), models={"gemma3:4b": 9 * GB})
    assert "fit" in checks(replace(BARE, asked=asked, servers=None, storage=on_disk))


def test_a_backend_that_answers_nobody() -> None:
    gone = replace(FARM, servers=Servers(answers=(FRONT,)))
    assert "backend" in checks(gone)
    assert "backend" not in checks(replace(gone, servers=None))
    assert "backend" not in checks(replace(gone, fronts=(Front("http://far.example:80", HEALTH),)))
    assert "backend" not in checks(replace(gone, fronts=(Front(FRONT.url, trouble="x"),)))


def test_an_ollama_that_can_be_used_makes_the_rest_a_note() -> None:
    alone = replace(
        BARE, servers=Servers(answers=(BACK,), listeners=(Listener("127.0.0.1", 11434, 7, "ollama"),))
    )
    levels = {one.check: one.level.value for one in examine(alone)}
    assert (levels["mode"], levels["engine"]) == ("ok", "note")


def test_every_port_is_looked_at_once() -> None:
    assert Asked(8080, 11435, (11434, 11435, 8080)).ports == (11435, 8080, 11434)


def test_ollamas_on_other_ports_are_told_too() -> None:
    other = Answer("http://127.0.0.1:11500", 11500, Kind.OLLAMA, "0.24.0")
    servers = Servers((Listener("127.0.0.1", 11500, 9, "ollama"),), answers=(other,))
    texts = [one.text for one in examine(replace(BARE, servers=servers)) if one.check == "port"]
    assert texts == ["11500: Ollama 0.24.0 (ollama, process 9)", "ports 11434, 8080, 11435 are free"]


def test_a_serve_of_this_user_tells_its_streams() -> None:
    servers = Servers(
        (Listener("127.0.0.1", 11434, 7, "ollama"),), (Serve(7, {"OLLAMA_NUM_PARALLEL": "3"}),), (BACK,)
    )
    texts = [one.text for one in examine(replace(BARE, servers=servers)) if one.check == "parallel"]
    assert texts == ["the Ollama at http://127.0.0.1:11434 runs 3 streams of a model at once"]
