"""place: the socket, the names it goes by, its URLs; what cannot be bound is a sentence."""

from __future__ import annotations

import socket
from contextlib import closing

import place
import pytest
from faults import SiteFault

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_on_loopback_nobody_else_has_a_name_for_us(host: str) -> None:
    taken = place.take(host, 0)
    with closing(taken.listener):
        address, port = taken.listener.getsockname()
        assert address == ("127.0.0.1" if host == "localhost" else host)
        assert taken.names == LOOPBACK | {host}
        assert taken.urls == (f"https://{host}:{port}/",)
        assert taken.listener.getblocking() is False


class Bound:
    """A socket that says where it is bound; nothing but loopback is bound in tests."""

    def __init__(self, address: str) -> None:
        self._address = address

    def getsockname(self) -> tuple[str, int]:
        return self._address, 8443


@pytest.mark.parametrize(
    ("host", "address", "names", "urls"),
    [
        (
            "0.0.0.0",
            "0.0.0.0",
            {"192.0.2.7", "box", "box.local"},
            ["127.0.0.1", "192.0.2.7", "box", "box.local"],
        ),
        ("::", "::", {"192.0.2.7", "box", "box.local"}, ["127.0.0.1", "192.0.2.7", "box", "box.local"]),
        ("192.0.2.7", "192.0.2.7", {"192.0.2.7", "box", "box.local"}, ["192.0.2.7"]),
        ("GPU.lan", "192.0.2.7", {"gpu.lan", "192.0.2.7", "box", "box.local"}, ["GPU.lan"]),
        ("2001:DB8::7", "2001:db8::7", {"2001:db8::7", "192.0.2.7", "box", "box.local"}, ["[2001:DB8::7]"]),
        ("fe80::1%eth0", "fe80::1%eth0", {"192.0.2.7", "box", "box.local"}, ["[fe80::1%eth0]"]),
        ("::1", "::1", set(), ["[::1]"]),
    ],
)
def test_names_and_urls_of_a_network(
    monkeypatch: pytest.MonkeyPatch, host: str, address: str, names: set[str], urls: list[str]
) -> None:
    monkeypatch.setattr(place, "_bind", lambda *_: Bound(address))
    monkeypatch.setattr(place, "_lan_names", lambda: ["192.0.2.7", "box", "box.local"])
    taken = place.take(host, 8443)
    assert taken.names == LOOPBACK | names
    assert list(taken.urls) == [f"https://{url}:8443/" for url in urls]


@pytest.mark.parametrize(
    ("hostname", "found"),
    [
        ("Box", ["box", "box.local"]),
        ("box.example.org", ["box", "box.local"]),
        ("localhost", []),
        ("localhost.localdomain", []),
        ("", []),
        ("a_b", []),
        ("-a", []),
        ("bad name", []),
        ("a-", []),
        ("x" * 63, ["x" * 63, "x" * 63 + ".local"]),
        ("x" * 64, []),
    ],
)
def test_this_machines_names(monkeypatch: pytest.MonkeyPatch, hostname: str, found: list[str]) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: hostname)
    names = place._lan_names()
    assert [name for name in names if not name[:1].isdigit()] == found


def test_without_a_way_out_there_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(socket.socket):
        def connect(self, address: object) -> None:
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(place.socket, "socket", Cut)
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    assert place._lan_names() == ["box", "box.local"]


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("127.0.0.1", 8443, "https://127.0.0.1:8443/"),
        ("gpu.example.org", 443, "https://gpu.example.org/"),
        ("::1", 8443, "https://[::1]:8443/"),
        ("::1", 443, "https://[::1]/"),
        ("::ffff:192.0.2.7", 8443, "https://192.0.2.7:8443/"),
    ],
)
def test_urls(host: str, port: int, url: str) -> None:
    assert place.url(host, port) == url


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SiteFault) as fault:
            place.take("127.0.0.1", port)
    assert fault.value.detail == (
        f"port {port} is in use on 127.0.0.1; end what uses it, or choose another with --port"
    )
    assert fault.value.code == 1


def test_a_port_that_needs_more_rights_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(listener: socket.socket, _: object) -> None:
        listener.close()
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(place, "_listening", refused)
    with pytest.raises(
        SiteFault, match=r"^port 443 of 127\.0\.0\.1 cannot be used: Permission denied$"
    ) as fault:
        place.take("127.0.0.1", 443)
    assert fault.value.code == 1


def test_a_port_that_was_just_left_is_free_at_once() -> None:
    first = place.take("127.0.0.1", 0)
    port = first.listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        first.listener.setblocking(True)
        taken = first.listener.accept()[0]
        taken.close()  # this side closes first, and keeps the port in TIME_WAIT
        first.listener.close()
        place.take("127.0.0.1", port).listener.close()


def test_a_name_nobody_knows_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(SiteFault, match=r"--host 'gpu\.lan' is no address or name of this machine") as fault:
        place.take("gpu.lan", 0)
    assert fault.value.code == 2


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "::g", "a" * 300, "\ud800", ""])
def test_a_host_that_is_not_here_is_a_sentence(host: str) -> None:
    with pytest.raises(SiteFault, match="--host") as fault:
        place.take(host, 0)
    assert fault.value.code == 2
