"""The changes that are made, how code is exchanged, and what becomes of changes with a known end."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from mutation.__main__ import main
from mutation.children import KILLED, SURVIVED, TIME, UNREACHED, Mutant
from mutation.ledger import Ledger, key, listed, survived
from mutation.operators import changes
from mutation.reach import Reach
from mutation.swap import NotPlacedError, caches, live, place
from scripts.core import pure_modules

ROOT = Path(__file__).resolve().parent.parent


def made(body: str, head: str = "def f(a, b):") -> list[str]:
    """What a statement can become."""
    found = changes(ast.parse(f"{head}\n{textwrap.indent(body, '    ')}\n"))
    return [change.after for change in found]


@pytest.mark.parametrize(
    ("body", "after"),
    [
        ("a < b < a", ["a <= b < a", "a < b <= a"]),
        ("a >= b", ["a > b"]),
        ("a == b", ["a != b"]),
        ("a is b", ["a is not b"]),
        ("a not in b", ["a in b"]),
        ("a and b and a", ["a or b or a"]),
        ("not a", ["a"]),
        ("a + b", ["a - b"]),
        ("a * b", ["a / b"]),
        ("a // b", ["a * b"]),
        ("a % b", ["a * b"]),
        ("a << b", ["a >> b"]),
        ("a & b", ["a | b"]),
        ("a ** b", []),
        ("a[1:2]", ["a[2:2]", "a[1:3]"]),
        ("a[-1]", ["a[-2]"]),
        ("(a, 0.5)", ["(a, 1.5)"]),
        ("(a, True)", ["(a, False)"]),
        ("(a, None)", []),
        ("a if b else 0", ["a", "0", "a if not b else 0", "a if b else 1"]),
        ("[x for x in a if x]", ["[x for x in a if not x]"]),
        ("(a, 'word')", ["(a, 'XXwordXX')"]),
        ("(a, b'word')", ["(a, b'XXwordXX')"]),
        ("(a, 'some words')", []),
        ("f'{a}: {b:.1f}'", []),
        ("f'{a}/{b}'", ["f'{a}XX/XX{b}'"]),
        ("'a word alone is a remark'", []),
        ("a += b", ["a -= b", "a = b"]),
        ("a |= 1", ["a &= 1", "a = 1", "a |= 2"]),
        ("a = b", ["a = None"]),
        ("a: int = b", ["a: int = None"]),
        ("a: 'int'", []),
        ("a, b = b, a", []),
        ("a = None", []),
        ("return a", ["return None"]),
        ("return", []),
        ("return True", ["return False"]),
        ("a(b)", ["pass", "a(None)"]),
        ("a(*b, c=1, **b)", ["pass", "a(*b, **b)", "a(*b, c=2, **b)"]),
        ("a = min(b, key=a)", ["a = None", "a = max(b, key=a)", "a = min(None, key=a)", "a = min(b)"]),
        ("return cast('int', a)", ["return None"]),
        ("if a:\n    return", ["if not a:"]),
        ("while a > b:\n    break", ["while a >= b:", "continue"]),
        ("for a in b:\n    continue", ["break"]),
        ("if TYPE_CHECKING:\n    a(1)", []),
        ("assert a == 1", []),
        ("raise KeyError(f'{a}-{b + 1}')", []),
        ("raise E('some words', 'it')", ["raise E('some words', None)", "raise E('some words', 'XXitXX')"]),
        ("try:\n    a = 1\nexcept (E, F):\n    b = 2", ["a = None", "a = 2", "b = None", "b = 3"]),
        ("with a(1) as b:\n    pass", ["with a(None) as b:", "with a(2) as b:"]),
        ("match a:\n    case 1 if b:\n        break", ["case 2 if b:", "case 1 if not b:", "continue"]),
        ("def g(c: int = 1) -> 'int':\n    'What it is.'\n    return c", ["return None"]),
        ("return lambda x: x + 1", ["return None", "return lambda x: x - 1", "return lambda x: x + 2"]),
    ],
)  # fmt: skip
def test_each_operator_makes_what_it_says_and_nothing_else(body: str, after: list[str]) -> None:
    assert made(body) == after


@pytest.mark.parametrize(
    "source",
    [
        "A = 1 + 2\nassert A == 3\n",
        "@wrapped('once')\ndef f(a: 'int' = 1) -> 'str':\n    'Doc.'\n",
        "class C:\n    __slots__ = ('a', 'b')\n    a: int = 1\n    def __repr__(self):\n        return '1'\n",
    ],
)
def test_what_runs_at_import_or_nobody_sees_is_left_alone(source: str) -> None:
    assert changes(ast.parse(source)) == []


def test_a_change_is_undone_once_it_was_told() -> None:
    source = (ROOT / "relay" / "retained.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    before = ast.dump(tree, include_attributes=True)
    found = changes(tree)
    assert len(found) > 50
    assert ast.dump(tree, include_attributes=True) == before
    for change in found:
        back = change.edit.swap()
        compile(tree, "changed", "exec")
        assert ast.dump(tree) != ast.dump(ast.parse(source)), change
        back.swap()


def test_a_change_says_where_it_is() -> None:
    source = """
