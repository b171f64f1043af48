"""`.env` and the environment: every key good, empty and broken; every mistake one line that names its key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay import settings
from relay.nkn import DEFAULT_SEEDS
from relay.settings import KEYS, Settings
from wire import limits
from wire.errors import SettingsFault
from wire.origin import Origin

SEED = "5eed" * 16
KEY_A, KEY_B = "aa" * 32, "bb" * 32
DEFAULTS: dict[str, Any] = {
    "nkn_seed_hex": bytes.fromhex(SEED),
    "nkn_num_subclients": 2,
    "nkn_identifier": "relay",
    "nkn_rpc_addr": DEFAULT_SEEDS,
    "nkn_bridge_seed_ws": (),
    "relay_workers": 4,
    "relay_max_body_b": 2_097_152,
    "relay_verify_default": True,
    "relay_allow_unverified": True,
    "relay_targets": {"ollama": Origin("http", "127.0.0.1", 8080)},
    "relay_allow_peers": frozenset(),
    "relay_allow_admin": frozenset(),
    "relay_policy": "",
    "relay_peer_streams": 3,
    "relay_queue": limits.QUEUE,
    "relay_keepalive_s": 10.0,
    "relay_metrics_port": 0,
}

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Settings of a `.env` that holds a seed and the keys given."""

    def read(environ: dict[str, str] | None = None, **values: str) -> Settings:
        lines = [f"{key}={value}" for key, value in ({"NKN_SEED_HEX": SEED} | values).items()]
        (tmp_path / ".env").write_text("\n".join(lines), encoding="utf-8")
        return settings.load(tmp_path / ".env", environ or {})

    return read


def faults(load: Load, **values: str) -> list[SettingsFault]:
    with pytest.raises(ExceptionGroup) as caught:
        load(**values)
    found = list(caught.value.exceptions)
    assert all(type(fault) is SettingsFault for fault in found)
    for fault in found:
        text = str(fault)
        assert text.startswith(f"{fault.key}: ")
        assert "\n" not in text
        assert len(text) < 250
    return found


def as_dict(found: Settings) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Settings.__slots__}


def test_the_keys_are_those_of_the_contract():
    assert set(KEYS) == {name.upper() for name in DEFAULTS}


def test_a_seed_is_enough(load):
    assert as_dict(load()) == DEFAULTS


@pytest.mark.parametrize("key", [key for key in KEYS if key != "NKN_SEED_HEX"])
@pytest.mark.parametrize("empty", ["", "   ", '""'])
def test_an_empty_value_means_the_default(load, key, empty):
    assert as_dict(load(**{key: empty})) == DEFAULTS


GOOD: list[tuple[str, str, Any]] = [
    ("NKN_SEED_HEX", SEED.upper(), bytes.fromhex(SEED)),
    ("NKN_SEED_HEX", f'"{SEED}"', bytes.fromhex(SEED)),
    ("NKN_NUM_SUBCLIENTS", "0", 0),
    ("NKN_NUM_SUBCLIENTS", "16", 16),
    ("NKN_IDENTIFIER", "my.gpu é", "my.gpu é"),
    ("NKN_RPC_ADDR", "http://a:30003, https://b/x ,", ("http://a:30003", "https://b/x")),
    ("NKN_BRIDGE_SEED_WS", "ws://a:30002,wss://[::1]:30004", ("ws://a:30002", "wss://[::1]:30004")),
    ("RELAY_WORKERS", "1", 1),
    ("RELAY_WORKERS", str(limits.WORKERS_MAX), limits.WORKERS_MAX),
    ("RELAY_MAX_BODY_B", str(limits.MAX_BODY_LIMIT_B), limits.MAX_BODY_LIMIT_B),
    ("RELAY_VERIFY_DEFAULT", "0", False),
    ("RELAY_VERIFY_DEFAULT", "OFF", False),
    ("RELAY_VERIFY_DEFAULT", "Yes", True),
    ("RELAY_ALLOW_UNVERIFIED", "no", False),
    ("RELAY_ALLOW_UNVERIFIED", "true", True),
    (
        "RELAY_TARGETS",
        '{"ollama":"http://Host:1/x/","b":"https://[::1]"}',
        {"ollama": Origin("http", "host", 1, "/x"), "b": Origin("https", "::1", 443)},
    ),
    (
        "RELAY_ALLOW_PEERS",
        f"{KEY_A.upper()}, some.name.{KEY_B},",
        frozenset({bytes.fromhex(KEY_A), bytes.fromhex(KEY_B)}),
    ),
    ("RELAY_ALLOW_ADMIN", "0", frozenset()),
    ("RELAY_ALLOW_ADMIN", "1", frozenset({"ollama"})),
    ("RELAY_ALLOW_ADMIN", "ollama", frozenset({"ollama"})),
    ("RELAY_POLICY", "/etc/peers.toml", "/etc/peers.toml"),
    ("RELAY_PEER_STREAMS", "7", 7),
    ("RELAY_QUEUE", "1", 1),
    ("RELAY_KEEPALIVE_S", "0.1", 0.1),
    ("RELAY_KEEPALIVE_S", "3600", 3600.0),
    ("RELAY_METRICS_PORT", "9464", 9464),
]


