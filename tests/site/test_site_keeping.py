"""keeping: made once, kept over restarts, made anew only with a reason, readable by its user alone."""

from __future__ import annotations

import datetime as dt
import os
import ssl
import stat
import sys
import threading
from pathlib import Path

import certificate
import certificates
import keeping
import pytest
from certificates import new_key, put, secret, sign
from faults import SiteFault

NOW = dt.datetime.now(dt.UTC)
NAMES = ("localhost", "127.0.0.1", "::1")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0, 0o002, 0o022, 0o027, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_modes_under_every_umask(umask: int, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    kept = keeping.own(folder, NAMES, NOW)
    assert mode(folder) == 0o700
    assert mode(folder / "site.pem") == 0o600
    assert mode(folder / "site.crt") == 0o644
    assert sorted(path.name for path in folder.iterdir()) == ["site.crt", "site.pem"]
    assert (kept.own, kept.note) == (True, "")
    assert b"PRIVATE" not in (folder / "site.crt").read_bytes()


def test_folders_are_made_on_the_way(tmp_path: Path) -> None:
    keeping.own(tmp_path / "a" / "b", NAMES, NOW)
    assert mode(tmp_path / "a" / "b") == 0o700


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    keeping.own(tmp_path, NAMES, NOW)
    assert mode(tmp_path) == 0o755
    assert mode(tmp_path / "site.pem") == 0o600


def test_a_second_start_keeps_it_to_the_byte(tmp_path: Path) -> None:
    first = keeping.own(tmp_path, NAMES, NOW)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    for names in (NAMES, NAMES[:1], ("LOCALHOST", "0:0:0:0:0:0:0:1")):
        again = keeping.own(tmp_path, names, NOW + dt.timedelta(days=300))
        assert again.pair == first.pair
        assert again.note == ""
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()} == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def swap(path: Path) -> None:
    path.write_bytes(secret(new_key()) + sign(new_key(), names=NAMES[:1]))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.write_bytes(b""), "holds no certificate in PEM form"),
        (lambda path: path.write_bytes(b"\xff" * 100), "holds no certificate in PEM form"),
        (cut, "holds no certificate in PEM form"),
        (
            lambda path: path.write_bytes(path.with_suffix(".crt").read_bytes()),
            "has no private key in PEM form",
        ),
        (swap, "is for another key"),
        (lambda path: path.chmod(0o640), "could be read by others"),
        (lambda path: path.chmod(0o604), "could be read by others"),
    ],
)
def test_what_will_not_do_is_made_anew_with_a_reason(tmp_path: Path, spoil, why: str) -> None:
    first = keeping.own(tmp_path, NAMES, NOW)
    spoil(tmp_path / "site.pem")
    again = keeping.own(tmp_path, NAMES, NOW)
    assert again.note == f"made a new certificate: the one before {why}"
    assert again.pair.fingerprint != first.pair.fingerprint
    assert mode(tmp_path / "site.pem") == 0o600
    assert (tmp_path / "site.crt").read_bytes() == again.pair.public
    assert keeping.own(tmp_path, NAMES, NOW).note == ""


@pytest.mark.parametrize(
    ("days", "renewed"), [(0, False), (811, False), (813, True), (1000, True), (-2, True)]
)
def test_it_is_renewed_shortly_before_its_end(tmp_path: Path, days: int, renewed: bool) -> None:
    keeping.own(tmp_path, NAMES, NOW)
    again = keeping.own(tmp_path, NAMES, NOW + dt.timedelta(days=days))
    assert again.note.startswith("made a new certificate: the one before was good until 20") is renewed
    assert again.pair.ends > NOW + dt.timedelta(days=days)


def test_it_is_renewed_when_it_lacks_what_is_bound(tmp_path: Path) -> None:
    keeping.own(tmp_path, NAMES, NOW)
    again = keeping.own(tmp_path, (*NAMES, "192.0.2.7", "gpu.local"), NOW)
    assert again.note == "made a new certificate: the one before was not for 192.0.2.7, gpu.local"
    assert again.pair.names == {*NAMES, "192.0.2.7", "gpu.local"}
    # Back on this machine alone the larger one still does.
    assert keeping.own(tmp_path, NAMES, NOW).pair == again.pair