class C:
    def f(self):
        def g(x):
            if (x or
                    x > 1):
                return x
"""
    first = next(change for change in changes(ast.parse(source)) if change.after.endswith(">= 1:"))
    assert (first.function, first.outer, first.line, first.lines) == ("C.f.g", "C.f", 6, (5, 6))
    assert (first.before, first.after) == ("if x or x > 1:", "if x or x >= 1:")


HELD = """
import functools
from dataclasses import dataclass

def plain():
    return 1

def outer(held):
    def inner():
        return held + 1
    return inner

made_at_import = outer(1)

@functools.lru_cache
def cached():
    return 1

def wrapping(function):
    @functools.wraps(function)
    def wrapper():
        return function()
    return wrapper

@wrapping
def wrapped():
    return 1

class Base:
    def hello(self):
        return 1

class Thing(Base):
    def method(self):
        return 1

    @property
    def owned(self):
        return 1

    @owned.setter
    def owned(self, value):
        self.kept = value + 1

    @classmethod
    def of_class(cls):
        return 1

    @staticmethod
    def static():
        return 1

    def hello(self):
        return super().hello() + 1

@dataclass(frozen=True, slots=True)
class Slotted:
    size: int

    def grown(self):
        return self.size + 1

    @property
    def twice(self):
        return Slotted(self.size * 2)