@pytest.mark.parametrize(("key", "text", "value"), GOOD)
def test_good_values(load, key, text, value):
    found = load(**{key: text})
    assert getattr(found, key.lower()) == value
    others = {
        name: default for name, default in DEFAULTS.items() if name not in {key.lower(), "relay_peer_streams"}
    }
    assert {name: getattr(found, name) for name in others} == others


def test_every_key_has_a_good_value_here():
    assert {key for key, _, _ in GOOD} == set(KEYS)


BROKEN = {
    "NKN_SEED_HEX": ["", SEED[:-1], SEED + "0", SEED[:-1] + "g"],
    "NKN_NUM_SUBCLIENTS": ["-1", "17", "two", "1.5", "²", "٣", "9" * 13, "0x1", "1_0"],
    "NKN_IDENTIFIER": ["__0__", "x" * 65, "a\u200bb", '"a\\tb"'],
    "NKN_RPC_ADDR": [
        "mainnet",
        "ws://a",
        "http://",
        "http:///x",
        "http://a b",
        "http://:30003",
        "http://a:x",
        "http://[::1",
    ],
    "NKN_BRIDGE_SEED_WS": [
        "http://a",
        "ws://",
        "wss:a",
        "ws://a:1,b",
        "ws://:8080",
        "ws://a:99999",
        "ws://a:0",
    ],
    "RELAY_WORKERS": ["0", "-1", str(limits.WORKERS_MAX + 1), "many"],
    "RELAY_MAX_BODY_B": ["0", str(limits.MAX_BODY_LIMIT_B + 1), "2MB"],
    "RELAY_VERIFY_DEFAULT": ["2", "maybe", "1 0"],
    "RELAY_ALLOW_UNVERIFIED": ["2", "none"],
    "RELAY_TARGETS": [
        "http://127.0.0.1:8080",
        "{",
        "[]",
        "{}",
        "5",
        '{"a":5}',
        '{"a":null}',
        '{"a":""}',
        '{"a":"127.0.0.1:8080"}',
        '{"a":"ftp://h"}',
        '{"a":"http://"}',
        '{"a":"http://h:99999"}',
        '{"a":"http://h?x"}',
        '{"a":"http://h y"}',
        '{"a":"http://\\udcff"}',
        '{"a":"http://h/\\u0085"}',
        '{"a":"http://[::1"}',
        '{"":"http://h"}',
        '{"a,b":"http://h"}',
        '{"\\ud800":"http://h"}',
        '{"a":NaN}',
        "[" * 20_000,
    ],
    "RELAY_ALLOW_PEERS": ["alice", KEY_A[:-1], f"{KEY_A},x", f".{KEY_A}"],
    "RELAY_ALLOW_ADMIN": ["2", "other", "ollama,other", "Ollama"],
    "RELAY_POLICY": ["a\x07", "\x1b[2J"],
    "RELAY_PEER_STREAMS": ["0", str(limits.WORKERS_MAX + 1), "x"],
    "RELAY_QUEUE": ["0", str(limits.QUEUE_MAX + 1), "x"],
    "RELAY_KEEPALIVE_S": ["0", "0.09", "3601", "nan", "inf", "-1", "ten"],
    "RELAY_METRICS_PORT": ["-1", "65536", "off", "127.0.0.1:9464"],
}


def test_every_key_has_broken_values_here():
    assert set(BROKEN) == set(KEYS)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        pytest.param(key, text, id=f"{key}={text[:30]!a}".replace("/", "|"))
        for key, texts in BROKEN.items()
        for text in texts
    ],
)
def test_a_broken_value_is_one_line_that_names_its_key(load, key, text):
    assert [fault.key for fault in faults(load, **{key: text})] == [key]


def test_all_mistakes_are_told_at_once(load):
    broken = {key: texts[0] for key, texts in BROKEN.items()}
    assert {fault.key for fault in faults(load, **broken)} == set(KEYS)


def test_the_share_of_a_peer_follows_the_workers(load):
    assert [load(RELAY_WORKERS=workers).relay_peer_streams for workers in ("1", "2", "8")] == [1, 1, 7]
    assert load(RELAY_WORKERS="8", RELAY_PEER_STREAMS="2").relay_peer_streams == 2


