"""Show the pages of artifacts in a browser: a read-only file server on the loopback address, beside ``gem dev``.

``/artifacts/<asset>/<snapshot or all>/<identity>/<file>`` is a committed file and never changes;
``/current/<asset>/<file>`` leads to that file of the result in force; ``/`` lists the pages there are. Nothing can be
written, no folder is listed, no file outside ``<data root>/artifacts`` is read: a path with an empty, hidden or ``..``
part is refused, and so is one whose links lead elsewhere. A request whose Host is not a loopback name is refused too,
so that a page of another site cannot read along under a name that it points here.
"""

import shutil
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from gem_assets.orchestration.web_guard import LOOPBACK, App, Receive, Refusal, Scope, Send, check_host
from gem_assets.stages import AUDITS

PAGES_URL_VARIABLE: Final = "GEM_PAGES_URL"
DEFAULT_PAGES_PORT: Final = 3001
HOST: Final = "127.0.0.1"
LINKS: Final = "/pages"
"""Where links on the pages of the web interface begin; see :class:`PageLinks`."""

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".jsonl": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".csv": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".parquet": "application/octet-stream",
}
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


class PageServer:
    """Serves the artifacts of one data root between ``bind`` and ``close``.

    Parameters
    ----------
    data_root
        Folder that holds ``artifacts``; it may not exist yet.
    port
        Wanted port. Where it is taken any free one is used: the server is an aid and must not keep ``gem dev`` from
        starting.
    """

    def __init__(self, data_root: Path, port: int = DEFAULT_PAGES_PORT) -> None:
        self.data_root = data_root
        self.port = port if 0 < port < 65536 else 0
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Address to open on this machine; the port is known after ``bind``."""
        return f"http://{HOST}:{self.port}"

    def bind(self) -> None:
        """Take the port. No thread is started yet, so the caller may still fork."""
        if self._server is None:
            try:
                self._server = _Server((HOST, self.port), self.data_root)
            except OSError:
                self._server = _Server((HOST, 0), self.data_root)
            self.port = self._server.server_address[1]

    def run(self) -> None:
        """Answer requests in a thread of its own."""
        self.bind()
        if self._server is not None and self._thread is None:
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop answering and give the port back; safe to call twice."""
        server, self._server = self._server, None
        if server is None:
            return
        if self._thread is not None:
            server.shutdown()
            self._thread.join(5)
            self._thread = None
        server.server_close()


class PageLinks:
    """ASGI middleware of the web interface: a link ``/pages/…`` leads to the page server, wherever it listens now.

    Links are written when a result is made and stay as they are, so they hold no port.

    Parameters
    ----------
    app
        The application behind it.
    pages
        Address of the page server.
    """

    def __init__(self, app: App, pages: str) -> None:
        self.app = app
        self.pages = pages.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a link with where it leads, and pass on everything else."""
        path = str(scope.get("path", ""))
        if scope["type"] != "http" or not path.startswith(f"{LINKS}/"):
            await self.app(scope, receive, send)
            return
        leads = f"{self.pages}{quote(path.removeprefix(LINKS))}".encode("ascii")
        headers = [(b"location", leads), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": HTTPStatus.FOUND.value, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def artifact_url(base: str, folder: Path, name: str) -> str:
    """Return where the server at ``base`` shows a file of a committed artifact.

    Parameters
    ----------
    base
        Address of the server, or ``LINKS``.
    folder
        ``…/artifacts/<asset>/<snapshot or all>/<identity>``.
    name
        File in it.
    """
    return "/".join([base.rstrip("/"), "artifacts", *(quote(part) for part in (*folder.parts[-3:], name))])


def current_url(base: str, asset: str, name: str) -> str:
    """Return where the server at ``base`` shows a file of the result in force of an unpartitioned asset."""
    return "/".join([base.rstrip("/"), "current", quote(asset.replace("/", ".")), quote(name)])


def resolve(root: Path, path: str) -> Path | None:
    """Return the file below ``root`` that a decoded URL path names, or None where it may not be read.

    Links are followed only where they stay below ``root``.
    """
    parts = path.split("/")
    if any(part.startswith(".") or not part or "\\" in part or "\0" in part for part in parts):
        return None
    try:
        top = root.resolve(strict=True)
        found = top.joinpath(*parts).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None
    return found if found.is_relative_to(top) and found.is_file() and found.suffix in _TYPES else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], data_root: Path) -> None:
        self.data_root = data_root
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet when a browser hangs up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version, sys_version = "gem-pages", ""
    timeout = 30

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing; the terminal belongs to Dagster."""

    def _answer(self, *, body: bool) -> None:
        try:
            check_host(self.headers.get_all("Host") or [], LOOPBACK)
        except Refusal as refusal:
            self._refuse(refusal.status)
            return
        with suppress(UnicodeDecodeError):
            path = unquote(urlsplit(self.path).path, errors="strict")
            if path == "/":
                self._send(listing(self.server.data_root).encode(), body=body)
                return
            kind, _, rest = path.removeprefix("/").partition("/")
            if kind == "artifacts":
                self._file(resolve(self.server.data_root / "artifacts", rest), body=body)
                return
            if kind == "current":
                self._current(rest)
                return
        self._refuse(HTTPStatus.NOT_FOUND)

    def _file(self, found: Path | None, *, body: bool) -> None:
        try:
            handle = found.open("rb") if found is not None else None
        except OSError:
            handle = None
        if handle is None or found is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        with handle:
            self._head(HTTPStatus.OK, _TYPES[found.suffix], found.stat().st_size)
            if body:
                shutil.copyfileobj(handle, self.wfile)

    def _current(self, rest: str) -> None:
        from gem_assets.storage.artifacts import ArtifactStore

        folder, _, name = rest.partition("/")
        artifact = None
        with suppress(ValueError, OSError):
            artifact = ArtifactStore(self.server.data_root).current(folder.replace(".", "/"))
        if artifact is None or not name:
            asset = folder.replace(".", "/")
            kind, _, strategy = asset.partition("/")
            how = f"gem audit {strategy}" if kind == AUDITS and strategy else f"materialize {asset}"
            self._refuse(HTTPStatus.NOT_FOUND, f": nothing of {asset} has been made yet. To make it: {how}")
            return
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", artifact_url("", artifact.path, name))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _refuse(self, status: HTTPStatus, reason: str = "") -> None:
        told = f"{status.phrase}{reason}\n".encode("utf-8", "replace")
        self._head(status, "text/plain; charset=utf-8", len(told))
        if self.command != "HEAD":
            self.wfile.write(told)

    def _send(self, data: bytes, *, body: bool) -> None:
        self._head(HTTPStatus.OK, _TYPES[".html"], len(data))
        if body:
            self.wfile.write(data)

    def _head(self, status: HTTPStatus, media_type: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(length))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()


def listing(data_root: Path) -> str:
    """Return the page that links every HTML page of the results in force."""
    from gem_assets.report.pages import render
    from gem_assets.storage.artifacts import ArtifactStore

    store = ArtifactStore(data_root)
    pages = [
        (asset, artifact_url("", artifact.path, file.name), file.name, artifact.identity[:12])
        for asset in store.assets()
        if (artifact := store.current(asset)) is not None
        for file in sorted(artifact.path.glob("*.html"))
    ]
    return render("listing.html", "Pages", str(data_root), pages=pages)
