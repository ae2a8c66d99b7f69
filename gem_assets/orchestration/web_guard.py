"""Who may speak to a server on this machine: the rule that the web interface and the page server share.

A browser sends requests to ``127.0.0.1`` for any page that asks for it. Three things tell such a request from one of
the operator's own: the ``Host`` that it was sent to (a name that a stranger points at this machine is not one of ours),
the ``Origin`` of the page that sent it, and the fact that a page cannot send JSON to another origin without being asked
first. None of this is a password: whoever can open a connection from a program of their own is let in.
"""

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
HOSTS_VARIABLE: Final = "GEM_WEB_HOSTS"
"""Names under which the web interface may be reached, with blanks between them; ``gem dev`` sets it for its server."""
ANY_ADDRESS: Final = "*"
"""Among the allowed hosts: any IP address. A page can be served under a stranger's name, never under a bare address."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d{1,5})?")


class Refusal(Exception):  # noqa: N818  it is an answer, and carries what the browser is told
    """A request that is not answered, with the status and the words to refuse it with."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def allowed_hosts(host: str, more: Iterable[str] = ()) -> frozenset[str]:
    """Return the names under which a server that listens on ``host`` may be asked.

    ``more`` are further names, for example that of a reverse proxy.
    """
    names = {*LOOPBACK, *(name.lower().rstrip(".") for name in more)}
    if not is_loopback(host):
        names |= {ANY_ADDRESS, host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
    return frozenset(names)


def host_name(header: str) -> str | None:
    """Return the host that a ``Host`` header names, in lower case and without port; None when it is not one."""
    found = _HOST.fullmatch(header.strip())
    return (found["v6"] or found["name"]).lower().rstrip(".") if found is not None else None


def check_host(headers: Sequence[str], allowed: frozenset[str]) -> str:
    """Return the ``Host`` that a request was sent to.

    ``headers`` are all ``Host`` headers of the request.

    Raises Refusal when it has none or several, or one that is not allowed.
    """
    name = host_name(headers[0]) if len(headers) == 1 else None
    if name is None:
        raise Refusal(HTTPStatus.FORBIDDEN, "a request needs one Host header")
    if name not in allowed and not (ANY_ADDRESS in allowed and _is_address(name)):
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            f"this server does not answer to the name {name}. If it is yours: gem dev --allow-host {name}",
        )
    return headers[0].strip().lower()


def check_origin(origins: Sequence[str], host: str, allowed: frozenset[str]) -> None:
    """Refuse a request that a page of another origin sent.

    Raises Refusal when it comes from elsewhere, or from a page that hides where it is from (``null``).

    Parameters
    ----------
    origins
        Every ``Origin`` header; programs other than browsers send none.
    allowed
        Names that are ours: a reverse proxy may have changed the ``Host`` on the way, so an ``Origin`` of one of the
        names that were added is taken too.
    """
    for origin in origins:
        sent = urlsplit(origin.strip().lower())
        name = host_name(sent.netloc)
        ours = sent.netloc == host or (name in allowed and name not in LOOPBACK)
        if len(origins) > 1 or sent.scheme not in ("http", "https") or not ours:
            raise Refusal(HTTPStatus.FORBIDDEN, "pages of other origins may not use this server")


class WebGuard:
    """ASGI middleware in front of Dagster's web server."""

    def __init__(self, app: App, allowed: frozenset[str]) -> None:
        self.app = app
        self.allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with the reason why not."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Refusal as refusal:
            await _refuse(scope, send, refusal)
            return
        await self.app(scope, receive, _never_framed(send))

    def _check(self, scope: Scope) -> None:
        def headers(name: bytes) -> list[str]:
            return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]

        host = check_host(headers(b"host"), self.allowed)
        check_origin(headers(b"origin"), host, self.allowed)
        if scope["type"] == "websocket":
            return
        method = str(scope["method"]).upper()
        sites, modes = headers(b"sec-fetch-site"), headers(b"sec-fetch-mode")
        followed = method == "GET" and modes == ["navigate"]  # a link or a bookmark, which changes nothing
        if any(site not in ("same-origin", "none") for site in sites) and not followed:
            raise Refusal(HTTPStatus.FORBIDDEN, "pages of other origins may not use this server")
        if method == "POST":
            kinds = [kind.partition(";")[0].strip().lower() for kind in headers(b"content-type")]
            if kinds != ["application/json"]:
                raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON, with Content-Type: application/json")
        elif method not in ("GET", "HEAD"):
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "use GET, HEAD or POST")
        elif _is_query(scope) and "text/html" not in "".join(headers(b"accept")[:1]):
            raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "GraphQL is answered by POST alone")


def _is_query(scope: Scope) -> bool:
    """Tell whether Dagster would execute what a GET asks; to a browser that wants HTML it shows its console."""
    return str(scope["path"]).rstrip("/").rpartition("/")[2] == "graphql"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _never_framed(send: Send) -> Send:
    async def with_header(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"x-frame-options", b"SAMEORIGIN")]
        await send(message)

    return with_header


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.reason[:120]})
        return
    text = f"{refusal.reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": refusal.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text})
