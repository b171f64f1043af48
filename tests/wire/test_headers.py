import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import headers, limits
from wire.errors import PeerFault

VALUES = st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.integers()))


@given(st.dictionaries(st.text(max_size=20), VALUES, max_size=5))
def test_what_a_peer_sends_is_refused_or_holds_no_byte_that_ends_a_header(given_headers):
    try:
        kept = headers.from_peer(given_headers)
    except PeerFault:
        return
    for name, value in kept.items():
        assert isinstance(value, str)
        assert value.isascii()
        assert not set("\r\n\0") & set(name + value)
        assert value == value.strip()
        assert name.lower() not in headers.HOP_BY_HOP | headers.SET_BY_US


@pytest.mark.parametrize(
    "value", ["a\r\nHost: evil", "a\nb", "a\rb", "a\0b", "a\x1b[2J", "a\x7f", "naïve", "\ud800"]
)
def test_a_value_that_would_split_the_header_is_refused(value):
    with pytest.raises(PeerFault, match="no header may hold"):
        headers.from_peer({"X-Test": value})


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "é", "a\0"])
def test_a_name_that_is_no_token_is_refused(name):
    with pytest.raises(PeerFault, match="not a header name"):
        headers.from_peer({name: "x"})


@pytest.mark.parametrize("value", [True, False, None, [], {}])
def test_a_value_that_is_neither_text_nor_number_is_refused(value):
    with pytest.raises(PeerFault, match="must be a string"):
        headers.from_peer({"X-Test": value})


def test_a_tab_is_no_control_character_of_a_header():
    assert headers.from_peer({"X-Test": "a\tb "}) == {"X-Test": "a\tb"}


def test_numbers_are_accepted_as_values():
    assert headers.from_peer({"X-A": 5, "X-B": 1.5}) == {"X-A": "5", "X-B": "1.5"}


def test_the_length_of_a_value_is_bounded():
    longest = "x" * limits.HEADER_VALUE_MAX
    assert headers.from_peer({"X-Test": longest}) == {"X-Test": longest}
    with pytest.raises(PeerFault, match="longer than"):
        headers.from_peer({"X-Test": longest + "x"})


def test_the_number_of_headers_is_bounded():
    many = {f"X-{index}": "1" for index in range(limits.HEADERS_MAX)}
    assert headers.from_peer(many) == many
    with pytest.raises(PeerFault, match="at most"):
        headers.from_peer({**many, "X-More": "1"})


@pytest.mark.parametrize("name", sorted(headers.HOP_BY_HOP | headers.SET_BY_US))
def test_a_peer_cannot_set_what_belongs_to_the_connection_or_to_us(name):
    assert headers.from_peer({name.title(): "x", "Accept": "y"}) == {"Accept": "y"}


def test_what_a_connection_header_names_stays_behind_in_any_case():
    pairs = [("Connection", "close, X-Secret,X-More"), ("x-secret", "1"), ("X-Kept", "2"), ("x-kept", "3")]
    pairs.append(("x-more", "4"))
    assert headers.end_to_end(pairs) == [("X-Kept", "2"), ("x-kept", "3")]


def test_a_peers_connection_header_cannot_smuggle_by_naming():
    assert headers.from_peer({"connection": "authorization", "Authorization": "Bearer x"}) == {}


def test_an_upstreams_repeated_headers_are_joined_and_lower_case():
    pairs = [("Vary", "a"), ("VARY", "b"), ("Content-Type", "text/plain")]
    assert headers.to_peer(pairs) == {"vary": "a, b", "content-type": "text/plain"}


def test_cookies_and_lengths_of_the_owners_services_stay_at_home():
    pairs = [
        ("Set-Cookie", "session=1"),
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("A", "1"),
    ]
    assert headers.to_peer(pairs) == {"a": "1"}


def test_an_upstreams_headers_are_bounded_so_that_a_begin_frame_fits_a_message():
    many = [(f"x-{index}", "1") for index in range(limits.HEADERS_MAX)]
    long = ("x-long", "x" * (limits.HEADER_VALUE_MAX + 1))
    assert headers.to_peer([long, *many, ("x-more", "1"), ("x-0", "2")]) == {**dict(many), "x-0": "1, 2"}
    longest = {"x-long": "x" * limits.HEADER_VALUE_MAX}
    assert headers.to_peer(longest.items()) == longest


def test_a_repeated_header_that_grows_too_long_keeps_what_fits():
    half = "x" * (limits.HEADER_VALUE_MAX // 2)
    assert headers.to_peer([("vary", half), ("vary", half), ("vary", "y")]) == {"vary": f"{half}, y"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("a\r\n b", "a   b"),
        ("a\nX: y", "a X: y"),
        ("\0a\x1b[2J\x7f", "a [2J"),
        ("a\tb", "a\tb"),
        ("\x85é", "\x85é"),
    ],
)
def test_a_value_of_an_answer_is_safe_to_write_into_a_header_again(value, told):
    assert headers.to_peer([("X-A", value)]) == {"x-a": told}


@pytest.mark.parametrize("name", ["", "a b", "a:", "é", "a\r\nb"])
def test_a_name_of_an_answer_that_is_none_is_left_out(name):
    assert headers.to_peer([(name, "x"), ("a", "1")]) == {"a": "1"}


def test_all_headers_of_an_answer_together_leave_room_for_the_largest_body():
    pairs = [(f"x-{index:02}", "y" * 4_000) for index in range(20)]
    kept = headers.to_peer([*pairs, ("x-00", "z"), ("vary", "v")])
    assert list(kept) == [*(f"x-{index:02}" for index in range(8)), "vary"]
    assert sum(len(name) + len(value) for name, value in kept.items()) <= limits.ANSWER_HEADERS_MAX
    worst = limits.MAX_BODY_LIMIT_B * 4 / 3 + limits.ANSWER_HEADERS_MAX * 2 + limits.HEADERS_MAX * 6
    assert worst < limits.FRAME_MAX_B - 10_000


@pytest.mark.parametrize("name", sorted(headers.REROUTING))
def test_a_peer_cannot_name_another_path_method_or_sender(name):
    assert headers.from_peer({name.upper(): "/api/pull"}) == {}


def test_the_room_of_an_answers_headers_is_used_to_the_last_character():
    value = "y" * (limits.ANSWER_HEADERS_MAX // 8 - 4)
    pairs = [(f"x-{index:02}", value) for index in range(8)]
    full = headers.to_peer([*pairs, ("a", "")])
    assert full == dict(pairs)
    assert sum(len(name) + len(text) for name, text in full.items()) == limits.ANSWER_HEADERS_MAX


def test_what_is_joined_takes_the_room_of_what_is_new_in_it():
    value = "y" * (limits.ANSWER_HEADERS_MAX // 8 - 4)
    pairs = [(f"x-{index:02}", value) for index in range(7)]
    room = limits.ANSWER_HEADERS_MAX - 7 * (len(value) + 4)
    vary = [("vary", "v" * (room - 4 - 5)), ("vary", "abc"), ("vary", "d")]
    assert headers.to_peer([*pairs, *vary])["vary"].endswith(", abc")
    assert "d" not in headers.to_peer([*pairs, *vary])["vary"]
