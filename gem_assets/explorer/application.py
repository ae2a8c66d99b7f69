"""The explorer as a web application: pages from ``static``, answers of the views as JSON and binary columns.

Everything is read but for ``save``, which needs the token that the page was given. Texts travel as JSON and become text
nodes in the browser; the page may run no script and load no style but its own.
"""

import json
import logging
import secrets
import struct
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gem_assets.explorer.commands import Plans, make_saved
from gem_assets.explorer.errors import NothingYetError, RequestError, UnknownError
from gem_assets.explorer.views import Views
from gem_assets.lineage.mixtures import MixtureError
from gem_assets.settings import Settings, load_settings
from gem_assets.storage.identity import finite
from gem_assets.takedown.entries import BlocklistError

logger = logging.getLogger(__name__)

MOST_TOKENS: Final = 10**15
TOKEN_HEADER: Final = "x-gem-token"  # noqa: S105
_STATIC: Final = files("gem_assets.explorer").joinpath("static")
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_REFUSED: Final[dict[type[Exception], HTTPStatus]] = {
    NothingYetError: HTTPStatus.CONFLICT,
    UnknownError: HTTPStatus.NOT_FOUND,
    MixtureError: HTTPStatus.NOT_FOUND,
    RequestError: HTTPStatus.BAD_REQUEST,
    BlocklistError: HTTPStatus.CONFLICT,
}

Answer = Callable[[Request], Any]
Plan = Callable[[], dict[str, Any]]
Make = Callable[[], Awaitable[dict[str, Any]]]


class Explorer:
    """The answers to the pages' requests.

    Parameters
    ----------
    views
        Over the data root.
    plan
        Says what is stale and what it costs; without it that part of the history stays empty.
    make_saved
        Makes the recipe of the mixture that was saved, and says what came of it; without it a person is told how to.
    """

    def __init__(self, views: Views, plan: Plan | None = None, make_saved: Make | None = None) -> None:
        self.views = views
        self.plan = plan
        self.make_saved = make_saved
        self.token = secrets.token_urlsafe(24)

    def application(self) -> Starlette:
        """Return the ASGI application; it works under any path that it is mounted at."""
        return Starlette(
            routes=[
                Route("/", self.page),
                Route("/static/{name}", self.static),
                *(Route(f"/api/{path}", _answering(answer)) for path, answer in self.answers().items()),
                Route("/api/predict", self.predict, methods=["POST"]),
                Route("/api/save", self.save, methods=["POST"]),
            ]
        )

    def answers(self) -> dict[str, Answer]:
        """What is read, by path."""
        views = self.views
        return {
            "home": lambda _: self._home(),
            "clusters": lambda _: views.overview().clusters(),
            "clusters/{domain:int}": lambda request: views.cluster(request.path_params["domain"]),
            "clusters/{domain:int}/sample": lambda request: views.sample(
                request.path_params["domain"], _number(request.query_params.get("seed", "0"))
            ),
            "map": lambda _: views.map(),
            "points": lambda _: self._points(),
            "colours/{by}": lambda request: self._colours(request.path_params["by"]),
            "documents": lambda request: views.texts(
                [_number(row) for row in request.query_params.get("rows", "").split(",") if row]
            ),
            "desk": lambda _: views.desk_state(),
            "compare": lambda request: views.compare(
                request.query_params.get("a", ""), request.query_params.get("b", "")
            ),
            "snapshots": lambda request: views.compare_snapshots(
                request.query_params.get("a", ""), request.query_params.get("b", "")
            ),
            "find": lambda request: views.find(request.query_params.get("q", "")),
            "history": lambda _: views.overview().history(),
            "plan": lambda _: self.plan() if self.plan is not None else {"steps": []},
        }

    async def page(self, _: Request) -> Response:
        """The one page; its scripts fetch the rest."""
        text = _static("index.html").decode("utf-8").replace("{{ token }}", self.token)
        return Response(text, media_type="text/html; charset=utf-8", headers={**_HEADERS, "Cache-Control": "no-store"})

    async def static(self, request: Request) -> Response:
        """A script or the style sheet."""
        name = str(request.path_params["name"])
        kind = _TYPES.get(f".{name.rpartition('.')[2]}")
        if kind is None or name not in {item.name for item in _STATIC.iterdir()}:
            return _refusal(HTTPStatus.NOT_FOUND, f"there is no {name} here")
        return _tagged(request, _static(name), kind)

    async def predict(self, request: Request) -> Response:
        """Say what a mixture costs; the body holds ``shares`` ``(K,)``, ``against`` (names of mixtures), ``budget``."""
        body = await request.body()

        def answer(_: Request) -> dict[str, Any]:
            asked = _object(body)
            against = [str(name) for name in asked.get("against") or []]
            return self.views.predict(asked.get("shares") or [], against, _budget(asked))

        return await _answering(answer)(request)

    async def save(self, request: Request) -> Response:
        """Keep a mixture and make its recipe; the body holds ``shares`` ``(K,)``, ``budget``, ``note``, ``author``."""
        if not secrets.compare_digest(request.headers.get(TOKEN_HEADER, ""), self.token):
            return _refusal(HTTPStatus.FORBIDDEN, "this page is of an earlier session; reload it, then save again")
        body = await request.body()

        def answer(_: Request) -> dict[str, Any]:
            asked = _object(body)
            note, author = str(asked.get("note", "")), str(asked.get("author", ""))
            self.views.save(asked.get("shares") or [], note, author, _budget(asked))
            return {"made": False, "message": "Saved. Make its recipe with: gem run --until recipes/by_hand"}

        told = await _answering(answer)(request)
        if told.status_code != HTTPStatus.OK or self.make_saved is None:
            return told
        return JSONResponse(await self.make_saved(), headers=_HEADERS)

    def _home(self) -> dict[str, Any]:
        return {**self.views.overview().home(), "name": self.views.settings.data_root.name}

    def _points(self) -> bytes:
        places = self.views.points().places
        return _columns({"points": len(places)}, places[:, 0], places[:, 1])

    def _colours(self, by: str) -> bytes:
        found = self.views.colours(by)
        return _columns({"points": len(found.codes), "names": found.names, "ordered": found.ordered}, found.codes)


