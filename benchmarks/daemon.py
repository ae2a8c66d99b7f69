"""Two snapshots through the real server: landing sensor, automation, checks, nothing launched by hand.

``python -m benchmarks.daemon [--quick] [--data-root FOLDER]`` lands ``multidomain/webmix_dev`` and every crawl file,
the damaged ones among them, as two snapshots, starts ``gem dev`` on them and waits until every asset that automation
keeps current is there. Then it counts: records read against records accounted for, rows of each damaged file, checks
that failed, and what a further minute of idling daemon writes. ``--quick`` lands the crawl files alone, which are few
enough for 6 clusters. After that, :mod:`benchmarks.growth` adds its figures. The last line is one JSON object.
"""

import argparse
import json
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq

from benchmarks import growth
from benchmarks.shared_data import shared_folder
from gem_assets.corpus.landing import land
from gem_assets.orchestration.dev_server import DevServer
from gem_assets.settings import load_settings
from gem_assets.storage.artifacts import ArtifactStore

LIMIT_S, IDLE_S = 1800, 60
EXPECTED = ("raw_shards", "embeddings", "student_labels", "teacher_clusters", "student_model", "gis_taxonomy",
            "domain_inventory", "recipes/proportional", "recipes/balanced", "training_order/balanced",
            "mixture_audit/balanced")  # fmt: skip
STATES = """
{ assetNodes { assetKey { path } partitionStats { numPartitions numMaterialized numFailed numMaterializing }
  assetMaterializations(limit: 1) { runId } automationCondition { label } isMaterializable } }
"""
RUNS = """{ runsOrError(limit: 500) { ... on Runs { results { status } } } }"""
CHECKS = """
{ assetNodes { assetKey { path } assetChecksOrError { ... on AssetChecks { checks {
  name executionForLatestMaterialization { status evaluation { severity } } } } } } }
"""


def main(quick: bool, data_root: Path) -> dict[str, object]:
    corpora = shared_folder() / "corpora"
    data_root.mkdir(parents=True, exist_ok=True)
    (data_root / "gem.toml").write_text(f"[teacher]\nk = {6 if quick else 24}\n", encoding="utf-8")
    settings = load_settings(data_root)
    land([corpora / "crawl"], settings.landing, "crawl", mode="copy", replace=True)
    if not quick:
        land([corpora / "multidomain" / "webmix_dev.parquet"], settings.landing, "webmix", mode="copy", replace=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    with DevServer(settings, port=port, echo=lambda line: print(line, flush=True)) as server:
        server.wait_ready()
        ask = Client(server.url)
        seconds = wait_until_current(ask, started)
        runs = ask(RUNS)["runsOrError"]["results"]
        failed_checks = sorted(failures(ask(CHECKS)["assetNodes"]))
        before = files(data_root)
        time.sleep(IDLE_S)
        changed = sorted(set(before.items()) ^ set(files(data_root).items()))
    store = ArtifactStore(settings.data_root)
    counts = {name: store.current("raw_shards", name).manifest.counts for name in store.partitions("raw_shards")}
    total = {key: sum(c[key] for c in counts.values()) for key in ("read", "kept", "duplicates", "filtered",
                                                                   "quarantined")}  # fmt: skip
    rows = pq.read_table(store.current("raw_shards", "crawl").path / "quarantine.parquet").to_pylist()
    return {
        **total,
        "unaccounted": total["read"] - sum(total[key] for key in total if key != "read"),
        "quarantined_files": {
            name: sorted({row["reason"] for row in rows if row["file"] == name})
            for name in sorted({row["file"] for row in rows})
        },
        "runs": len(runs),
        "runs_not_successful": sum(run["status"] != "SUCCESS" for run in runs),
        "failed_checks": failed_checks,
        "files_changed_while_idle": len(changed),
        "seconds_until_current": round(seconds, 1),
    }


class Client:
    """Asks the webserver."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/graphql"

    def __call__(self, query: str) -> dict[str, Any]:
        """Return the data of one query."""
        answer = httpx.post(self._url, json={"query": query}, timeout=60).json()
        if "errors" in answer:
            raise RuntimeError(f"{self._url}: {answer['errors']}")
        return answer["data"]


def wait_until_current(ask: Client, started: float) -> float:
    """Wait until everything expected is materialized and no run is under way; returns the seconds it took."""
    while time.monotonic() - started < LIMIT_S:
        time.sleep(3)
        missing = []
        for node in ask(STATES)["assetNodes"]:
            name, stats = "/".join(node["assetKey"]["path"]), node["partitionStats"]
            if name in EXPECTED and stats is not None and stats["numMaterialized"] < max(1, stats["numPartitions"]):
                missing.append(f"{name} ({stats['numMaterialized']} of {stats['numPartitions']})")
            elif name in EXPECTED and stats is None and not node["assetMaterializations"]:
                missing.append(name)
        states = [run["status"] for run in ask(RUNS)["runsOrError"]["results"]]
        busy = sum(state not in ("SUCCESS", "FAILURE", "CANCELED") for state in states)
        if not missing and not busy:
            return time.monotonic() - started
        print(f"{time.monotonic() - started:6.0f} s, {busy} runs under way, missing: {', '.join(missing)}", flush=True)
    raise SystemExit(f"not current after {LIMIT_S} s")


def failures(nodes: list[dict[str, Any]]) -> list[str]:
    """Name the checks that did not pass, with what that means."""
    found = []
    for node in nodes:
        for check in (node["assetChecksOrError"] or {}).get("checks", []):
            last = check["executionForLatestMaterialization"]
            if last is not None and last["status"] != "SUCCEEDED":
                severity = (last["evaluation"] or {}).get("severity", last["status"])
                found.append(f"{'/'.join(node['assetKey']['path'])}: {check['name']} ({severity})")
    return found


def files(root: Path) -> dict[str, tuple[int, int]]:
    """Every file of artifacts and tables with size and modification time."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in ("artifacts", "tables")
        for path in (root / folder).rglob("*")
        if path.is_file()
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the crawl files alone")
    parser.add_argument("--data-root", type=Path, help="keep the data here, to look at it with gem dev afterwards")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = main(arguments.quick, arguments.data_root or Path(folder, "two"))
        print(json.dumps({**found, **growth.main(quick=arguments.quick, demo=False, folder=Path(folder, "growth"))}))
