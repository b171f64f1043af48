"""The house holds itself: floors, circles, sizes, what the pure floors may not touch, names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("wire", "relay", "farm")

FLOORS: dict[int, tuple[str, ...]] = {
    0: ("wire",),
    1: (
        "relay.nkn.address", "relay.nkn.arrival", "relay.nkn.dispatch", "relay.nkn.envelope",
        "relay.nkn.flights", "relay.nkn.identity", "relay.nkn.messages_pb2", "relay.nkn.multi",
        "relay.nkn.pace", "relay.nkn.payload", "relay.nkn.seal", "relay.nkn.session", "relay.nkn.sigchain",
        "relay.nkn.waiting",
        "relay.nkn.devnode.limits", "relay.nkn.devnode.faults", "relay.nkn.devnode.ring",
        "relay.nkn.devnode.holding", "relay.nkn.devnode.registry", "relay.nkn.devnode.liveness",
        "relay.nkn.devnode.verification", "relay.nkn.devnode.receipts", "relay.nkn.devnode.control",
        "relay.nkn.devnode.steps", "relay.nkn.devnode.reception", "relay.nkn.devnode.core",
        "relay.nkn.devnode.rpc", "relay.nkn.devnode.rpcmethods", "relay.nkn.devnode.answer",
        "relay.nkn.devnode.upgrade", "relay.nkn.devnode.limiter", "relay.nkn.devnode.wsframes",
        "relay.nkn.devnode.lane", "relay.nkn.devnode.shuffle", "relay.nkn.devnode.knobs",
        "relay.nkn.devnode.times", "relay.nkn.devnode.redelivery", "relay.nkn.devnode.panel",
        "relay.nkn.devnode.glossary",
    ),
    2: (
        "relay.admission", "relay.answer", "relay.answered", "relay.batcher", "relay.cloud", "relay.commands",
        "relay.engine", "relay.events",
        "relay.exchange", "relay.frames", "relay.gaps", "relay.hearing", "relay.inquiry", "relay.manner",
        "relay.named", "relay.outflow", "relay.parcel", "relay.patience",
        "relay.policy", "relay.quotas", "relay.reader", "relay.retained", "relay.rights", "relay.runs",
        "relay.screen",
        "relay.requestbody", "relay.station", "relay.uploads",
        "relay.doctor.limits", "relay.doctor.finding", "relay.doctor.paper", "relay.doctor.secretfile",
        "relay.doctor.network", "relay.doctor.upstreams", "relay.doctor.examination",
        "relay.service.unit", "relay.service.choice",
        "farm.api", "farm.demand", "farm.gate", "farm.grammar", "farm.head",
        "farm.health", "farm.launch", "farm.limits",
        "farm.model", "farm.plan", "farm.pool", "farm.routes", "farm.watchdog", "farm.witness",
        "farm.bench.limits", "farm.bench.plan", "farm.bench.asking", "farm.bench.said", "farm.bench.answer",
        "farm.bench.reading", "farm.bench.arrivals", "farm.bench.prompts", "farm.bench.spread",
        "farm.bench.figures", "farm.bench.record", "farm.bench.comparison", "farm.bench.tables",
        "farm.doctor.limits", "farm.doctor.finding", "farm.doctor.variables", "farm.doctor.software",
        "farm.doctor.containers", "farm.doctor.graphics", "farm.doctor.surroundings", "farm.doctor.storage",
        "farm.doctor.servers", "farm.doctor.ports", "farm.doctor.ollamas", "farm.doctor.front",
        "farm.doctor.trial", "farm.doctor.examination", "farm.doctor.paper",
        "farm.embedded.fields", "farm.embedded.card",
        "farm.embedded.options", "farm.embedded.schema",
        "farm.embedded.template", "farm.embedded.ask", "farm.embedded.pieces",
        "farm.embedded.native", "farm.embedded.openai", "farm.embedded.openai_voice",
        "farm.embedded.vectors", "farm.embedded.gobytes", "farm.embedded.structs",
        "farm.embedded.responses", "farm.embedded.responses_voice", "farm.embedded.messages",
        "farm.embedded.messages_voice", "farm.embedded.doors", "farm.embedded.gguf",
    ),
    3: ("relay.nkn", "relay.asker", "relay.call", "relay.reading", "relay.workers", "relay.upstream",
        "relay.pump", "relay.peer",
        "relay.metrics", "relay.panel", "relay.terminal", "relay.thrift", "farm"),
    4: (
        "relay.__main__", "relay.asking", "relay.cli", "relay.journal", "relay.keyfile",
        "relay.ollama_relay", "relay.owned", "relay.settings", "relay.doctor", "relay.service",
        "farm.__main__", "farm.cli", "farm.ollama_farm", "farm.settings",
        "farm.bench.cli", "farm.bench.settings", "farm.doctor.cli",
    ),
}  # fmt: skip
"""Floor → modules; a package name stands for what lies in it and is not named elsewhere."""

NOT_BELOW_3 = {
    "asyncio", "concurrent", "datetime", "logging", "multiprocessing", "os", "queue", "random", "secrets",
    "select", "selectors", "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time",
    "pathlib", "aiohttp", "httpx", "prometheus_client", "psutil", "requests", "urllib3", "websockets",
    "uvicorn", "fastapi",
}  # fmt: skip
"""No clock, socket, thread, file, chance or logger below floor 3."""
FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
FUNCTION_LINES_MEDIAN = 8


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_module(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def floor_of(module: str) -> int:
    if module == "relay":
        return 0  # its __init__ is a docstring
    best, found = -1, -1
    for floor, names in FLOORS.items():
        for name in names:
            if (module == name or module.startswith(f"{name}.")) and len(name) > best:
                best, found = len(name), floor
    assert found >= 0, f"{module} stands on no floor; give it one in FLOORS"
    return found


def _imports(module: str, *, top_level: bool = False) -> set[str]:
    found: set[str] = set()
    nodes = TREES[module].body if top_level else ast.walk(TREES[module])
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in SOURCES else node.module)
    return found


def _own(module: str, *, top_level: bool = False) -> set[str]:
    return {name for name in _imports(module, top_level=top_level) if name.partition(".")[0] in PACKAGES}


def _handwritten() -> list[str]:
    return [name for name in SOURCES if not name.endswith("_pb2")]


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_go_down_only(module: str) -> None:
    up = {other for other in _own(module) if other in SOURCES and floor_of(other) > floor_of(module)}
    assert not up, f"{module} (floor {floor_of(module)}) imports upwards: {sorted(up)}"


def test_relay_and_farm_never_import_each_other() -> None:
    for module in SOURCES:
        room = module.partition(".")[0]
        others = {other.partition(".")[0] for other in _own(module)} - {room, "wire"}
        assert not others, f"{module} imports {others}"


def test_wire_imports_the_standard_library_alone() -> None:
    for module in SOURCES:
        if module.partition(".")[0] == "wire":
            roots = {name.partition(".")[0] for name in _imports(module)}
            assert roots <= sys.stdlib_module_names | {"wire"}, module


def test_no_import_circles() -> None:
    edges = {name: {o for o in _own(name, top_level=True) if o in SOURCES and o != name} for name in SOURCES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"circle: {' → '.join([*path[path.index(name) :], name])}"
        if name not in done:
            for other in edges[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in SOURCES:
        visit(name, ())


@pytest.mark.parametrize("module", sorted(name for name in SOURCES if floor_of(name) < 3))
def test_the_core_knows_no_clock_socket_thread_file_or_chance(module: str) -> None:
    roots = {name.partition(".")[0] for name in _imports(module)}
    assert not roots & NOT_BELOW_3, f"{module} imports {sorted(roots & NOT_BELOW_3)}"
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input", "exec", "eval"}, module
        if isinstance(node, ast.Attribute):
            assert node.attr != "urljoin", f"{module}: urljoin leaves the host, use Origin.join"


@pytest.mark.parametrize("module", sorted(_handwritten()))
def test_files_and_functions_stay_small(module: str) -> None:
    lines = SOURCES[module].read_text(encoding="utf-8").count("\n")
    assert lines <= FILE_LINES_MAX, f"{module} has {lines} lines; which noun is hiding in it?"
    for name, size in _functions(module):
        assert size <= FUNCTION_LINES_MAX, f"{module}.{name} has {size} lines"


def test_functions_are_small_in_the_median() -> None:
    sizes = sorted(size for module in _handwritten() for _, size in _functions(module))
    assert sizes[len(sizes) // 2] <= FUNCTION_LINES_MEDIAN


def _functions(module: str) -> list[tuple[str, int]]:
    return [
        (node.name, (node.end_lineno or node.lineno) - node.lineno + 1 - _doc_lines(node))
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def _doc_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    if ast.get_docstring(node) is None:
        return 0
    return (first.end_lineno or first.lineno) - first.lineno + 1


@pytest.mark.parametrize("module", sorted(_handwritten()))
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(TREES[module]), module


def test_no_file_shadows_the_standard_library() -> None:
    # `python3 relay/ollama_relay.py` puts its folder first on the path.
    for module, path in SOURCES.items():
        if path.name != "__init__.py" and not path.stem.startswith("__"):
            assert path.stem not in sys.stdlib_module_names, module


def test_site_is_no_package() -> None:
    assert not (ROOT / "site" / "__init__.py").exists(), "`import site` is the standard library's"


def test_packages_are_listed_by_name() -> None:
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(name for name, path in SOURCES.items() if path.name == "__init__.py")


def test_nothing_committed_names_this_machine() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    needles = ("/" + "work/", "/" + "root/", "/" + "home/")
    for name in filter(None, tracked):
        text = (ROOT / name).read_bytes().decode("utf-8", "replace") if (ROOT / name).exists() else ""
        assert not any(needle in text for needle in needles), name
