import asyncio
import socket
from pathlib import Path

import httpx
import pytest

from gem_assets.orchestration.page_server import (
    PageLinks,
    PageServer,
    artifact_url,
    current_url,
    resolve,
)
from gem_assets.storage.artifacts import ArtifactStore

IDENTITY = "a" * 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    with ArtifactStore(data).write("mixture_audit/balanced", IDENTITY) as draft:
        (draft.path / "index.html").write_text("<p>the audit</p>", encoding="utf-8")
        (draft.path / "events.jsonl").write_text("{}\n", encoding="utf-8")
        (draft.path / "secret.key").write_text("key", encoding="utf-8")
    (tmp_path / "outside.html").write_text("outside", encoding="utf-8")
    (data / "gem.toml").write_text("", encoding="utf-8")
    return data


@pytest.fixture
def folder(root: Path) -> Path:
    artifact = ArtifactStore(root).current("mixture_audit/balanced")
    assert artifact is not None
    return artifact.path


@pytest.fixture
def server(root: Path):
    running = PageServer(root, 0)
    running.run()
    yield running
    running.close()


def raw(server: PageServer, request: str) -> str:
    """Send bytes as they are: an HTTP client would clean the path first."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as link:
        link.sendall(request.encode("latin-1"))
        found = b""
        while chunk := link.recv(65536):
            found += chunk
    return found.decode()


def test_a_committed_page_is_shown(server: PageServer, folder: Path):
    answer = httpx.get(artifact_url(server.url, folder, "index.html"), trust_env=False)
    assert (answer.status_code, answer.text) == (200, "<p>the audit</p>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_current_leads_to_the_result_in_force(server: PageServer, folder: Path):
    answer = httpx.get(current_url(server.url, "mixture_audit/balanced", "index.html"), trust_env=False)
    assert answer.status_code == 302
    assert answer.headers["location"] == artifact_url("", folder, "index.html")


def test_a_link_to_what_is_not_made_yet_says_how_it_is_made(server: PageServer):
    audit = httpx.get(current_url(server.url, "mixture_audit/absent", "x.html"), trust_env=False)
    assert (audit.status_code, "gem audit absent" in audit.text) == (404, True)
    order = httpx.get(current_url(server.url, "training_order/absent", "x.html"), trust_env=False)
    assert (order.status_code, "materialize training_order/absent" in order.text) == (404, True)


def test_the_front_page_links_every_page(server: PageServer, folder: Path):
    text = httpx.get(server.url, trust_env=False, timeout=60).text
    assert artifact_url("", folder, "index.html") in text
    assert "events.jsonl" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/artifacts/../gem.toml",
        "/artifacts/../../outside.html",
        "/artifacts/%2e%2e/%2e%2e/outside.html",
        "/artifacts/..%2f..%2foutside.html",
        "/artifacts/..%5c..%5coutside.html",
        "/artifacts//etc/passwd",
        "/artifacts/%00index.html",
        "/artifacts/%ff%fe.html",
        "/gem.toml",
        "/artifacts",
        "/artifacts/",
        "/current/..%2f..%2foutside.html/x",
        "/current/mixture_audit.balanced/..%2f..%2f..%2f..%2f..%2foutside.html",
    ],
)
def test_nothing_outside_the_artifacts_is_read(server: PageServer, path: str):
    status = raw(server, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").split("\r\n")[0]
    if " 302 " in status:
        # the place it leads to is refused in its turn
        answer = httpx.get(f"{server.url}{path}", trust_env=False, follow_redirects=True)
        status = f"HTTP/1.1 {answer.status_code} "
    assert " 404 " in status


def test_a_link_that_leads_out_is_not_followed(root: Path, folder: Path, server: PageServer):
    (folder / "out.html").symlink_to(root.parent / "outside.html")
    (folder / "in.html").symlink_to(folder / "index.html")
    (folder / "up").symlink_to(root.parent, target_is_directory=True)
    get = {name: httpx.get(artifact_url(server.url, folder, name), trust_env=False) for name in ("out.html", "in.html")}
    assert (get["out.html"].status_code, get["in.html"].status_code) == (404, 200)
    assert httpx.get(artifact_url(server.url, folder, "up") + "/outside.html", trust_env=False).status_code == 404


@pytest.mark.parametrize("name", ["secret.key", "", ".", "nothing.html"])
def test_other_files_and_folders_are_not_shown(server: PageServer, folder: Path, name: str):
    assert httpx.get(artifact_url(server.url, folder, name), trust_env=False).status_code == 404


def test_nothing_can_be_written(server: PageServer, folder: Path):
    for method in ("POST", "PUT", "DELETE"):
        assert httpx.request(method, artifact_url(server.url, folder, "index.html"), trust_env=False).status_code == 501
    assert (folder / "index.html").read_text() == "<p>the audit</p>"


def test_another_host_name_is_refused(server: PageServer):
    assert " 403 " in raw(server, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    assert " 403 " in raw(server, "GET / HTTP/1.0\r\n\r\n")
    assert " 200 " in raw(server, f"GET / HTTP/1.1\r\nHost: localhost:{server.port}\r\nConnection: close\r\n\r\n")


def test_head_has_no_body(server: PageServer, folder: Path):
    answer = httpx.head(artifact_url(server.url, folder, "events.jsonl"), trust_env=False)
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "3", b"")


def test_a_taken_port_is_given_up_for_a_free_one(root: Path, server: PageServer):
    second = PageServer(root, server.port)
    second.run()
    assert second.port != server.port
    assert httpx.get(second.url, trust_env=False, timeout=60).status_code == 200
    second.close()
    second.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(second.url, trust_env=False)


def test_resolve_needs_no_root(tmp_path: Path):
    assert resolve(tmp_path / "absent", "a/index.html") is None


async def answered(path: str) -> list[dict]:
    """Ask the middleware for a path; what is behind it says 204."""
    sent: list[dict] = []

    async def behind(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})

    async def send(message):
        sent.append(message)

    await PageLinks(behind, "http://127.0.0.1:4321")({"type": "http", "path": path}, None, send)
    return sent


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("/pages/current/mixture_audit.balanced/index.html", "/current/mixture_audit.balanced/index.html"),
        ("/pages/artifacts/a/b c/\u00fc.html", "/artifacts/a/b%20c/%C3%BC.html"),
        ("/pages/\r\nSet-Cookie: x", "/%0D%0ASet-Cookie%3A%20x"),
    ],
)
def test_a_link_leads_to_where_the_pages_are_now(path: str, leads: str):
    [start, _] = asyncio.run(answered(path))
    assert start["status"] == 302
    assert dict(start["headers"])[b"location"].decode() == "http://127.0.0.1:4321" + leads


@pytest.mark.parametrize("path", ["/", "/graphql", "/pages", "/pagesx/y"])
def test_everything_else_is_the_web_interface(path: str):
    assert asyncio.run(answered(path))[0]["status"] == 204
