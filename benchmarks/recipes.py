"""Recipes of the graph on real text.

``python -m benchmarks.recipes [--quick] [--only NAME ...] [--confirm NAME ...] [--work FOLDER]``

Lands ``multidomain/webmix_dev`` without the seven sources of ``benchmarks.confirm`` in two snapshots, the second with
1,500 documents of the first again; half of the documents of each left-out source are targets. The whole graph runs as
it does for a user (K = 12; proxies of 0.3M parameters and 16,384 tokens, 36 in the swarm), then the recipes that are
asked for, by hand. ``--work`` is the data root: what is current there is not made again, so a killed run goes on and
a second one prints what the first one made. With ``--quick`` it is a sixth of the text, and the fewest proxies.

The last line is one JSON object: by recipe its correlation, the gain over proportional that is predicted for it and,
where it was confirmed, measured (losses less proportional's, nats per token), its wins, divergence and verdict.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.confirm import TARGETS
from benchmarks.shared_data import shared_folder
from gem_assets.mixing.current_recipes import gather_recipes
from gem_assets.run import materialize_everything
from gem_assets.settings import load_settings
from gem_assets.storage.artifacts import ArtifactStore

FIRST, AGAIN, QUICK = 14_000, 1_500, 3_500
BEFORE = (
    *("raw_shards", "page_history", "embedding_space", "embeddings", "teacher_clusters", "student_model"),
    *("gis_taxonomy", "student_labels", "domain_inventory", "recipes/proportional", "recipes/uniform"),
    *("proxy_tokens", "cluster_counts", "recipes/lexical", "recipes/entropy"),
)
SHOWN = ("cv_spearman", "predicted_gain", "measured_gain", "wins", "seeds", "kl_to_prior", "verdict")
SETTINGS = """[teacher]
k = 12
[mixing.scores]
proxies = {proxies}
[proxy]
mixtures = {mixtures}
device = "cpu"
targets = {targets}
[proxy.training]
tokens = {tokens}
evaluate_at = [1.0]
[proxy.confirmation.training]
tokens = 49152
batch = 4
lr = 3e-3
cool_down = 0.2
evaluate_at = [1.0]
"""


def land(root: Path, *, quick: bool) -> None:
    """Fill a data root: settings, targets, two snapshots."""
    table = pq.read_table(shared_folder() / "corpora" / "multidomain" / "webmix_dev.parquet")
    labels = np.array(table["label"].to_pylist())
    inside = np.flatnonzero(~np.isin(labels, TARGETS))
    np.random.default_rng(0).shuffle(inside)
    inside, first = (inside[:QUICK], QUICK // 2) if quick else (inside, FIRST)
    pages = pa.table(
        {
            "url": [f"https://webmix.invalid/{name}" for name in table["doc_id"].to_pylist()],
            "text": table["text"],
            "source": table["label"],
            "lang": table["lang"],
        }
    )
    snapshots = {"2025-01": inside[:first], "2025-02": np.concatenate([inside[first:], inside[:AGAIN]])}
    for name, rows in snapshots.items():
        folder = root / "landing" / name
        folder.mkdir(parents=True)
        pq.write_table(pages.take(pa.array(rows)), folder / "pages.parquet")
        (folder / "_SUCCESS").touch()
    wanted = pa.array(np.flatnonzero(np.isin(labels, TARGETS))[::2])
    targets = root / "targets.parquet"
    pq.write_table(pa.table({"text": table["text"].take(wanted), "target": table["label"].take(wanted)}), targets)
    sizes = (
        {"mixtures": 16, "proxies": 16, "tokens": 2048} if quick else {"mixtures": 36, "proxies": 32, "tokens": 16384}
    )
    (root / "gem.toml").write_text(SETTINGS.format(targets=json.dumps(str(targets)), **sizes), encoding="utf-8")


def run(root: Path, assets: Sequence[str]) -> None:
    """Bring assets up to date, or say which failed."""
    summary = materialize_everything(
        load_settings(root), lambda done, total, what: print(f"{done}/{total} {what}", flush=True), assets, assets
    )
    for step in summary.failed:
        raise SystemExit(f"{step.asset} failed: {step.error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a sixth of the text and the fewest proxies")
    parser.add_argument("--only", nargs="*", default=["qurating", "meta_rater", "quadmix"], help="recipes by hand")
    parser.add_argument("--confirm", nargs="*", default=[], help="recipes to put to the test at the next model size")
    parser.add_argument("--work", type=Path, help="data root; by default a folder of the system's temporary one")
    options = parser.parse_args()
    named = Path(tempfile.gettempdir()) / f"gem-recipes{'-quick' if options.quick else ''}"
    root: Path = options.work if options.work is not None else named
    if not (root / "gem.toml").is_file():
        land(root, quick=options.quick)
    run(root, BEFORE)
    by_hand = ["proxy_swarm", *(f"recipes/{name}" for name in (*options.only, *options.confirm) if name != "lexical")]
    run(root, by_hand)
    if options.confirm:
        run(root, [f"recipe_confirmation/{name}" for name in options.confirm])
    rows = gather_recipes(ArtifactStore(root)).comparison.rows
    for row in rows:
        print(json.dumps({name: row[name] for name in ("recipe", *SHOWN)}), flush=True)
    print(json.dumps({row["recipe"]: {name: row[name] for name in SHOWN} for row in rows}))


if __name__ == "__main__":
    main()