def _answering(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Answer in a thread, and turn what a person can mend into a sentence with a status."""

    async def respond(request: Request) -> Response:
        try:
            told = await run_in_threadpool(answer, request)
        except tuple(_REFUSED) as error:
            status = next(status for kind, status in _REFUSED.items() if isinstance(error, kind))
            return _refusal(status, str(error))
        except Exception as error:
            logger.exception("%s could not be answered", request.url.path)
            told = f"the explorer failed ({type(error).__name__}: {error}); its log has the trace"
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, told)
        if isinstance(told, bytes):
            return _tagged(request, told, "application/octet-stream")
        return _tagged(request, json.dumps(finite(told), separators=(",", ":")).encode(), "application/json")

    return respond


def _object(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except ValueError as error:
        raise RequestError(f"send a JSON object ({error})") from error
    if not isinstance(asked, dict):
        raise RequestError("send a JSON object")
    return asked  # pyright: ignore[reportUnknownVariableType]


def _budget(asked: dict[str, Any]) -> int | None:
    found = asked.get("budget")
    if found is not None and (type(found) is not int or not 0 < found < MOST_TOKENS):
        raise RequestError(f"a token budget is a whole number from 1 to {MOST_TOKENS:,}, not {found!r}")
    return found


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 12:
        raise RequestError(f"{text!r} is not a row number")
    return int(text)


def _columns(header: dict[str, Any], *columns: np.ndarray) -> bytes:
    """A length, a JSON header padded to four bytes, and little-endian columns one after the other."""
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 4)
    return struct.pack("<I", len(told)) + told + b"".join(c.astype("<u2", copy=False).tobytes() for c in columns)


def _tagged(request: Request, body: bytes, kind: str) -> Response:
    """Answer with a tag of the content, so that a reload costs nothing where nothing has changed."""
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, media_type=kind, headers=headers)


def _refusal(status: HTTPStatus, reason: str) -> Response:
    return JSONResponse({"error": reason}, status, headers=_HEADERS)


def _static(name: str) -> bytes:
    return _STATIC.joinpath(name).read_bytes()


class Lazily:
    """ASGI application that makes the explorer of a data root with the first request; its imports take a second.

    Parameters
    ----------
    data_root
        Settings are read from it.
    """

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root
        self._lock = threading.Lock()
        self._made: Starlette | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        made = self._made or await run_in_threadpool(self._make)
        await made(scope, receive, send)

    def _make(self) -> Starlette:
        with self._lock:
            if self._made is None:
                self._made = explorer_of(load_settings(self.data_root))
            return self._made


def explorer_of(settings: Settings) -> Starlette:
    """Return the explorer of a data root, with ``gem plan`` and ``gem run`` behind it."""
    root = settings.data_root
    return Explorer(Views(settings), Plans(root), partial(make_saved, root)).application()
