"""The explorer in a browser: each view, a slider against the library, saving, and what a hostile name does."""

import json
import shutil
import threading
import time
from urllib.parse import quote

import httpx
import pytest
import uvicorn
from playwright.sync_api import sync_playwright

from gem_assets.explorer.application import Explorer
from gem_assets.explorer.views import Views
from gem_assets.settings import load_settings
from tests.direct import run_step
from tests.ui.test_webserver import CHROMIUM, FLAGS, free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
VIEWS = {
    "#/": "What the corpus is made of",
    "#/map": "Map of the corpus",
    "#/clusters": "4 clusters",
    "#/mix": "Mixing desk",
    "#/compare?a=proportional&b=balanced": "Compare",
    "#/compare?a=2026-01&b=2026-02": "Compare",
    "#/find?q=help.invalid": "help.invalid",
    "#/find?q=python": "python",
    "#/history": "History",
}


class Served:
    """An explorer on a port of its own."""

    def __init__(self, views: Views, make_saved=None) -> None:
        port = free_port()
        self.explorer = Explorer(views, make_saved=make_saved)
        config = uvicorn.Config(self.explorer.application(), host="127.0.0.1", port=port, log_level="warning")
        self.server = uvicorn.Server(config)
        self.url = f"http://127.0.0.1:{port}/"
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        for _ in range(200):
            try:
                httpx.get(self.url)
                return
            except httpx.TransportError:
                time.sleep(0.05)
        raise TimeoutError(self.url)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)


@pytest.fixture(scope="module")
def served(views):
    running = Served(views)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[f for f in FLAGS if f != "--disable-gpu"] + WEBGL
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    opened = context.new_page()
    opened.faults = []
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("console", lambda told: opened.faults.append(told.text) if told.type == "error" else None)
    yield opened
    context.close()


def go(page, served, address):
    page.goto(f"{served.url}{address}")
    page.wait_for_selector("h1")
    return page.inner_text("h1")


def slider(page, views, k):
    """The slider of a cluster, which stands where its group is."""
    return page.get_by_label(f"Share of {views.overview().clusters()[k]['name']}", exact=True)


@pytest.mark.parametrize(("address", "heading"), VIEWS.items())
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (800, "dark")])
def test_every_view_shows_without_a_fault(browser, served, address, heading, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda told: faults.append(told.text) if told.type in ("error", "warning") else None)
    assert go(page, served, address) == heading
    page.wait_for_timeout(300)
    # software WebGL warns that it is slow to read back; that is no fault of the page
    assert [fault for fault in faults if "GPU stall" not in fault and "swiftshader" not in fault.lower()] == []
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    assert "null" not in page.inner_text("main").split()
    context.close()


def test_an_unknown_cluster_and_address_say_so_and_lead_back(page, served):
    for address, said in (("#/clusters/99", "the clusters are 0, 1, 2, 3"), ("#/nowhere", "There is no page")):
        assert go(page, served, address) == "Nothing to show"
        assert said in page.inner_text("[role=alert]")
        page.click("text=Back to the home page")
        page.wait_for_selector("text=What the corpus is made of")


def test_moving_a_slider_says_what_the_library_says(page, served, views):
    go(page, served, "#/mix?from=proportional")
    page.wait_for_selector("[data-loss]")
    slider(page, views, 1).focus()
    with page.expect_response("**/api/predict") as answer:
        page.keyboard.press("Shift+ArrowRight")
    sent = json.loads(answer.value.request.post_data)["shares"]
    natural = views.desk().natural
    assert sum(sent) == pytest.approx(1.0)
    assert sent[1] == pytest.approx(natural[1] + 0.01)
    others = [k for k in range(4) if k != 1]
    assert [sent[k] / natural[k] for k in others] == pytest.approx([sent[0] / natural[0]] * 3)
    mine = views.desk().predict(sent, {})["mean"]["loss"]
    page.wait_for_function(
        "loss => [...document.querySelectorAll('[data-loss]')].some(e => Math.abs(e.dataset.loss - loss) < 1e-9)",
        arg=mine,
    )


def test_a_locked_share_stays_and_undo_brings_the_mixture_back(page, served, views):
    go(page, served, "#/mix?from=proportional")
    sliders = [slider(page, views, k) for k in range(4)]
    before = [float(one.input_value()) for one in sliders]
    page.get_by_label(f"Lock {views.overview().clusters()[0]['name']}", exact=True).check()
    sliders[2].focus()
    page.keyboard.press("Shift+ArrowRight")
    moved = [float(one.input_value()) for one in sliders]
    assert moved[0] == before[0]
    assert moved[2] == pytest.approx(before[2] + 0.01, abs=0.0011)
    page.keyboard.press("u")
    assert [float(one.input_value()) for one in sliders] == before