def test_admin_for_all_means_the_targets_that_are_there(load):
    found = load(RELAY_TARGETS='{"a":"http://a","b":"http://b"}', RELAY_ALLOW_ADMIN="yes")
    assert found.relay_allow_admin == {"a", "b"}


def test_the_environment_wins_over_the_file_and_foreign_keys_are_left_alone(load):
    found = load(
        {"RELAY_WORKERS": "9", "PATH": "/bin", "RELAY_FUTURE": "x"}, RELAY_WORKERS="5", RELAY_QUEUE="6"
    )
    assert (found.relay_workers, found.relay_queue) == (9, 6)


def test_a_mistake_in_the_environment_names_its_key(load):
    with pytest.raises(ExceptionGroup) as caught:
        load({"RELAY_QUEUE": "x"})
    assert [fault.key for fault in caught.value.exceptions] == ["RELAY_QUEUE"]


def test_values_are_taken_as_they_stand(tmp_path):
    path = tmp_path / ".env"
    path.write_text(
        f"# a comment\n\nexport NKN_SEED_HEX={SEED}\nNKN_IDENTIFIER=a${{HOME}}$b # note\nRELAY_QUEUE\n"
    )
    found = settings.load(path, {})
    assert (found.nkn_identifier, found.relay_queue) == ("a${HOME}$b", limits.QUEUE)


def test_a_file_of_a_windows_editor_is_read(tmp_path):
    path = tmp_path / ".env"
    path.write_bytes(b"\xef\xbb\xbfNKN_SEED_HEX=" + SEED.encode() + b"\r\nRELAY_WORKERS=2\r\n")
    assert settings.load(path, {}).relay_workers == 2


@pytest.mark.parametrize("content", [None, b"\xff\xfe", "directory"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / ".env"
    if content == "directory":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ExceptionGroup) as caught:
        settings.load(path, {})
    [fault] = caught.value.exceptions
    assert fault.key == str(path)
    assert "cannot be read" in str(fault)


def test_the_seed_is_in_no_repr(load):
    found = load(RELAY_ALLOW_PEERS=KEY_A)
    for text in (repr(found), str(found), f"{found}"):
        assert SEED not in text
        assert repr(bytes.fromhex(SEED)) not in text


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("NKN_SEED_HEX", "s3cret" + SEED[7:]),
        ("NKN_SEED_HEX", "s3cret"),
        ("RELAY_TARGETS", '{"a":"http://me:s3cret@h"}'),
        ("RELAY_TARGETS", '{"a":"htp://me:s3cret@h"}'),
        ("RELAY_TARGETS", '{"a":"http://s3cret@h:99999"}'),
        ("RELAY_TARGETS", '{"a":"http://me:s3cret@"}'),
        ("RELAY_TARGETS", '{"a":"http://me:s3cret@h?x"}'),
        ("RELAY_TARGETS", '{"a":"//me:s3cret@h"}'),
        ("NKN_RPC_ADDR", "ftp://me:s3cret@h"),
        ("NKN_RPC_ADDR", "http://me:s3cret@h"),
        ("NKN_BRIDGE_SEED_WS", "http://me:s3cret@h"),
    ],
)
def test_secrets_are_in_no_error_text(load, key, text):
    [fault] = faults(load, **{key: text})
    assert fault.key == key
    assert "s3cret" not in f"{fault} {fault!r} {fault.detail}"


def test_a_misspelt_key_is_a_mistake_and_not_a_limit_that_does_not_hold(tmp_path):
    file = tmp_path / "env"
    file.write_text(
        f"NKN_SEED_HEX={'ab' * 32}\nRELAY_ALOW_PEERS={'cd' * 32}\nNKN_NOTHING_LIKE_IT=1\nOTHER=1\n"
    )
    with pytest.raises(ExceptionGroup) as caught:
        settings.load(file, {})
    assert [str(fault) for fault in caught.value.exceptions] == [
        "RELAY_ALOW_PEERS: is no setting; did you mean RELAY_ALLOW_PEERS?",
        "NKN_NOTHING_LIKE_IT: is no setting",
    ]


def test_a_line_that_is_no_setting_is_named_by_its_number(tmp_path):
    file = tmp_path / "env"
    file.write_text(f"NKN_SEED_HEX={'ab' * 32}\n# fine\nRELAY WORKERS 4\n")
    with pytest.raises(ExceptionGroup) as caught:
        settings.load(file, {})
    (fault,) = caught.value.exceptions
    assert str(fault) == f"{file}, line 3: is not KEY=value"
