"""Requests that two servers in a row might read differently: what is sent, and what the front makes of it.

`EVIL` stands where one of the two would see a second request. Where every reader has to see one, because the
first has ended there, the client might as well have sent it later: such rows let it through and say so.
"""

from __future__ import annotations

from dataclasses import dataclass

HOST = b"Host: localhost\r\n"
ASK = b'{"model":"a","prompt":"x"}'
EVIL = b"POST /api/evil HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
CL = b"Content-Length: %d\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
SHOW, ASKED, SECOND = "/api/show", "/api/generate", "/api/evil"


@dataclass(frozen=True)
class Attack:
    """`said` are the statuses that the client gets before its connection ends; `through` is what the backend
    is asked for."""

    name: str
    sent: bytes
    said: tuple[int, ...] = (400,)
    through: tuple[str, ...] = ()


def show(
    headers: bytes, behind: bytes = b"", path: bytes = b"/api/show", version: bytes = b"HTTP/1.1"
) -> bytes:
    return b"POST %s %s\r\n%s%s\r\n%s" % (path, version, HOST, headers, behind)


def ask(headers: bytes, behind: bytes) -> bytes:
    return show(headers, behind, b"/api/generate")


def get(target: bytes, headers: bytes = HOST, behind: bytes = EVIL, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET %s %s\r\n%s\r\n%s" % (target, version, headers, behind)


def chunks(*parts: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + last


def coded(line: bytes) -> bytes:
    """A body in chunks under some spelling of its coding, with another request behind it."""
    return show(line + b"\r\n", chunks(b"{}") + EVIL)


LENGTHS = [
    Attack("CL.TE", show(CL % 6 + TE, chunks() + EVIL)),
    Attack("TE.CL", show(TE + CL % 6, chunks() + EVIL)),
    Attack("CL.TE for a model", ask(CL % 4 + TE, chunks(ASK) + EVIL)),
    Attack("CL over all.TE", show(CL % (5 + len(EVIL)) + TE, chunks() + EVIL)),
    Attack("TE.CL of 0", show(TE + CL % 0, chunks() + EVIL)),
    Attack("two lengths that differ", show(CL % 2 + CL % (2 + len(EVIL)), b"{}" + EVIL)),
    Attack("two lengths that agree", show(CL % 2 + CL % 2, b"{}" + EVIL)),
    Attack("a list of lengths", show(b"Content-Length: 2, 2\r\n", b"{}" + EVIL)),
    Attack("a length with a sign", show(b"Content-Length: +2\r\n", b"{}" + EVIL)),
    Attack("a negative length", show(b"Content-Length: -2\r\n", b"{}" + EVIL)),
    Attack("a length in hex", show(b"Content-Length: 0x2\r\n", b"{}" + EVIL)),
    Attack("a length with an underscore", show(b"Content-Length: 1_0\r\n", b"{}" + EVIL)),
    Attack("a length beyond 64 bits", show(b"Content-Length: 18446744073709551618\r\n", b"{}" + EVIL)),
    Attack("an empty length", show(b"Content-Length: \r\n", b"{}" + EVIL)),
    Attack("a folded length", show(b"Content-Length:\r\n 2\r\n", b"{}" + EVIL)),
    Attack("a blank before the length's colon", show(b"Content-Length : 2\r\n", b"{}" + EVIL)),
    Attack("a length in other digits", show("Content-Length: \u0662\r\n".encode(), b"{}" + EVIL)),
    Attack("no length", show(b"", EVIL), (200, 200), (SHOW, SECOND)),
    Attack("length 0", show(CL % 0, EVIL), (200, 200), (SHOW, SECOND)),
    Attack("a length too short", show(CL % 1, b"{}" + EVIL), (200, 400), (SHOW,)),
    Attack("a body that looks like a request", show(CL % len(EVIL), EVIL), (200,), (SHOW,)),
    Attack(
        "GET with a body that looks like one",
        get(b"/api/tags", HOST + CL % len(EVIL)),
        (200,),
        ("/api/tags",),
    ),
]
CODINGS = [
    Attack("chunked, then another", coded(TE[:-2]), (200, 200), (SHOW, SECOND)),
    Attack("a tab before chunked", coded(b"Transfer-Encoding:\tchunked"), (200, 200), (SHOW, SECOND)),
    Attack("CHUNKED", coded(b"TRANSFER-ENCODING: CHUNKED"), (200, 200), (SHOW, SECOND)),
    Attack("xchunked", coded(b"Transfer-Encoding: xchunked")),
    Attack("chunked twice", coded(TE + TE[:-2])),
    Attack("gzip, chunked", coded(b"Transfer-Encoding: gzip, chunked")),
    Attack("chunked, identity", coded(b"Transfer-Encoding: chunked, identity")),
    Attack("identity", coded(b"Transfer-Encoding: identity")),
    Attack("identity, then chunked", coded(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked")),
    Attack(", chunked", coded(b"Transfer-Encoding: , chunked")),
    Attack("chunked;q=1", coded(b"Transfer-Encoding: chunked;q=1")),
    Attack('"chunked"', coded(b'Transfer-Encoding: "chunked"')),
    Attack("a vertical tab before chunked", coded(b"Transfer-Encoding: \x0bchunked")),
    Attack("a folded chunked", coded(b"Transfer-Encoding:\r\n chunked")),
    Attack("a blank before the colon", coded(b"Transfer-Encoding : chunked")),
    Attack("a blank before the name", coded(b" Transfer-Encoding: chunked")),
    Attack("folded into another header", coded(b"X: y\r\n Transfer-Encoding: chunked")),
    Attack("a bare LF before it", coded(b"X: y\nTransfer-Encoding: chunked")),
    Attack("a bare CR before it", coded(b"X: y\rTransfer-Encoding: chunked")),
    Attack("NUL in its name", coded(b"Transfer\0-Encoding: chunked")),
    Attack("NUL behind chunked", coded(b"Transfer-Encoding: chunked\0")),
    Attack("with an underscore", coded(b"Transfer_Encoding: chunked"), (200, 400), (SHOW,)),
    Attack("in HTTP/1.0", show(TE, chunks(b"{}") + EVIL, version=b"HTTP/1.0")),
]
CHUNKS = [
    Attack("an extension", show(TE, b"2;a=b\r\n{}\r\n0;c\r\n\r\n"), (200,), (SHOW,)),
    Attack("an extension that ends with LF", show(TE, b"2;a\n{}\r\n0\r\n\r\n" + EVIL)),
    Attack("chunks that end with LF", show(TE, b"2\n{}\n0\n\n" + EVIL)),
    Attack("a size in 0x", show(TE, b"0x2\r\n{}\r\n0\r\n\r\n" + EVIL)),
    Attack("a negative size", show(TE, b"-2\r\n{}\r\n0\r\n\r\n" + EVIL)),
    Attack("a blank behind the size", show(TE, b"2 \r\n{}\r\n0\r\n\r\n" + EVIL)),
    Attack("a blank before the size", show(TE, b" 2\r\n{}\r\n0\r\n\r\n" + EVIL)),
    Attack("a size beyond 64 bits", show(TE, b"10000000000000002\r\n{}\r\n0\r\n\r\n" + EVIL)),
    Attack("no size", show(TE, b"\r\n{}\r\n0\r\n\r\n" + EVIL)),
    Attack("more than the size", show(TE, b"2\r\n{}{}\r\n0\r\n\r\n" + EVIL)),
    Attack("no line end behind a chunk", show(TE, b"2\r\n{}0\r\n\r\n" + EVIL)),
    Attack("zeros as the last size", show(TE, b"2\r\n{}\r\n0000\r\n\r\n" + EVIL), (200, 200), (SHOW, SECOND)),
    Attack("a request for the last line", show(TE, chunks(b"{}", last=b"0\r\n" + EVIL))),
    Attack("Host as a trailer", show(TE, chunks(b"{}", last=b"0\r\nHost: evil\r\n\r\n")), (200,), (SHOW,)),
    Attack("a length as a trailer", show(TE, chunks(b"{}", last=b"0\r\nContent-Length: 9\r\n\r\n" + EVIL))),
    Attack("a model's body cut short", ask(TE, b"2\r\n{}\r\n7\r\nabc"), (408,)),
]
HEADS = [
    Attack("bare LFs", b"GET /api/tags HTTP/1.1\nHost: localhost\n\n" + EVIL),
    Attack("a folded header", get(b"/api/tags", HOST + b"X: a\r\n b\r\n")),
    Attack("NUL in a value", get(b"/api/tags", HOST + b"X: a\0b\r\n")),
    Attack("no colon", get(b"/api/tags", HOST + b"X\r\n")),
    Attack("no name", get(b"/api/tags", HOST + b": x\r\n")),
    Attack("a blank in a name", get(b"/api/tags", HOST + b"X Y: x\r\n")),
    Attack("a colon before the name", get(b"/api/tags", HOST + b":X: x\r\n")),
    Attack("two hosts", get(b"/api/tags", HOST + b"Host: evil\r\n")),
    Attack("two hosts that agree", get(b"/api/tags", HOST + HOST)),
    Attack("no host", get(b"/api/tags", b"")),
    Attack(
        "a host with a path", get(b"/api/tags", b"Host: evil.example/@localhost\r\n"), (403, 200), (SECOND,)
    ),
    Attack("another host in the line", get(b"http://evil.example/api/tags"), (403, 200), (SECOND,)),
    Attack(
        "this host in the line",
        get(b"http://localhost/api/tags", b"Host: evil\r\n"),
        (200, 200),
        ("/api/tags", SECOND),
    ),
    Attack("a user in the line", get(b"http://evil@localhost/api/tags")),
    Attack("a blank in the target", get(b"/api/tags HTTP/1.1 x")),
    Attack("a tab in the target", get(b"/api/\ttags")),
    Attack("a line end in the target", get(b"/api/tags\r\nX:")),
    Attack(
        "an encoded line end in the target",
        get(b"/api/tags%0d%0aX:%20y"),
        (200, 200),
        ("/api/tags%0d%0aX:%20y", SECOND),
    ),
    Attack("a fragment", get(b"/api/tags#x")),
    Attack("no slash", get(b"api/tags")),
    Attack("UTF-8 in the target", get("/api/ä".encode())),
    Attack("OPTIONS of all", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL, (404,)),
    Attack("a method in small letters", b"get /api/tags HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL),
    Attack("CONNECT", b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL),
    Attack("HTTP/0.9", b"GET /api/tags\r\n\r\n" + EVIL),
    Attack("HTTP/1.2", get(b"/api/tags", version=b"HTTP/1.2")),
    Attack("HTTP/2.0", get(b"/api/tags", version=b"HTTP/2.0")),
    Attack("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EVIL),
    Attack("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + EVIL),
    Attack("line ends before it", b"\r\n\r\n" + get(b"/api/tags", behind=b""), (200,), ("/api/tags",)),
]
LIVES = [
    Attack("one behind another", get(b"/api/tags"), (200, 200), ("/api/tags", SECOND)),
    Attack("one behind the last", get(b"/api/tags", HOST + b"Connection: close\r\n"), (200,), ("/api/tags",)),
    Attack("one behind an HTTP/1.0", get(b"/api/tags", version=b"HTTP/1.0"), (200,), ("/api/tags",)),
    Attack("one behind a model's", ask(CL % len(ASK), ASK + EVIL), (200, 200), (ASKED, SECOND)),
    Attack(
        "garbage behind a model's", ask(CL % len(ASK), ASK + b"\0\0\r\n\r\n" + EVIL), (200, 400), (ASKED,)
    ),
    Attack(
        "h2c",
        get(b"/api/tags", HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"),
        (200, 200),
        ("/api/tags", SECOND),
    ),
    Attack(
        "h2c with a body",
        show(b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + CL % len(EVIL), EVIL),
        (200,),
        (SHOW,),
    ),
    Attack(
        "h2c with chunks",
        ask(b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + TE, chunks(ASK) + EVIL),
        (200, 200),
        (ASKED, SECOND),
    ),
    Attack(
        "a web socket",
        get(
            b"/api/tags",
            HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        ),
        (200, 200),
        ("/api/tags", SECOND),
    ),
    Attack(
        "100 and a body",
        show(b"Expect: 100-continue\r\n" + CL % 2, b"{}" + EVIL),
        (100, 200, 200),
        (SHOW, SECOND),
    ),
    Attack("100 and no body", show(b"Expect: 100-continue\r\n" + CL % 2), (100, 408), (SHOW,)),
    Attack("100 for a body too large", show(b"Expect: 100-continue\r\n" + CL % 2**40, EVIL), (413,), ()),
    Attack(
        "100 for a stranger", show(b"Expect: 100-continue\r\nOrigin: http://evil\r\n" + CL % 2), (403,), ()
    ),
    Attack(
        "headers named as the connection's",
        ask(CL % len(ASK) + b"Connection: Content-Length, Host, Transfer-Encoding\r\n", ASK + EVIL),
        (200, 200),
        (ASKED, SECOND),
    ),
    Attack("a stranger's body", show(b"Origin: http://evil\r\n" + CL % len(EVIL), EVIL), (403,), ()),
    Attack("a body for nobody", show(CL % len(EVIL), EVIL, b"/nowhere"), (404,), ()),
]
ATTACKS = {"lengths": LENGTHS, "codings": CODINGS, "chunks": CHUNKS, "heads": HEADS, "lives": LIVES}