"""


@pytest.fixture
def held(tmp_path: Path) -> ModuleType:
    file = tmp_path / "held.py"
    file.write_text(HELD)
    module = ModuleType("held")
    module.__file__ = str(file)
    sys.modules["held"] = module
    exec(compile(HELD, str(file), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - our own source
    return module


def put(module: ModuleType, function: str, after: str) -> int:
    tree = ast.parse(HELD)
    change = next(one for one in changes(tree) if one.function == function and one.after == after)
    change.edit.swap()
    assert module.__file__
    return place(tree, module.__file__, change.outer, live({module.__file__}))


@pytest.mark.parametrize(
    ("function", "after", "call", "values"),
    [
        ("plain", "return 2", "plain()", (1, 2)),
        ("outer.inner", "return held - 1", "outer(5)()", (6, 4)),
        ("outer.inner", "return held - 1", "made_at_import()", (2, 0)),
        ("outer.inner", "return None", "made_at_import()", (2, None)),
        ("cached", "return 2", "cached.__wrapped__()", (1, 2)),
        ("wrapped", "return 2", "wrapped()", (1, 2)),
        ("Thing.method", "return 2", "Thing().method()", (1, 2)),
        ("Thing.owned", "return 2", "Thing().owned", (1, 2)),
        ("Thing.of_class", "return 2", "Thing.of_class()", (1, 2)),
        ("Thing.static", "return 2", "Thing.static()", (1, 2)),
        ("Thing.hello", "return super().hello() - 1", "Thing().hello()", (2, 0)),
        ("Thing.hello", "return None", "Thing().hello()", (2, None)),
        ("Slotted.grown", "return self.size - 1", "Slotted(3).grown()", (4, 2)),
        ("Slotted.twice", "return Slotted(self.size / 2)", "Slotted(4).twice.size", (8, 2)),
    ],
)
def test_code_is_exchanged_whoever_holds_it(
    held: ModuleType, function: str, after: str, call: str, values: tuple[object, object]
) -> None:
    assert eval(call, held.__dict__) == values[0]  # noqa: S307 - our own source
    assert put(held, function, after) >= 1
    assert eval(call, held.__dict__) == values[1]  # noqa: S307 - our own source


def test_one_of_two_functions_with_one_name_is_exchanged(held: ModuleType) -> None:
    put(held, "Thing.owned", "self.kept = value - 1")
    thing = held.Thing()
    thing.owned = 5
    assert (thing.kept, thing.owned) == (4, 1)


def test_what_cannot_be_exchanged_is_told(held: ModuleType) -> None:
    assert held.__file__
    with pytest.raises(NotPlacedError):
        place(ast.parse(HELD), held.__file__, "plain", live({held.__file__}))


def test_caches_are_found(held: ModuleType) -> None:
    assert held.__file__
    of_a_class = functools.lru_cache(dict)  # has no code of its own
    assert caches({held.__file__}) == [held.cached]
    assert of_a_class() == {}


PLANTED = {
    "planted.py": """
        def bounded(x):
            return x if x < 3 else 3

        def counted(n):
            while n > 0:
                n -= 1
            return n

        def asked(x):
            return x + 1

        def at_import():
            return 1

        kept = at_import()
        """,
    "test_planted.py": """
        import planted

        def test_bounded():
            assert [planted.bounded(x) for x in (1, 5)] == [1, 3]

        def test_counted():
            assert planted.counted(3) == 0

        def test_asked():
            planted.asked(1)

        def test_it_fails_as_it_is():
            assert planted.asked(1) == 3
        """,
}
TRY = """
import json, sys
from pathlib import Path
from mutation.trial import Trial, run