@pytest.mark.skipif(sys.platform == "win32", reason="files have no owner of that kind on Windows")
def test_one_that_another_user_put_there_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = keeping.own(tmp_path, NAMES, NOW)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    again = keeping.own(tmp_path, NAMES, NOW)
    assert again.note.endswith("belonged to another user")
    assert again.pair != first.pair


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such mode on Windows")
def test_a_folder_everybody_writes_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(SiteFault, match=r"every user can write to .*--cert-dir") as fault:
        keeping.own(tmp_path / "open", NAMES, NOW)
    assert fault.value.code == 2
    assert list((tmp_path / "open").iterdir()) == []


def test_a_link_in_its_place_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"mine")
    (tmp_path / "site.pem").symlink_to(tmp_path / "target")
    (tmp_path / "site.crt").symlink_to(tmp_path / "target")
    keeping.own(tmp_path, NAMES, NOW)
    assert (tmp_path / "target").read_bytes() == b"mine"
    assert not (tmp_path / "site.pem").is_symlink()
    assert not (tmp_path / "site.crt").is_symlink()


@pytest.mark.parametrize("what", ["file", "file above", "folder for the key"])
def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "x"
    if what == "folder for the key":
        (folder / "site.pem").mkdir(parents=True, mode=0o700)
    else:
        (tmp_path / "x").write_bytes(b"")
        folder = folder / "y" if what == "file above" else folder
    with pytest.raises(SiteFault, match=r"no certificate can be kept in .*--cert-dir") as fault:
        keeping.own(folder, NAMES, NOW)
    assert fault.value.code == 2


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SiteFault, match="No space left on device"):
        keeping.own(tmp_path, NAMES, NOW)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_back_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate, "make", lambda *_: b"garbage")
    with pytest.raises(
        SiteFault, match=r"site\.pem holds no certificate .* is something else writing to it\?"
    ):
        keeping.own(tmp_path, NAMES, NOW)


def test_a_folder_that_became_read_only_still_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = keeping.own(tmp_path, NAMES, NOW)
    (tmp_path / "site.crt").unlink()

    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(keeping.tempfile, "mkstemp", refused)
    assert keeping.own(tmp_path, NAMES, NOW).pair == first.pair


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", without)
    first = keeping.own(tmp_path, NAMES, NOW)
    assert keeping.own(tmp_path, NAMES, NOW).pair == first.pair
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site.crt", "site.pem"]


def test_servers_that_start_at_once_serve_one_and_the_same(tmp_path: Path) -> None:
    found: list[str] = []
    together = threading.Barrier(6)

    def start() -> None:
        together.wait()
        found.append(keeping.own(tmp_path / "kept", NAMES, NOW).pair.fingerprint)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    data = (tmp_path / "kept" / "site.pem").read_bytes()
    assert set(found) == {certificate.read(data, data).fingerprint}
    assert not list((tmp_path / "kept").glob(".*"))


@pytest.mark.parametrize(
    ("environ", "platform", "path"),
    [
        ({}, "linux", "{home}/.local/share/gpu-over-nkn"),
        ({"XDG_DATA_HOME": "/data"}, "linux", "/data/gpu-over-nkn"),
        ({"XDG_DATA_HOME": "data"}, "linux", "{home}/.local/share/gpu-over-nkn"),
        ({"XDG_DATA_HOME": ""}, "linux", "{home}/.local/share/gpu-over-nkn"),
        ({}, "darwin", "{home}/Library/Application Support/gpu-over-nkn"),
        ({"LOCALAPPDATA": "/local"}, "win32", "/local/gpu-over-nkn"),
    ],
)
def test_the_folder_of_the_user(environ: dict[str, str], platform: str, path: str) -> None:
    assert keeping.default_folder(environ, platform) == Path(path.format(home=Path.home()))


def test_a_user_without_home_is_told_of_the_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(SiteFault, match="--cert-dir") as fault:
        keeping.default_folder({})
    assert fault.value.code == 2


# -- the owner's ------------------------------------------------------------------------


