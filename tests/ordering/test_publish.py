import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.ordering.config import CurveConfig, OrderingConfig
from gem_assets.ordering.publish import publish_order


def world() -> tuple[pa.Table, Recipe]:
    n = 400
    tokens = np.arange(n) % 50 + 10
    cluster = np.arange(n) % 2
    table = pa.table(
        {
            "doc_id": [f"{i:032x}" for i in range(n)],
            "cluster": pa.array(cluster, pa.int16()),
            "n_tokens": pa.array(tokens),
            "dup_count": pa.array(np.ones(n, dtype=np.int32)),
        }
    )
    sums = np.bincount(cluster, weights=tokens).astype(np.int64)
    supply = ClusterSupply(np.arange(2), np.array([200, 200]), sums, 4 * sums)
    recipe = Recipe.create(
        "hand", [0.25, 0.75], supply, names={0: "prose", 1: "code"}, taxonomy_version="t", tokenizer="estimate",
        repetition_cap=4.0,
    )  # fmt: skip
    return table, recipe


def test_an_order_by_a_score_of_ones_own_comes_with_its_figures_and_pictures(tmp_path: Path):
    table, recipe = world()
    scores = pa.table({"doc_id": table.column("doc_id"), "mine": np.random.default_rng(0).random(len(table))})
    pq.write_table(scores, tmp_path / "scores.parquet")
    out = tmp_path / "out"
    out.mkdir()
    config = OrderingConfig(
        curve=CurveConfig(strategy="curriculum"),
        score="mine",
        score_files=("scores.parquet",),
        memory_mb=128,
        threads=1,
    )
    made = publish_order(table.to_batches(max_chunksize=90), recipe, config, out, [tmp_path / "scores.parquet"])
    assert sorted(p.name for p in out.iterdir()) == [
        "curve.png", "guidelines.json", "part-00000.parquet", "report.json", "shares.png",
    ]  # fmt: skip
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in ("curve.png", "shares.png"))
    order = pq.read_table(out / "part-00000.parquet")
    wanted = dict(zip(scores["doc_id"].to_pylist(), scores["mine"].to_pylist(), strict=True))
    assert order["score"].to_pylist() == [wanted[d] for d in order["doc_id"].to_pylist()]
    figures = {row["figure"].split(":")[0]: row["inside clusters"] for row in made.guidelines[:2]}
    assert figures["boundary"] == pytest.approx(0.95, abs=0.01)
    assert made.guidelines[0]["inside clusters"] == pytest.approx(0.05, abs=0.01)
    assert len(made.guidelines) == 7
    assert json.loads((out / "guidelines.json").read_text()) == made.guidelines
    assert [c.mean_weight for c in made.report.clusters] == [1.0, 1.0]
