"""The real webserver and daemon on a built data root: a launch as the button does it, and what a browser shows."""

import json
import shutil
import socket
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gem_assets.orchestration.dev_server import DevServer
from gem_assets.run import materialize_everything
from gem_assets.settings import load_settings
from tests.tiny import land_jsonl, land_parquet, passages, write_settings
from tests.ui.graphql import ADD_PARTITION, LAUNCH, LAUNCH_RUN, Client

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
SHOWN = ("raw_shards", "embedding_space", "embeddings", "teacher_clusters")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    write_settings(root)
    rows = passages()
    land_parquet(root, "2026-01", rows[:500])
    land_jsonl(root, "2026-02", rows[500:], damaged=True)
    settings = load_settings(root)
    summary = materialize_everything(settings, only=SHOWN)
    assert not summary.failed
    with DevServer(settings, port=free_port(), echo=lambda line: None) as running:
        assert running.wait_ready()
        yield running


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_partition_launched_as_the_button_does_runs_and_computes_nothing_anew(server):
    client = Client(server.url)
    before = client.latest("raw_shards", "2026-02")
    run = client.wait_for_run(client.launch_partition("raw_shards", "2026-02"))
    assert run["status"] == "SUCCESS"
    after = client.latest("raw_shards", "2026-02")
    assert after["runId"] == run["runId"] != before["runId"]
    entries = {entry["label"]: entry for entry in after["metadataEntries"]}
    assert entries["computed"]["boolValue"] is False
    assert entries["Kept (documents)"]["intValue"] > 100


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("snapshot", "says"),
    [("2026-99", "does not exist: land it first (gem land … --snapshot 2026-99)"), ("a/b", "is not a name")],
)
def test_a_partition_that_has_not_landed_is_refused_with_the_way_to_land_it(server, snapshot, says):
    answer = Client(server.url).ask(ADD_PARTITION, partition=snapshot)["addDynamicPartition"]
    assert answer["__typename"] == "UnauthorizedError"
    assert says in answer["message"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_partition_that_has_landed_may_be_added(server):
    (server.settings.landing / "2026-03").mkdir()
    (server.settings.landing / "2026-03" / "_SUCCESS").touch()
    answer = Client(server.url).ask(ADD_PARTITION, partition="2026-03")["addDynamicPartition"]
    # the landing sensor may have been faster
    assert answer["__typename"] in ("AddDynamicPartitionSuccess", "DuplicateDynamicPartitionError")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pages_are_answered_under_the_address_of_the_web_interface(server):
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        listed = client.get("/pages/")
        assert (listed.status_code, listed.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "Pages of this data root" in listed.text
        assert client.get("/pages/artifacts/../gem.toml").status_code != 200
        assert client.get("/pages/", headers={"Host": "evil.example"}).status_code == 403


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_browser_tab_is_no_operator(server):
    """What another site's page can make a browser send starts nothing, and no run says where data goes."""
    params = {"assetSelection": [{"path": ["raw_shards"]}], "partitionNames": ["2026-01"], "tags": []}
    question = {"query": LAUNCH, "variables": json.dumps({"params": params})}
    foreign = {"Host": "evil.example", "Origin": "http://evil.example"}
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        assert client.get("/graphql", params=question, headers=foreign).status_code == 403
        assert client.get("/graphql", params=question).status_code == 405
        assert client.get("/server_info", headers={"Host": "evil.example"}).status_code == 403
        for origin in ("null", "http://evil.example", server.url.replace(str(server.port), "1")):
            answer = client.post("/graphql", json=question, headers={"Origin": origin})
            assert answer.status_code == 403
        plain = client.post("/graphql", content=json.dumps(question), headers={"Content-Type": "text/plain"})
        assert plain.status_code == 415
        report = "/report_asset_materialization/raw_shards?data_version=forged"
        assert client.post(report).status_code == 415
    with pytest.raises(InvalidStatus), connect(f"{server.url}/graphql".replace("http", "ws"), origin="null"):
        pass
    config = {"resources": {"store": {"config": {"root": "ftp://192.0.2.1/stolen"}}}}
    launched = Client(server.url).ask(LAUNCH_RUN, config=json.dumps(config))["launchRun"]
    assert launched["__typename"] == "RunConfigValidationInvalid"


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(600)
def test_browser_shows_the_graph_and_an_asset_page(server, tmp_path: Path):
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(f"{server.url}/asset-groups", wait_until="domcontentloaded")
        for group in ("corpus", "clusters", "labels", "mixtures"):
            page.get_by_text(group, exact=True).filter(visible=True).first.wait_for(timeout=60_000)
        page.screenshot(path=str(tmp_path / "graph.png"))
        page.goto(f"{server.url}/assets/teacher_clusters?view=overview", wait_until="domcontentloaded")
        page.get_by_text("Picture: objective by iteration", exact=True).filter(visible=True).first.wait_for(
            timeout=60_000
        )
        page.get_by_text("Show Markdown").filter(visible=True).first.click()
        picture = page.locator("img[src^='data:image/png']").first
        picture.wait_for(timeout=30_000)
        assert picture.evaluate("image => image.naturalWidth") > 300
        page.screenshot(path=str(tmp_path / "teacher.png"))
        browser.close()
    assert (tmp_path / "graph.png").stat().st_size > 20_000
    assert (tmp_path / "teacher.png").stat().st_size > 20_000
