"""The relay's command line where it must not start: each key broken alone, and what a terminal lacks."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from relay import cli
from relay.settings import KEYS

SEED = "ab" * 32
BROKEN = [
    ("NKN_SEED_HEX", "\udcff"),
    ("NKN_SEED_HEX", "ab" * 31),
    ("NKN_SEED_HEX", "ab" * 31 + "a"),
    ("NKN_SEED_HEX", "ab" * 33),
    ("NKN_SEED_HEX", "0x" + "ab" * 31),
    ("NKN_SEED_HEX", "g" * 64),
    ("NKN_SEED_HEX", "１" * 64),
    ("NKN_NUM_SUBCLIENTS", "-1"),
    ("NKN_NUM_SUBCLIENTS", "9" * 100_000),
    ("NKN_IDENTIFIER", "__0__.relay"),
    ("NKN_IDENTIFIER", "a\x1b[2Jb"),
    ("NKN_RPC_ADDR", "ws://127.0.0.1:1"),
    ("NKN_BRIDGE_SEED_WS", "http://127.0.0.1:1"),
    ("RELAY_WORKERS", "0"),
    ("RELAY_WORKERS", "٣"),
    ("RELAY_WORKERS", "1e3"),
    ("RELAY_MAX_BODY_B", "2900001"),
    ("RELAY_VERIFY_DEFAULT", "maybe"),
    ("RELAY_ALLOW_UNVERIFIED", "-"),
    ("RELAY_TARGETS", "[" * 100_000),
    ("RELAY_TARGETS", '{"a":NaN}'),
    ("RELAY_TARGETS", '{"a":"http://h","a":5}'),
    ("RELAY_TARGETS", '{"a":"http://\udcff"}'),
    ("RELAY_TARGETS", '{"a":"unix:///var/run/x"}'),
    ("RELAY_ALLOW_PEERS", "alice"),
    ("RELAY_ALLOW_ADMIN", "nobody"),
    ("RELAY_POLICY", "a\x07b"),
    ("RELAY_PEER_STREAMS", "many"),
    ("RELAY_QUEUE", "1.5"),
    ("RELAY_KEEPALIVE_S", "nan"),
    ("RELAY_METRICS_PORT", "65536"),
]


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `.env` that is in order, and an environment that says nothing."""
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setattr(cli, "_serve", None)  # what is not refused must not reach for the network
    path = tmp_path / "relay.env"
    path.write_text(f"NKN_SEED_HEX={SEED}\n")
    path.chmod(0o600)
    return path


def test_every_key_is_broken_here():
    assert {key for key, _ in BROKEN} == set(KEYS)


@pytest.mark.parametrize(
    ("key", "text"), [pytest.param(key, text, id=f"{key}={text[:20]!a}") for key, text in BROKEN]
)
def test_a_broken_value_is_one_line_that_names_its_key_and_exit_code_2(env, monkeypatch, capsys, key, text):
    if len(text) < 1_000:
        monkeypatch.setenv(key, text)
    else:
        env.write_text(f"NKN_SEED_HEX={SEED}\n{key}={text}\n")
    assert cli.main(["--env-file", str(env)]) == 2
    out, err = capsys.readouterr()
    [line] = err.splitlines()
    assert out == ""
    assert line.startswith(f"{key}: ")
    assert len(line) < 250
    assert "\x1b" not in line
    assert SEED not in line


def test_a_terminal_without_the_letters_is_told_in_others(env, monkeypatch):
    env.write_text(f"NKN_SEED_HEX={SEED}\nNKN_IDENTIFIER=é…\x07\n")
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr(sys, "stdout", out := io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert cli.main(["--env-file", str(env)]) == 2
    sys.stderr.flush()
    assert raw.getvalue().startswith(b"NKN_IDENTIFIER: ")
    out.write("→ NKN ready")
    out.flush()


def test_a_dead_link_for_env_is_one_line_and_exit_code_2(tmp_path, capsys):
    link = tmp_path / "env"
    link.symlink_to(tmp_path / "nowhere")
    assert cli.main(["--env-file", str(link)]) == 2
    assert capsys.readouterr().err == f"{link}: cannot be read: No such file or directory\n"