def test_a_pair_of_the_owners_is_used_as_it_is(tmp_path: Path) -> None:
    made = certificates.pair(tmp_path)
    kept = keeping.owners(made.cert, made.key, NOW)
    assert (kept.own, kept.note, kept.public) == (False, "", made.cert)
    assert kept.pair.names == {"gpu.example.org"}


def test_one_file_may_hold_both(tmp_path: Path) -> None:
    key = new_key()
    path = tmp_path / "both.pem"
    path.write_bytes(secret(key) + sign(key))
    path.chmod(0o600)
    assert keeping.owners(path, path, NOW).pair.names == {"gpu.example.org"}


def test_a_key_everybody_can_read_is_used_with_a_word(tmp_path: Path) -> None:
    made = certificates.pair(tmp_path)
    made.key.chmod(0o644)
    assert "chmod 600" in keeping.owners(made.cert, made.key, NOW).note


@pytest.mark.parametrize(
    ("begins", "ends", "words"),
    [(-30, -0.001, r"--cert \S+ ended on 20"), (1, 30, r"--cert \S+ begins only on 20.*clock")],
)
def test_a_certificate_out_of_its_time_is_refused(
    tmp_path: Path, begins: float, ends: float, words: str
) -> None:
    made = certificates.pair(tmp_path, begins=begins, ends=ends)
    with pytest.raises(SiteFault, match=words) as fault:
        keeping.owners(made.cert, made.key, NOW)
    assert fault.value.code == 2


def no_key() -> tuple[bytes, bytes]:
    return sign(new_key()), b"no key"


def locked() -> tuple[bytes, bytes]:
    key = new_key()
    return sign(key), secret(key, b"word")


def mismatched() -> tuple[bytes, bytes]:
    return sign(new_key()), secret(new_key())


def weak() -> tuple[bytes, bytes]:
    key = new_key("rsa1024")
    return sign(key), secret(key)


def wrong_chain() -> tuple[bytes, bytes]:
    key = new_key()
    return sign(key) + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", secret(key)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (no_key, "has no private key in PEM form"),
        (locked, "has a key with a passphrase"),
        (mismatched, "is for another key"),
        (weak, "cannot be used for TLS: .*KEY_TOO_SMALL"),
        (wrong_chain, "cannot be used for TLS"),
        (lambda: (b"garbage", b"garbage"), "holds no certificate in PEM form"),
        (lambda: (b"x" * 2_000_000, b""), "is too large for a PEM file"),
    ],
)
def test_a_pair_that_cannot_be_used_is_a_sentence(tmp_path: Path, made, words: str) -> None:
    paths = put(tmp_path, *made())
    with pytest.raises(SiteFault, match=f"--cert {paths.cert} .*{words}") as fault:
        keeping.owners(paths.cert, paths.key, NOW)
    assert fault.value.code == 2


@pytest.mark.parametrize("flag", ["cert", "key"])
@pytest.mark.parametrize("what", ["missing", "folder", "circle", "forbidden"])
def test_a_file_that_cannot_be_read_names_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str, what: str
) -> None:
    made = certificates.pair(tmp_path)
    path = getattr(made, flag)
    if what != "forbidden":
        path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "circle":
        path.symlink_to(path.name)
    elif what == "forbidden":  # root may read everything
        read = Path.read_bytes

        def forbid(self: Path) -> bytes:
            if self == path:
                raise PermissionError(13, "Permission denied")
            return read(self)

        monkeypatch.setattr(Path, "read_bytes", forbid)
    with pytest.raises(SiteFault, match=f"--{flag} {path} cannot be read: [A-Z]") as fault:
        keeping.owners(made.cert, made.key, NOW)
    assert fault.value.code == 2


@pytest.mark.parametrize("kind", ["ec", "rsa2048", "ed25519"])
def test_the_context_is_strict_for_every_kind_of_key(tmp_path: Path, kind: str) -> None:
    key = new_key(kind)
    made = put(tmp_path, sign(key), secret(key))
    context = keeping.owners(made.cert, made.key, NOW).context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
    for cipher in context.get_ciphers():
        assert cipher["aead"], cipher["name"]
        assert cipher["name"].startswith(("TLS_", "ECDHE-")), cipher["name"]
