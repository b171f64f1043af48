import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import redact

KEY = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"


@given(st.text(st.characters(codec=None)), st.integers(1, 50))
def test_printed_text_is_one_bounded_line_without_control_characters(text, limit):
    shown = redact.printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit + 1


@given(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=120))
def test_plain_text_is_shown_as_it_is(text):
    assert redact.printable(text) == text


def test_escape_sequences_and_direction_marks_cannot_draw_on_a_terminal():
    assert redact.printable("a\x1b[31m\u202eb\n\u2028") == "a�[31m�b��"


def test_long_text_is_cut_and_says_so():
    assert redact.printable("x" * 121) == "x" * 120 + "…"
    assert redact.printable("x" * 120) == "x" * 120


@given(st.text(max_size=200), st.text("0123456789abcdef", min_size=9, max_size=200))
def test_never_more_than_eight_characters_of_a_key_are_shown(name, key):
    assert key not in redact.key(f"{name}.{key}").removeprefix(redact.printable(name))
    assert redact.key(f"{name}.{key}").endswith(f".{key[:8]}…")
    assert redact.key(key) == f"{key[:8]}…"


def test_an_address_keeps_its_name():
    assert redact.key(f"relay.{KEY}") == "relay.8a88e3dd…"


def test_what_is_short_is_no_key_and_stays():
    assert redact.key("relay.abc") == "relay.abc"
    assert redact.key("relay.12345678") == "relay.12345678"


def test_a_path_is_shown_without_its_query():
    assert redact.path("/api/chat?key=secret") == "/api/chat"
    assert redact.path("/a\nb?x") == "/a�b"


@given(st.text(st.characters(codec=None)))
def test_a_models_words_can_be_written_and_move_no_cursor(text):
    shown = redact.words(text)
    shown.encode()
    assert not {char for char in shown if char < " " and char not in "\n\t"}
    assert not set("\x7f\x9b\r\x1b\ud800") & set(shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n\tb", "a\n\tb"),
        ("na\u00a0ïve \U0001f469\u200d\U0001f4bb", "na\u00a0ïve \U0001f469\u200d\U0001f4bb"),
        ("\x1b[2Jx\r\x07\x9b31m", "[2Jx31m"),
        ("\ud83d!\udc00", "!"),
    ],
)
def test_words_of_all_languages_stay_and_controls_go(text, shown):
    assert redact.words(text) == shown