def test_a_group_moves_its_clusters_together_and_leaves_locked_ones(page, served, views):
    def in_two_groups(route):
        told = route.fetch().json()
        for k, cluster in enumerate(told["clusters"]):
            cluster.update(parent_id=k // 2, parent="one" if k < 2 else "two")
        route.fulfill(json=told)

    page.route("**/api/desk", in_two_groups)
    go(page, served, "#/mix?m=0.1,0.3,0.2,0.4")
    page.get_by_label(f"Lock {views.overview().clusters()[3]['name']}", exact=True).check()
    page.get_by_label("Share of the group one").fill("0.5")
    assert page.locator("tr.group td.n:not(.hide)").all_inner_texts() == ["50.0 %", "50.0 %"]
    page.wait_for_function("() => location.hash.includes('m=0.125,0.375,0.1,0.4')")
    page.get_by_label("Share of the group two").fill("0.2")  # the locked cluster has more than that
    page.wait_for_function("() => location.hash.includes('m=0.15,0.45,0,0.4')")
    assert page.faults == []


def test_the_address_holds_the_mixture(page, served, views, browser):
    go(page, served, "#/mix?from=proportional")
    slider(page, views, 3).focus()
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_function("() => location.hash.includes('mix?m=')")
    address = page.evaluate("location.hash")
    value = slider(page, views, 3).input_value()
    other = browser.new_context().new_page()
    go(other, served, address)
    assert slider(other, views, 3).input_value() == value
    other.context.close()


def test_a_cluster_page_leads_to_the_map_and_to_the_desk_with_it_doubled(page, served):
    go(page, served, "#/clusters/2")
    page.click("text=What would doubling it do?")
    page.wait_for_selector("text=Mixing desk")
    assert "double=2" in page.evaluate("location.hash") or "m=" in page.evaluate("location.hash")
    go(page, served, "#/map?cluster=2")
    page.wait_for_selector("[data-painted=yes]")


def test_the_map_draws_points_and_a_click_reads_a_document(page, served, views):
    go(page, served, "#/map")
    page.wait_for_selector("[data-painted=yes]")
    drawn = page.evaluate(
        """async () => {
          const canvas = document.querySelector('.map canvas');
          const image = new Image(); image.src = canvas.toDataURL(); await image.decode();
          const copy = document.createElement('canvas'); copy.width = canvas.width; copy.height = canvas.height;
          const context = copy.getContext('2d'); context.drawImage(image, 0, 0);
          const data = context.getImageData(0, 0, copy.width, copy.height).data;
          let count = 0; for (let i = 3; i < data.length; i += 4) if (data[i] > 40) count++;
          return count;
        }"""
    )
    assert drawn > 200
    box = page.locator(".map canvas").first.bounding_box()
    x, y = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.keyboard.down("Shift")
    corners = [(x - 250, y - 250), (x + 250, y - 250), (x + 250, y + 250), (x - 250, y + 250)]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in [*corners[1:], corners[0]]:
        page.mouse.move(*corner, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.wait_for_selector("text=/documents? in the area/")
    assert page.locator("article.document").count() > 0


def test_the_density_is_drawn_where_there_is_no_webgl(browser, served):
    context = browser.new_context()
    context.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...more) {"
        " return kind === 'webgl' ? null : get.call(this, kind, ...more); };"
    )
    page = context.new_page()
    go(page, served, "#/map")
    page.wait_for_selector("[data-painted=yes]")
    assert "no WebGL" in page.inner_text("main")
    context.close()


def test_finding_a_document_offers_its_takedown(page, served, views):
    doc = views.documents().rows.column("doc_id")[3].as_py()
    go(page, served, f"#/find?q={doc}")
    page.wait_for_selector("text=Copy the takedown command")
    assert "Read from pages.parquet of" in page.inner_text("main")
    assert "in the training order" in page.inner_text("main").lower()


def test_saving_makes_a_recipe_that_the_page_then_compares(browser, tmp_path, made):
    root = shutil.copytree(made, tmp_path / "root")

    async def make():
        run_step(root, "recipes/by_hand", None)
        return {"made": True, "message": "Saved, and made the recipe by_hand."}

    running = Served(Views(load_settings(root)), make)
    page = browser.new_page()
    go(page, running, "#/mix?from=balanced")
    page.fill("#author", "A. Person")
    page.fill("#note", '"><img src=x onerror=alert(1)>')
    page.click("#save")
    page.wait_for_selector("text=Saved, and made the recipe by_hand.")
    page.click("text=Compare it")
    page.wait_for_selector("text=made by hand")
    assert page.locator("img").count() == 0
    page.close()
    running.stop()


def test_a_cluster_name_with_markup_is_text(browser, tmp_path, made):
    root = shutil.copytree(made, tmp_path / "root")
    views = Views(load_settings(root))
    name = "<img src=x onerror=document.title='taken'>"
    overview = views.overview()
    clusters = tuple(c.model_copy(update={"name": name}) if c.id == 1 else c for c in overview.named.clusters)
    overview.__dict__["named"] = overview.named.model_copy(update={"clusters": clusters})
    running = Served(views)
    page = browser.new_page()
    for address in ("#/", "#/clusters", "#/clusters/1", "#/map", "#/mix"):
        go(page, running, address)
        page.wait_for_timeout(200)
        assert page.locator("img").count() == 0
        assert page.title() != "taken"
        assert name in page.content().replace("&lt;", "<").replace("&gt;", ">")
    page.close()
    running.stop()


def test_keys_reach_search_and_help(page, served):
    go(page, served, "#/")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("help.invalid")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.startsWith('#/find')")
    page.locator("main").focus()
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()


def test_the_theme_stays_after_a_reload(page, served):
    go(page, served, "#/")
    before = page.evaluate("document.documentElement.dataset.theme")
    page.click("#theme")
    after = page.evaluate("document.documentElement.dataset.theme")
    assert after != before
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == after


def test_an_address_is_quoted_into_the_query(page, served):
    asked = "100% & more?"
    assert go(page, served, f"#/find?q={quote(asked)}") == asked
    assert "Nothing in the snapshots" in page.inner_text("main")
