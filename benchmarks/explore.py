"""The explorer at a million documents: first paint in software WebGL, prediction, search, memory of the server.

``python -m benchmarks.explore [--quick]``. The documents of a finished root are repeated with jittered places and new
ids up to a million (``--quick``: 50,000), so everything but the labels' own reading is measured at that size. The
server is a process of its own; Chromium draws without a graphics card. The last line is one JSON object:

``points``
    Documents on the map.
``first_paint_s``
    From opening the map's address to the first picture, median of three.
``bytes_a_point``
    Places and colours together.
``predict_p95_ms``
    95th percentile of 200 predictions for random mixtures over HTTP, against two rivals.
``search_p95_ms``, ``search_mb``
    The same of 20 searches for words in the texts, and how much text there is to search.
``server_rss_mb``
    Resident memory of the server at the end.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa

from gem_assets.demo.landing import build_demo_landing
from gem_assets.explorer.application import Explorer
from gem_assets.explorer.documents import Documents
from gem_assets.explorer.points import GRID
from gem_assets.explorer.views import Points, Views
from gem_assets.run import materialize_everything
from gem_assets.settings import load_settings

POINTS, QUICK_POINTS = 1_000_000, 50_000
PREDICTIONS, SEARCHES, PAINTS = 200, 20, 3
WORDS = ("return", "copyright notice", "tensor", "the following", "nothing like this is there")


class Repeated(Views):
    """The views of a root whose documents are repeated up to a number of points."""

    def __init__(self, root: Path, points: int) -> None:
        super().__init__(load_settings(root))
        real = Views(self.settings)
        base, placed = real.documents(), real.points()
        rng = np.random.default_rng(0)
        chosen = rng.integers(0, len(base), points)
        rows = base.rows.take(pa.array(chosen)).combine_chunks()
        ids = pa.array(np.char.mod("%032x", np.arange(points)), pa.string())
        self._documents_of = Documents(rows.set_column(0, "doc_id", ids), points)
        jittered = placed.places[chosen].astype(np.int64) + rng.normal(0, 600, (points, 2)).astype(np.int64)
        self._points_of = Points(np.clip(jittered, 0, GRID - 1).astype(np.uint16), placed.landmarks, placed.domains)

    def documents(self) -> Documents:
        """The repeated documents."""
        return self._documents_of

    def points(self) -> Points:
        """Their places."""
        return self._points_of


def serve(root: Path, points: int, port: int) -> None:
    """Serve the explorer until the process is ended."""
    import uvicorn

    uvicorn.run(Explorer(Repeated(root, points)).application(), host="127.0.0.1", port=port, log_level="error")


def finished_root(folder: Path) -> Path:
    """Make the small demo's data root, without proxies."""
    root = folder / "root"
    root.mkdir()
    (root / "gem.toml").write_text("[teacher]\nk = 8\n", encoding="utf-8")
    build_demo_landing(root / "landing", small=True)
    materialize_everything(load_settings(root))
    return root


def paint(url: str) -> list[float]:
    """Seconds from opening the map to its first picture."""
    from playwright.sync_api import sync_playwright

    chromium = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    found: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for _ in range(PAINTS):
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            start = time.perf_counter()
            page.goto(f"{url}#/map")
            page.wait_for_selector("[data-painted=yes]", timeout=120_000)
            page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            found.append(time.perf_counter() - start)
            page.context.close()
        browser.close()
    return found


def timed(ask: Any, count: int) -> float:
    """95th percentile of some requests, milliseconds."""
    found: list[float] = []
    for number in range(count):
        start = time.perf_counter()
        ask(number).raise_for_status()
        found.append((time.perf_counter() - start) * 1000)
    return float(np.percentile(found, 95))


def measure(root: Path, points: int) -> dict[str, Any]:
    """Start a server and take the figures."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(root, points, port), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{port}/"
    client = httpx.Client(base_url=f"{url}api/", timeout=120)
    for _ in range(1200):
        try:
            client.get("home")
            break
        except httpx.TransportError:
            time.sleep(0.1)
    clusters = len(client.get("clusters").json())
    rng = np.random.default_rng(1)
    mixtures = rng.dirichlet(np.ones(clusters), PREDICTIONS)
    client.get("desk").raise_for_status()
    try:
        paints = paint(url)
        sizes = [len(client.get(path).content) for path in ("points", "colours/cluster")]
        predict = timed(
            lambda i: client.post("predict", json={"shares": mixtures[i].tolist(), "against": ["natural", "balanced"]}),
            PREDICTIONS,
        )
        search = timed(lambda i: client.get("find", params={"q": WORDS[i % len(WORDS)]}), SEARCHES)
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
    finally:
        server.terminate()
        server.join(10)
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    text = Views(load_settings(root)).overview().home()["bytes"]
    return {
        "points": points,
        "first_paint_s": round(statistics.median(paints), 2),
        "bytes_a_point": round(sum(sizes) / points, 2),
        "predict_p95_ms": round(predict, 1),
        "search_p95_ms": round(search, 1),
        "search_mb": round(text / 1e6, 1),
        "server_rss_mb": resident // 1024,
        "load": [round(value, 1) for value in os.getloadavg()[:2]],
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_POINTS:,} points")
    parser.add_argument("--root", type=Path, help="a finished data root, instead of a small demo's")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = asked.root or finished_root(Path(folder))
        print(json.dumps(measure(root, QUICK_POINTS if asked.quick else POINTS)))


if __name__ == "__main__":
    main()
