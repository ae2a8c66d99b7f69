"""Show the pages of artifacts in a browser, under ``/pages`` of the web interface: whatever host and port it has.

``/pages/artifacts/<asset>/<snapshot or all>/<identity>/<file>`` is a committed file and never changes;
``/pages/current/<asset>/<file>`` redirects to that file of the result in force, ``/pages/summary/<asset>/<file>`` draws
it beside the verdict, and ``/pages/`` lists all pages. HTML pages get the explorer's navigation above them.

Nothing can be written, no folder is listed, no file outside ``<data root>/artifacts`` is read: a path with an empty,
hidden or ``..`` part is refused, and so is one whose links lead elsewhere.
:class:`~gem_assets.orchestration.web_guard.WebGuard`, which runs first, decides who may ask.
"""

from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response

from gem_assets.orchestration.links import EXPLORER, LINKS, artifact_url
from gem_assets.orchestration.web_guard import App, Receive, Scope, Send
from gem_assets.stages import AUDITS

if TYPE_CHECKING:
    from gem_assets.storage.artifacts import Artifact

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
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class Pages:
    """ASGI middleware of the web interface: answers what begins with ``/pages/`` and passes on everything else.

    Parameters
    ----------
    data_root
        Folder that holds ``artifacts``; it may not exist yet.
    explorer
        Path of the explorer, to which every HTML page gets links.
    """

    def __init__(self, app: App, data_root: Path, explorer: str = EXPLORER) -> None:
        self.app = app
        self.data_root = data_root
        self.explorer = explorer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a page, or pass it on."""
        path = str(scope.get("path", ""))
        if scope["type"] != "http" or not path.startswith(f"{LINKS}/"):
            await self.app(scope, receive, send)
            return
        if scope["method"] in ("GET", "HEAD"):
            answer = await run_in_threadpool(self._answer, path.removeprefix(f"{LINKS}/"))
        else:
            answer = _refusal(HTTPStatus.METHOD_NOT_ALLOWED)
        answer.headers.update(_HEADERS)
        await answer(scope, receive, send)

    def _answer(self, path: str) -> Response:
        kind, _, rest = path.partition("/")
        if not path:
            return self._page(listing(self.data_root))
        if kind == "artifacts":
            found = resolve(self.data_root / "artifacts", rest)
            if found is not None and found.suffix == ".html":
                return self._page(found.read_text(encoding="utf-8", errors="replace"))
            if found is not None:
                return FileResponse(found, media_type=_TYPES[found.suffix])
        if kind == "current":
            return self._current(rest)
        if kind == "summary":
            return self._summary(rest)
        return _refusal(HTTPStatus.NOT_FOUND)

    def _page(self, page: str) -> Response:
        """Set the explorer's navigation above a page."""
        from gem_assets.report.pages import render

        head, body, rest = page.partition("<body>")
        links = render("navigation.html", explorer=self.explorer, pages=LINKS) if body else ""
        return HTMLResponse(f"{head}{body}{links}{rest}")

    def _current(self, rest: str) -> Response:
        asset, name, artifact = self._in_force(rest)
        if artifact is None or not name:
            return _refusal(HTTPStatus.NOT_FOUND, f": {_missing(asset)}")
        return RedirectResponse(artifact_url(artifact.path, name), HTTPStatus.FOUND)

    def _summary(self, rest: str) -> Response:
        from gem_assets.orchestration.summary import message_svg, summary_svg

        asset, name, artifact = self._in_force(rest)
        if artifact is None:
            drawn = message_svg(f"N{_missing(asset)[1:]}")
        else:
            drawn = summary_svg(artifact, resolve(artifact.path, name))
        return Response(drawn, media_type="image/svg+xml", headers={"Cache-Control": "no-cache"})

    def _in_force(self, rest: str) -> "tuple[str, str, Artifact | None]":
        """Return the asset and the file that a path names, and the result in force."""
        from gem_assets.storage.artifacts import ArtifactStore

        folder, _, name = rest.partition("/")
        asset, artifact = folder.replace(".", "/"), None
        with suppress(ValueError, OSError):
            artifact = ArtifactStore(self.data_root).current(asset)
        return asset, name, artifact


def _missing(asset: str) -> str:
    kind, _, strategy = asset.partition("/")
    how = f"gem audit {strategy}" if kind == AUDITS and strategy else f"materialize {asset}"
    return f"nothing of {asset} has been made yet. To make it: {how}"


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


def listing(data_root: Path) -> str:
    """Return the page that links every HTML page of the results in force."""
    from gem_assets.report.pages import render
    from gem_assets.storage.artifacts import ArtifactStore

    store = ArtifactStore(data_root)
    pages = [
        (asset, artifact_url(artifact.path, file.name), file.name, artifact.identity[:12])
        for asset in store.assets()
        if (artifact := store.current(asset)) is not None
        for file in sorted(artifact.path.glob("*.html"))
    ]
    return render("listing.html", "Pages", str(data_root), pages=pages)


def _refusal(status: HTTPStatus, reason: str = "") -> Response:
    told = f"{status.phrase}{reason}\n".encode("utf-8", "replace")
    return PlainTextResponse(told, status)
