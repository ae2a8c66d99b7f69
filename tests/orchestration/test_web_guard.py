"""Real requests, as a browser tab, a rebound name or a program sends them, against a guarded server."""

import http.client
import json
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gem_assets.orchestration.web_guard import WebGuard, allowed_hosts, host_name, is_loopback

JSON = {"Content-Type": "application/json"}
BODY = json.dumps({"query": "mutation { launchRun }"})


class Served:
    """A guarded application that remembers what reached it."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self.reached: list[str] = []

        async def answer(request: Request) -> PlainTextResponse:
            self.reached.append(f"{request.method} {request.url.path}")
            return PlainTextResponse("done")

        async def subscribe(socket: WebSocket) -> None:
            self.reached.append("websocket")
            await socket.accept()
            await socket.send_text("hello")
            await socket.close()

        paths = ("/", "/graphql", "/report_asset_materialization/x")
        routes = [Route(path, answer, methods=["GET", "POST", "PUT", "DELETE"]) for path in paths]
        app = Starlette(routes=[*routes, WebSocketRoute("/graphql", subscribe)])
        app.add_middleware(WebGuard, allowed=allowed)
        self.server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port: int = self.server.servers[0].sockets[0].getsockname()[1]

    def send(
        self, method: str, path: str, headers: dict[str, str] | list[tuple[str, str]], body: str = "", host: str = ""
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        if host != "none":
            connection.putheader("Host", host or f"127.0.0.1:{self.port}")
        for name, value in headers.items() if isinstance(headers, dict) else headers:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body.encode())
        answer = connection.getresponse()
        answer.read()
        return answer

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)


@pytest.fixture(scope="module")
def module_server() -> Iterator[Served]:
    served = Served(allowed_hosts("127.0.0.1", ["gem.example"]))
    yield served
    served.close()


@pytest.fixture
def served(module_server: Served) -> Served:
    module_server.reached.clear()
    return module_server


def test_the_operators_own_requests_pass(served: Served):
    own = f"http://127.0.0.1:{served.port}"
    page = {"Origin": own, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert served.send("POST", "/graphql", JSON | page, BODY).status == 200
    assert served.send("POST", "/graphql", {"content-type": "Application/JSON; charset=utf-8"}, BODY).status == 200
    assert served.send("POST", "/graphql", JSON, BODY, host=f"localhost:{served.port}").status == 200
    assert served.send("POST", "/graphql", JSON, BODY, host="[::1]:3000").status == 200
    assert served.send("POST", "/graphql", JSON | {"Origin": "https://gem.example"}, BODY).status == 200
    assert (
        served.send("POST", "/graphql", JSON | {"Origin": "https://gem.example"}, BODY, host="gem.example").status
        == 200
    )
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
    assert served.send("GET", "/", link).status == 200
    assert served.send("GET", "/graphql", {"Accept": "text/html,*/*"}).status == 200
    answer = served.send("GET", "/", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"})
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert len(served.reached) == 9


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "localhost:3000@evil.example",
        "127.0.0.1, evil.example",
        "127.0.0.1 evil.example",
        "10.0.0.1",
        "0.0.0.0",
        "[::2]",
        "[::1",
        "löcalhost",
        "",
        "none",
    ],
)
def test_a_name_that_is_not_ours_is_refused(served: Served, host: str):
    assert served.send("GET", "/", {}, host=host or " ").status in (400, 403)
    assert served.send("POST", "/graphql", JSON, BODY, host=host or " ").status in (400, 403)
    assert served.reached == []


def test_a_second_host_header_is_refused(served: Served):
    assert served.send("GET", "/", {"Host": "evil.example"}).status in (400, 403)
    assert served.reached == []


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://evil.example:3000",
        "null",
        "",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost:1",
        "http://gem.example.evil.example",
        "file://",
        "moz-extension://0123",
        "http://evil.example@127.0.0.1",
    ],
)
def test_a_page_of_another_origin_is_refused(served: Served, origin: str):
    assert served.send("POST", "/graphql", JSON | {"Origin": origin}, BODY).status == 403
    assert served.send("GET", "/", {"Origin": origin}).status == 403
    with pytest.raises(InvalidStatus, match="403"), connect(f"ws://127.0.0.1:{served.port}/graphql", origin=origin):
        pass
    assert served.reached == []


def test_two_origins_are_refused(served: Served):
    own = f"http://127.0.0.1:{served.port}"
    headers = [*JSON.items(), ("Origin", own), ("Origin", "http://evil.example")]
    assert served.send("POST", "/graphql", headers, BODY).status == 403
    assert served.reached == []


def test_what_a_page_can_send_without_being_asked_is_refused(served: Served):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                 "application/graphql", "text/plain; application/json", "application/jsonx"):  # fmt: skip
        assert served.send("POST", "/graphql", {"Content-Type": kind}, BODY).status == 415
    assert served.send("POST", "/graphql", {}, BODY).status == 415
    assert served.send("POST", "/graphql", [*JSON.items(), ("Content-Type", "text/plain")], BODY).status == 415
    assert served.send("POST", "/report_asset_materialization/x?data_version=1", {}).status == 415
    assert served.send("POST", "/graphql", JSON | {"Sec-Fetch-Site": "cross-site"}, BODY).status == 403
    assert served.send("GET", "/", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status == 403
    assert served.reached == []


@pytest.mark.parametrize("path", ["/graphql?query=mutation{launchRun}", "/graphql/?query={a}", "/graphq%6c?query={a}"])
def test_nothing_is_executed_by_get(served: Served, path: str):
    for accept in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        assert served.send("GET", path, accept).status == 405
    two = [("Accept", "*/*"), ("Accept", "text/html")]
    assert served.send("GET", path, two).status == 405
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert served.send(method, path, JSON, BODY).status == 405
    assert served.reached == []


def test_subscriptions_are_for_our_own_pages(served: Served):
    url = f"ws://127.0.0.1:{served.port}/graphql"
    with connect(url, origin=f"http://127.0.0.1:{served.port}") as socket:
        assert socket.recv() == "hello"
    with connect(url) as socket:  # a program, not a page
        assert socket.recv() == "hello"
    rebound = {"Host": f"evil.example:{served.port}"}
    with pytest.raises(InvalidStatus), connect(url, additional_headers=rebound):
        pass
    assert served.reached == ["websocket", "websocket"]


def test_beyond_loopback_addresses_and_own_names_are_taken_and_others_are_not():
    open_to_all = allowed_hosts("0.0.0.0", ["Gem.Example."])
    served = Served(open_to_all)
    try:
        for host in ("192.0.2.7:3000", "[2001:db8::1]:3000", "gem.example"):
            assert served.send("GET", "/", {}, host=host).status == 200
        assert served.send("GET", "/", {}, host="evil.example").status == 403
    finally:
        served.close()


def test_which_addresses_stay_on_this_machine():
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LOCALHOST")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "", "192.0.2.1", "localhost.example")))
    assert (host_name("LocalHost.:80"), host_name("[::1]:80"), host_name("a b")) == ("localhost", "::1", None)
