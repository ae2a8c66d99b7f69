import asyncio
import re
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from gem_assets.orchestration.links import artifact_url, current_url, summary_url
from gem_assets.orchestration.page_server import Pages, resolve
from gem_assets.report.pages import render
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


async def behind(_, __, send):
    """A web interface that answers 204."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def web(root: Path):
    return Client(Pages(behind, root))


class Client:
    """Asks for a decoded path, as it is, and returns the answer."""

    def __init__(self, app: Pages) -> None:
        self._app = app

    def ask(self, path: str, method: str = "GET") -> httpx.Response:
        return asyncio.run(self._ask(unquote(path), method))

    async def _ask(self, path: str, method: str) -> httpx.Response:
        sent: list[dict] = []

        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "extensions": {}}
        await self._app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        headers = [(key.decode(), value.decode("latin-1")) for key, value in sent[0]["headers"]]
        return httpx.Response(sent[0]["status"], headers=headers, content=body)


def test_a_committed_page_is_shown(web: Client, folder: Path):
    answer = web.ask(artifact_url(folder, "index.html"))
    assert (answer.status_code, answer.text) == (200, "<p>the audit</p>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_page_gets_the_explorer_s_navigation_and_its_file_does_not(root: Path, web: Client, folder: Path):
    with ArtifactStore(root).write("recipe_report", IDENTITY) as draft:
        (draft.path / "index.html").write_text(render("listing.html", "Pages", pages=[]), encoding="utf-8")
    stored = ArtifactStore(root).current("recipe_report").path / "index.html"
    shown = web.ask(artifact_url(stored.parent, "index.html")).text
    links = re.findall(r'href="([^"]+)"', shown)
    assert {"/explore/#/map", "/explore/#/mix", "/pages/"} <= set(links)
    assert "/explore" not in stored.read_text(encoding="utf-8")
    assert shown.index("<nav") < shown.index("<main>")
    alone = Client(Pages(behind, root, explorer=""))
    assert 'href="/#/mix"' in alone.ask(artifact_url(stored.parent, "index.html")).text


def test_current_leads_to_the_result_in_force_on_the_same_host_and_port(web: Client, folder: Path):
    answer = web.ask(current_url("mixture_audit/balanced", "index.html"))
    assert answer.status_code == 302
    assert answer.headers["location"] == artifact_url(folder, "index.html")
    assert answer.headers["location"].startswith("/pages/artifacts/")


def test_a_link_to_what_is_not_made_yet_says_how_it_is_made(web: Client):
    audit = web.ask(current_url("mixture_audit/absent", "x.html"))
    assert (audit.status_code, "gem audit absent" in audit.text) == (404, True)
    order = web.ask(current_url("training_order/absent", "x.html"))
    assert (order.status_code, "materialize training_order/absent" in order.text) == (404, True)


def test_a_summary_of_what_is_not_made_yet_says_so(web: Client):
    answer = web.ask(summary_url("teacher_clusters", "shares.png"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert "Nothing of teacher_clusters has been made yet" in answer.text
    assert "<script>" not in web.ask("/pages/summary/<script>/x.png").text


def test_a_summary_shows_the_picture_and_the_verdict_of_the_result_in_force(root: Path, web: Client):
    with ArtifactStore(root).write("recipe_report", IDENTITY) as draft:
        (draft.path / "shares.png").write_bytes(b"a picture")
        draft.counts = {"recipes": 1200}
        draft.metrics = {"recommended": "<b>proportional</b>", "converged": False, "n_eff_over_k": 0.98765}
    text = web.ask(summary_url("recipe_report", "shares.png")).text
    assert "Recommended: &lt;b&gt;proportional&lt;/b&gt;" in text
    assert [line in text for line in ("Recipes: 1,200", "Converged: no", "1 is even): 0.9877")] == [True] * 3
    assert "data:image/png;base64,YSBwaWN0dXJl" in text
    out = web.ask("/pages/summary/recipe_report/..%2f..%2f..%2f..%2foutside.html").text
    assert "base64" not in out


def test_the_front_page_links_every_page(web: Client, folder: Path):
    text = web.ask("/pages/").text
    assert artifact_url(folder, "index.html") in text
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
def test_nothing_outside_the_artifacts_is_read(web: Client, path: str):
    answer = web.ask(f"/pages{path}")
    if answer.status_code == 302:
        # the place it leads to is refused in its turn
        answer = web.ask(answer.headers["location"])
    assert answer.status_code == 404


def test_a_link_that_leads_out_is_not_followed(root: Path, folder: Path, web: Client):
    (folder / "out.html").symlink_to(root.parent / "outside.html")
    (folder / "in.html").symlink_to(folder / "index.html")
    (folder / "up").symlink_to(root.parent, target_is_directory=True)
    found = {name: web.ask(artifact_url(folder, name)).status_code for name in ("out.html", "in.html")}
    assert found == {"out.html": 404, "in.html": 200}
    assert web.ask(artifact_url(folder, "up") + "/outside.html").status_code == 404


@pytest.mark.parametrize("name", ["secret.key", "", ".", "nothing.html"])
def test_other_files_and_folders_are_not_shown(web: Client, folder: Path, name: str):
    assert web.ask(artifact_url(folder, name)).status_code == 404


def test_nothing_can_be_written(web: Client, folder: Path):
    for method in ("POST", "PUT", "DELETE"):
        assert web.ask(artifact_url(folder, "index.html"), method).status_code == 405
    assert (folder / "index.html").read_text() == "<p>the audit</p>"


def test_head_has_no_body(web: Client, folder: Path):
    answer = web.ask(artifact_url(folder, "events.jsonl"), "HEAD")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "3", b"")


def test_a_line_end_in_a_name_makes_no_header(web: Client):
    answer = web.ask("/pages/current/mixture_audit.balanced/%0d%0aSet-Cookie: x")
    assert answer.status_code == 302
    assert "set-cookie" not in answer.headers
    assert web.ask("/pages/%0d%0aSet-Cookie: x").status_code == 404


def test_resolve_needs_no_root(tmp_path: Path):
    assert resolve(tmp_path / "absent", "a/index.html") is None


@pytest.mark.parametrize("path", ["/", "/graphql", "/pages", "/pagesx/y"])
def test_everything_else_is_the_web_interface(web: Client, path: str):
    assert web.ask(path).status_code == 204