here = Path(sys.argv[1])
sys.path.insert(0, str(here))
found, said = {}, []
trial = Trial(
    modules={"planted": here / "planted.py"},
    chosen=lambda mutants: mutants,
    jobs=2,
    folder=here,
    told=lambda one, end, *_: found.update({f"{one.change.function}: {one.change.after}": end}),
    say=said.append,
    unchanged=len(sys.argv) > 2,
)
code = run(trial, [str(here / "test_planted.py")], here)
print(json.dumps([code, found, said]))
"""


def tried(folder: Path, *more: str) -> tuple[dict[str, str], list[str]]:
    """How each change to the planted module ended, and what was said."""
    for name, text in PLANTED.items():
        (folder / name).write_text(textwrap.dedent(text))
    words = [sys.executable, "-c", TRY, str(folder), *more]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    code, found, said = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    return found, said


def test_if_nothing_is_exchanged_nothing_is_killed(tmp_path: Path) -> None:
    found, _ = tried(tmp_path, "unchanged")
    assert {*found.values()} == {SURVIVED, UNREACHED}


def test_changes_end_as_they_must(tmp_path: Path) -> None:
    found, said = tried(tmp_path)
    assert found == {
        "bounded: return None": KILLED,
        "bounded: return x": KILLED,
        "bounded: return 3": KILLED,
        "bounded: return x if x <= 3 else 3": SURVIVED,
        "bounded: return x if x < 4 else 3": SURVIVED,
        "bounded: return x if x < 3 else 4": KILLED,
        "counted: while n >= 0:": KILLED,
        "counted: while n > 1:": KILLED,
        "counted: n += 1": TIME,
        "counted: n = 1": TIME,
        "counted: n -= 2": KILLED,
        "counted: return None": KILLED,
        "asked: return None": SURVIVED,
        "asked: return x - 1": SURVIVED,
        "asked: return x + 2": SURVIVED,
        "at_import: return None": UNREACHED,
        "at_import: return 2": UNREACHED,
    }
    assert said[1] == "fails as it is, so it cannot tell anything: test_planted.py::test_it_fails_as_it_is"


def mutant(before: str = "a < b", module: str = "relay.nkn.seal") -> Mutant:
    change = changes(ast.parse(f"def f(a, b):\n    {before}\n"))[0]
    return Mutant(module, "seal.py", ast.parse(""), change)


def test_the_table_has_a_line_for_each_room() -> None:
    ledger = Ledger({})
    for end in (KILLED, KILLED, TIME, SURVIVED):
        ledger.add(mutant(), end)
    ledger.add(mutant(module="wire.budget"), UNREACHED)
    rows = [line.split() for line in ledger.table().splitlines()[1:]]
    assert rows == [
        ["relay.nkn", "4", "2", "1", "1", "75.0%"],
        ["wire", "1", "0", "0", "1", "0.0%"],
        ["all", "5", "2", "1", "2", "60.0%"],
    ]
    assert ledger.score == 0.6


def test_a_survivor_needs_a_reason_and_a_reason_a_survivor(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    rows = ", ".join(
        f'["relay.nkn.seal", "f", "{before}", "{after}"]'
        for before, after in (("a < b", "a <= b"), ("a > b", "a >= b"))
    )
    file.write_text(f'[[survivors]]\nwhy = "equivalent: they are never equal"\nchanges = [{rows}]\n')
    ledger = Ledger(listed(file))
    ledger.add(mutant("a < b"), SURVIVED)
    assert ledger.unknown() == []
    ledger.add(mutant("a > b"), KILLED)
    assert ledger.stale() == [key(mutant("a > b"))]
    ledger.add(mutant("a == b"), SURVIVED)
    assert [key(one) for one, _ in ledger.unknown()] == [("relay.nkn.seal", "f", "a == b", "a != b")]
    file.write_text(ledger.survivors())
    assert survived(file) == {key(mutant("a < b")), key(mutant("a == b"))}


@pytest.mark.parametrize("why", ["", " "])
def test_a_reason_says_something(tmp_path: Path, why: str) -> None:
    file = tmp_path / "known.toml"
    file.write_text(f'[[survivors]]\nwhy = "{why}"\nchanges = [["a", "b", "c", "d"]]\n')
    with pytest.raises(ValueError, match="without a reason"):
        listed(file)


def test_the_quickest_test_that_runs_a_line_comes_first() -> None:
    reach = Reach({"f": {1: {0, 1}, 3: {2}}}, {0: 0.2, 1: 0.1, 2: 0.0, 3: 0.0}, {2})
    reach.add(Reach({"f": {3: {3}}}, {3: 0.05}))
    assert reach.tests("f", (1, 1)) == [1, 0]
    assert reach.tests("f", (1, 3)) == [3, 1, 0]
    assert reach.tests("f", (4, 9)) == []


def test_known_survivors_are_changes_that_can_be_made() -> None:
    pure, made_in = set(pure_modules()), functools.cache(_made_in)
    for module, function, before, after in listed():
        assert module in pure, module
        assert (function, before, after) in made_in(module), (module, function, before)


def _made_in(module: str) -> set[tuple[str, str, str]]:
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    return {(change.function, change.before, change.after) for change in changes(tree)}


def test_a_module_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["relay.nothing*"]) == 2
    assert "relay.nothing*" in capsys.readouterr().err
