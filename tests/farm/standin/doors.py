"""Which request gets in at all: hosts, origins, paths and methods, as Ollama checks them. Pure."""

from __future__ import annotations

import ipaddress
import re

from standin.wire import Headers, Request

ROUTES: dict[str, tuple[str, ...]] = {
    "/": ("HEAD", "GET"), "/api/version": ("HEAD", "GET"), "/api/tags": ("HEAD", "GET"),
    "/api/ps": ("GET",), "/api/show": ("POST",), "/api/pull": ("POST",), "/api/generate": ("POST",),
    "/api/chat": ("POST",), "/api/embed": ("POST",), "/api/embeddings": ("POST",), "/api/copy": ("POST",),
    "/api/delete": ("DELETE",), "/api/status": ("GET",), "/v1/models": ("GET",),
    "/api/create": ("POST",), "/v1/chat/completions": ("POST",), "/v1/completions": ("POST",),
    "/v1/embeddings": ("POST",), "/v1/responses": ("POST",), "/v1/messages": ("POST",),
}  # fmt: skip
ROOMS: dict[str, tuple[str, ...]] = {"/v1/models": ("GET",), "/api/blobs": ("HEAD", "POST")}
"""Routes whose last part is a name."""
_ORIGINS = re.compile(
    r"https?://(localhost|127\.0\.0\.1|0\.0\.0\.0)(:\d+)?|(app|file|tauri|vscode-webview|vscode-file)://.*"
)
_TEXT = ("Content-Type", "text/plain")
_HTML = ("Content-Type", "text/html; charset=utf-8")
_ASKED_FOR = (
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,"
    "X-Stainless-Async,X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,"
    "X-Stainless-Os,X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,"
    "X-Stainless-Runtime,X-Stainless-Runtime-Version,X-Stainless-Timeout"
)
PREFLIGHT: tuple[tuple[str, str], ...] = (
    ("Access-Control-Allow-Headers", _ASKED_FOR),
    ("Access-Control-Allow-Methods", "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"),
    ("Access-Control-Max-Age", "43200"),
)
_VARIES = ("Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers")
Refusal = tuple[int, Headers, bytes]


def refusal(request: Request, origins: tuple[str, ...], *, host_check: bool = True) -> Refusal | None:
    """The answer to a request that gets no further, or None."""
    host = request.header("host") or ""
    if host_check and not _host_passes(host):
        return 403, [], b""
    origin = request.header("origin")
    if origin is not None and origin not in {f"http://{host}", f"https://{host}"}:
        if not _origin_passes(origin, origins):
            return 403, _allow(request) if request.method == "OPTIONS" else [], b""
        if request.method == "OPTIONS":
            return 204, [*_allow(request), *cors(request, origins), *PREFLIGHT], b""
    return _lost(request)


def cors(request: Request, origins: tuple[str, ...]) -> list[tuple[str, str]]:
    """The headers for an origin that was let in."""
    origin, host = request.header("origin"), request.header("host")
    if origin is None or origin in {f"http://{host}", f"https://{host}"}:
        return []
    told = "*" if "*" in origins else origin
    varies = [] if "*" in origins else [("Vary", "Origin")]
    if request.method == "OPTIONS" and varies:
        varies = [("Vary", name) for name in _VARIES]
    return [("Access-Control-Allow-Origin", told), *varies]


def _allow(request: Request) -> list[tuple[str, str]]:
    methods = ROUTES.get(request.path)
    return [("Allow", ", ".join(methods))] if methods else []


def _lost(request: Request) -> Refusal | None:
    path = request.path
    if request.method == "CONNECT":
        path = "/"
    if path.startswith("//") or "/../" in path or "/./" in path:
        return _moved(307, re.sub(r"/+", "/", path).replace("/../", "/"), request)
    if path != "/" and path.endswith("/") and path[:-1] in ROUTES:
        return _moved(301 if request.method == "GET" else 307, path[:-1], request)
    methods = ROUTES.get(path) or ROOMS.get(path.rpartition("/")[0])
    if methods is None:
        return 404, [_TEXT], b"404 page not found"
    if request.method not in methods:
        return 405, [("Allow", ", ".join(methods)), _TEXT], b"405 method not allowed"
    return None


def _moved(status: int, path: str, request: Request) -> Refusal:
    words = "Moved Permanently" if status == 301 else "Temporary Redirect"
    page = f'<a href="{path}">{words}</a>.\n\n'.encode() if request.method == "GET" else b""
    return status, [*([_HTML] if page else []), ("Location", path)], page


def _origin_passes(origin: str, origins: tuple[str, ...]) -> bool:
    patterns = [re.escape(one).replace(r"\*", ".*") for one in origins]
    return bool(_ORIGINS.fullmatch(origin)) or any(re.fullmatch(one, origin) for one in patterns)


def _host_passes(host: str) -> bool:
    name = re.sub(r":\d+$", "", host).strip("[]").lower()
    if not name or name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_private or address.is_unspecified
