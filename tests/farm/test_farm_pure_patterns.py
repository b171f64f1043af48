"""farm.api.patterns and ways: what of a regular expression Ollama's converter takes, as it was measured."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.api import patterns, ways
from farm.api.patterns import UnplainError

PLAIN = [
    "^$", "^a$", "^abc$", "^a b$", "^é日$", "^[a-z]$", "^[^a-z]$", "^[A-Za-z0-9_-]$", "^[-a]$", "^[a-]$",
    "^[+--]$", "^[é]{3}$", "^[à-ü]+$", "^.$", "^.*$", "^.+@.+\\..+$", "^[0-9]{3}-[0-9]{4}$", "^[a-z]{2,5}$",
    "^a{2000}$", "^a{0,2000}$", "^a{5,}$", "^a{0}$", "^a{0,0}b$", "^a*b+c?$", "^foo|bar$", "^(foo|bar)$",
    "^(a|)$", "^()$", "^|$", "^((a))$", "^(red|green|blue)$", "^[a-z]+(-[a-z]+)*$", "^[0-9]{5}(-[0-9]{4})?$",
    "^(ab|cd)+$", "^([0-9]{1,3}\\.){3}x$", "^\\^\\$\\.\\[\\]\\(\\)\\{\\}\\|\\*\\+\\?$", '^\\\\\\"\\n\\r\\t$',
    '^[\\[\\]\\\\\\"\\n\\r\\t]+$', "^\\.{3}$", "^a.\\.{3}$", '^"$', '^"*$', "^#[0-9a-fA-F]{6}$", "^a^b$",
    "^a$b$",     "^https?://[a-z0-9./]+$", "^[.*+?(){}|^$]$", "^a,b;c:d<e>$", "^[A-Za-z_][A-Za-z0-9_]*$",
    "^(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$", "^\\+?[0-9]{7,15}$", "^(ab{2}c)?$",
]  # fmt: skip

UNPLAIN = {
    # ends the runner
    "not known": [
        "^\\d{3}$", "^\\w$", "^\\s$", "^a\\-b$", "^a\\/b$", "^[\\d]$", "^[\\w-]$", "^[\\.]$", "^[a\\-z]$",
        "^\\x41$", "^(a)\\1$", "^\\$", "^a\\$", "^[a-\\d]$", "^[\\$",
    ],
    "beyond ASCII": ["^é+$", "^aé{3}$"],
    "may be empty": ["^(a*)*$", "^(|)*$", "^(a?){5}$", "^(a|)+$", "^(a*b?)+$", "^(a?)?$"],
    # ends Ollama itself, or never returns
    "stands where a character should": [
        "^*$", "^+$", "^?$", "^a}$", "^a]$", "^(*)$", "^(a|*)$", "^a**$", "^a??$", "^a{2}{3}$", "^a+*$",
        "^{2}$",
    ],
    "(?": ["^(?:a|b)$", "^(?=a)b$"],
    "is an empty range": ["^a{5,2}$", "^[z-a]$"],
    # is followed in too many ways
    "in several ways": ["^([a-z]+)+$", "^([a-z]{2,3})*$", "^((a)+,?)+$",
        "^(a|a)*$", "^(.+,?)+$", "^(ab?b?)*$"],
    # is refused by Ollama, or understood otherwise
    "begin with ^": ["", "^", "$", "abc", "^abc", "abc$"],
    "not in a pair": ["^((a$", "^a)$", "^(a))$", "^[a$", "^[a-$"],
    "no end": ["^[$", "^[]$", "^[^]$"],
    "no count": ["^a{$", "^a{x}$", "^a{,5}$", "^a{12345}$", "^a{1,2,3}$", "^a{2$"],
    "cannot be printed": ["^\x00$", "^a\nb$", "^a\u2028$"],
    "behind an escaped character": ["^ab\\.+$", "^a\\$*$", '^a"*$'],
}  # fmt: skip


@pytest.mark.parametrize("pattern", PLAIN)
def test_a_plain_pattern_is_understood(pattern):
    assert patterns.read(pattern).ways >= 1


@pytest.mark.parametrize(("why", "pattern"), [(why, one) for why, many in UNPLAIN.items() for one in many])
def test_a_pattern_that_is_not_plain_says_why(why, pattern):
    with pytest.raises(UnplainError) as caught:
        patterns.read(pattern)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "repeats", "largest"),
    [
        ("^abc*d+e?$", 0, 0),
        ("^a{3}$", 3, 3),
        ("^a{3,}$", 3, 3),
        ("^a{3,8}b{2}$", 10, 8),
        ("^(a{9}b){2000}$", 2009, 2000),
        ("^a{9999}$", 9999, 9999),
        ("^a{0}$", 0, 0),
    ],
)
def test_counts_are_added_up(pattern, repeats, largest):
    plain = patterns.read(pattern)
    assert (plain.repeats, plain.largest) == (repeats, largest)


@pytest.mark.parametrize(
    ("pattern", "ways"),
    [
        ("^abc$", 1),
        ("^[a-z]+-[0-9]+$", 1),
        ("^[a-z]+(-[a-z]+)*$", 1),
        ("^(foo|bar)$", 1),
        ("^(foo|far)$", 2),
        ("^(foo|far|fit|bar)$", 3),
        ("^(a|a)(b|b)(c|c)$", 32),
        ("^a?a$", 2),
        ("^a?a?a$", 6),
        ("^[a-z]{3}[a-z]{4}$", 1),
        ("^[a-z]*[0-9]*$", 1),
        ("^[a-z]*q$", 2 * 64),
        ("^[a-z]*[a-z]*$", 2 * 64),
        ("^a+a$", 64),
        ("^.+@.+\\..+$", 64 * 64),
        ("^[^@]+@[^@]+$", 1),
        ("^é[à-ü]*[ä]*$", 2 * 64),
        ("^[^a]*a$", 1),
        ("^[^a]*é$", 2 * 64),
        ("^([0-9]{2}:)+[0-9]{2}$", 64),
    ],
)
def test_ways_to_read_a_token_multiply(pattern, ways):
    assert patterns.read(pattern).ways == ways


@pytest.mark.parametrize("count", [3, 5, 20])
def test_three_repetitions_that_run_into_each_other_are_many_ways(count):
    assert patterns.read("^" + "[a-m]*" * count + "$").ways > 10_000


def test_groups_in_groups_are_read_to_any_depth_a_pattern_has_room_for():
    assert patterns.read("^" + "(" * 120 + "a" + ")" * 120 + "$").ways == 1


# -- against Python's own reader ----------------------------------------------------------------------

ATOMS = st.sampled_from(["a", "b", "[ab]", "[^a]", ".", "\\.", "(a|b)", "(ab)", "[a-c]", "c"])
TIMES = st.sampled_from(["", "", "*", "+", "?", "{2}", "{0,2}", "{1,}"])
PATTERNS = (
    st.lists(st.builds(str.__add__, ATOMS, TIMES), max_size=5).map("".join).map(lambda text: f"^{text}$")
)


@given(PATTERNS)
def test_what_is_plain_is_a_regular_expression(pattern):
    try:
        plain = patterns.read(pattern)
    except UnplainError:
        return
    assert re.compile(pattern)
    assert plain.ways >= 1


@given(st.text('ab[]()*+?{}|\\-.,0129"é', max_size=12))
@pytest.mark.filterwarnings("ignore:Possible nested set")
def test_any_text_is_refused_or_a_regular_expression(text):
    with contextlib.suppress(UnplainError):
        assert patterns.read(f"^{text}$")
        assert re.compile(text)


def _readings(sets: list[int], follow: list[int], text: str) -> int:
    """In how many ways the positions can be gone through with this text, counted one by one."""
    now = {-1: 1}
    for char in text:
        bit = 1 << ord(char)
        after: dict[int, int] = {}
        for index, count in now.items():
            for other in ways.indices(follow[index + 1]):
                if sets[other] & bit:
                    after[other] = after.get(other, 0) + count
        now = after
    return sum(now.values())


@given(PATTERNS, st.text("abc.", max_size=12))
def test_there_are_never_more_ways_than_are_counted(pattern, text):
    reader = patterns._Reader(pattern[1:-1])
    try:
        first = reader.choice().first
    except UnplainError:
        return
    follow = [first, *reader.follow]
    counted = ways.count(reader.sets, follow)
    if counted is not None:
        assert _readings(reader.sets, follow, text) <= counted


def test_what_comes_back_to_itself_on_two_ways_doubles_with_each_character():
    a, b = 1 << ord("a"), 1 << ord("b")
    assert ways.count([a, a], [0b11, 0b11, 0b11]) is None
    assert ways.count([a, b], [0b11, 0b11, 0b11]) == 1
    assert ways.count([a, a], [0b01, 0b11, 0b00]) == 64
    assert ways.reach([0b010, 0b100, 0b000]) == [0b111, 0b110, 0b100]
    assert list(ways.indices(0b101001)) == [0, 3, 5]
