"""The written order: complete, in the recipe's shares, on the curve, and the same however it is made."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.ordering.config import CurveConfig, FinalPhase, MetadataPrefix, OrderingConfig
from gem_assets.ordering.draw import draw
from gem_assets.ordering.interleave import interleave
from gem_assets.ordering.plan import RecipeLike, plan_run
from gem_assets.ordering.report import OrderReport
from gem_assets.ordering.training_order import ORDER_SCHEMA, build_order, order_files
from tests.ordering.worlds import Entry, Phase, SmallRecipe, corpus, in_pieces, recipe

SIZES = {0: (3000, 40), 3: (400, 200), 7: (60, 15)}
SHARES = {0: 0.55, 3: 0.35, 7: 0.1}


def build(
    folder: Path,
    *,
    mixture: RecipeLike | None = None,
    rows: int = 512,
    documents: pa.RecordBatch | None = None,
    **fields: Any,
) -> tuple[pa.Table, OrderReport]:
    config = OrderingConfig.model_validate({"score": "q", "memory_mb": 128, "threads": 1} | fields)
    source = corpus(SIZES) if documents is None else documents
    folder.mkdir(exist_ok=True)
    report = build_order(in_pieces(source, rows), mixture or recipe(SHARES, 60_000), config, folder)
    return pa.concat_tables(pq.read_table(p) for p in order_files(folder)), report


def digest(folder: Path) -> str:
    return hashlib.sha256(b"".join(p.read_bytes() for p in order_files(folder))).hexdigest()


def test_written_order_is_that_of_the_operators_in_memory(tmp_path: Path) -> None:
    curve = CurveConfig(strategy="saw", sections=3, layers=3, folding_ratio=0.1, window=30)
    got, report = build(tmp_path, curve=curve, draw_seed=5)
    plan = plan_run(recipe(SHARES, 60_000))
    drawn = draw(
        pa.Table.from_batches([corpus(SIZES)]), dict(zip(plan.clusters.tolist(), plan.targets, strict=True)), 5
    )
    # copies of a document have one score: compare what does not depend on how they tie
    expected = drawn.take(
        pa.array(
            interleave(
                drawn.column("q").to_numpy(),
                drawn.column("cluster").to_numpy(),
                drawn.column("n_tokens").to_numpy(),
                curve.model_copy(update={"window": 0}),
                plan,
            )
        )
    )
    unjittered, _ = build(tmp_path / "plain", curve=curve.model_copy(update={"window": 0}), draw_seed=5)
    assert unjittered.column("doc_id").to_pylist() == expected.column("doc_id").to_pylist()
    key = [("doc_id", "ascending"), ("epoch", "ascending")]
    columns = ["doc_id", "epoch", "cluster", "n_tokens"]
    assert got.sort_by(key).select(columns).equals(drawn.sort_by(key).select(columns).cast(got.select(columns).schema))
    assert got.schema.equals(ORDER_SCHEMA)
    assert got.column("position").to_pylist() == list(range(report.rows))


def test_an_order_stays_what_it_was(tmp_path: Path) -> None:
    got, _ = build(tmp_path, curve=CurveConfig(strategy="saw", sections=3, layers=3, folding_ratio=0.1, window=30))
    rows = [f"{row['doc_id']} {row['epoch']} {row['phase']}" for row in got.to_pylist()]
    # of the code of 2026-12-01; another value needs another CODE_VERSION
    assert hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16] == "0d6975f14b9c8c13"


def test_report_counts_what_was_written(tmp_path: Path) -> None:
    got, report = build(tmp_path)
    tokens, cluster = got.column("n_tokens").to_numpy(), got.column("cluster").to_numpy()
    assert report.tokens == tokens.sum()
    for entry in report.clusters:
        mine = tokens[cluster == entry.cluster]
        assert (entry.tokens, entry.exposures) == (mine.sum(), len(mine))
        assert abs(entry.tokens - entry.target_tokens) <= mine.max() / 2
        assert entry.epochs == pytest.approx(mine.sum() / entry.tokens_available)
        assert entry.most_repeats == got.column("epoch").to_numpy()[cluster == entry.cluster].max() + 1
    assert report.share_error < 0.003
    assert json.loads((tmp_path / "report.json").read_text())["rows"] == report.rows


def test_bytes_do_not_depend_on_input_order_batches_or_threads(tmp_path: Path) -> None:
    source = corpus(SIZES, distinct_scores=False)
    build(tmp_path / "a", documents=source)
    shuffled = source.take(pa.array(np.random.default_rng(1).permutation(source.num_rows)))
    build(tmp_path / "b", documents=shuffled, rows=77, threads=2, memory_mb=400)
    build(tmp_path / "c", documents=source, draw_seed=1)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a") != digest(tmp_path / "c")


def test_ids_that_are_no_digests_travel_as_they_are(tmp_path: Path) -> None:
    source = corpus(SIZES)
    names = pa.array([f"doc #{i}" for i in range(source.num_rows)])
    plain = source.set_column(0, "doc_id", names)
    mixed = source.set_column(0, "doc_id", pa.concat_arrays([source.column(0)[:9], names[9:]]))
    for folder, documents in (("plain", plain), ("mixed", mixed)):
        got, report = build(tmp_path / folder, documents=documents, mixture=recipe(SHARES, 10_000))
        assert set(got.column("doc_id").to_pylist()) <= set(documents.column("doc_id").to_pylist())
        assert report.share_error < 0.02


def test_windows_hold_the_shares(tmp_path: Path) -> None:
    sizes = {0: (6000, 40), 1: (1500, 160)}
    got, report = build(tmp_path, mixture=recipe({0: 0.5, 1: 0.5}, 400_000), documents=corpus(sizes))
    tokens, cluster = got.column("n_tokens").to_numpy(), got.column("cluster").to_numpy()
    assert report.window_share_error < 0.06
    half = np.cumsum(tokens) <= tokens.sum() / 2
    assert tokens[half & (cluster == 0)].sum() / tokens[half].sum() == pytest.approx(0.5, abs=0.002)


def test_curriculum_rises_in_every_cluster_with_repeats_too(tmp_path: Path) -> None:
    got, _ = build(tmp_path, curve=CurveConfig(strategy="curriculum"))
    for c in SHARES:
        inside = got.column("score").to_numpy()[got.column("cluster").to_numpy() == c]
        assert (np.diff(inside) >= 0).all()


def test_passes_walk_the_curve_once_an_epoch(tmp_path: Path) -> None:
    got, _ = build(tmp_path, curve=CurveConfig(strategy="curriculum", ascending=False), repeats="passes")
    of_7 = got.filter(pa.compute.equal(got.column("cluster"), 7))
    epoch, score = of_7.column("epoch").to_numpy(), of_7.column("score").to_numpy()
    assert epoch.max() > 3
    assert (np.diff(epoch) >= 0).all()
    for e in range(int(epoch.max()) + 1):
        assert (np.diff(score[epoch == e]) <= 0).all()


def test_one_curve_over_all_clusters(tmp_path: Path) -> None:
    got, report = build(tmp_path, curve=CurveConfig(strategy="curriculum"), interleave=False)
    assert (np.diff(got.column("score").to_numpy()) >= 0).all()
    assert report.share_error < 0.003
    with pytest.raises(ValueError, match="interleave=true"):
        build(tmp_path / "x", interleave=False, final_phase=FinalPhase(boost={0: 2.0}))


def test_random_order_is_unrelated_to_score(tmp_path: Path) -> None:
    got, _ = build(tmp_path, curve=CurveConfig(strategy="random"))
    position, score = got.column("position").to_numpy(), got.column("score").to_numpy()
    assert abs(np.corrcoef(position, score)[0, 1]) < 0.07
    other, _ = build(tmp_path / "o", curve=CurveConfig(strategy="random", seed=1))
    assert other.column("doc_id").to_pylist() != got.column("doc_id").to_pylist()
    assert sorted(other.column("doc_id").to_pylist()) == sorted(got.column("doc_id").to_pylist())


def test_final_phase_and_metadata_cooldown(tmp_path: Path) -> None:
    got, report = build(
        tmp_path,
        final_phase=FinalPhase(fraction=0.2, boost={3: 3.0}),
        metadata_prefix=MetadataPrefix(cooldown=0.1),
    )
    phase, tokens = got.column("phase").to_numpy(), got.column("n_tokens").to_numpy()
    cluster, metadata = got.column("cluster").to_numpy(), got.column("metadata").to_numpy()
    last = phase == 1
    assert tokens[last].sum() / tokens.sum() == pytest.approx(0.2, abs=0.01)
    assert tokens[last & (cluster == 3)].sum() / tokens[last].sum() == pytest.approx(1.05 / 1.7, abs=0.02)
    assert report.phase_starts == (0, int(last.argmax()))
    assert report.metadata_until == metadata.sum() == np.flatnonzero(metadata)[-1] + 1
    assert tokens[metadata].sum() / tokens.sum() == pytest.approx(0.9, abs=0.01)


def test_rehydration_repeats_what_was_duplicated(tmp_path: Path) -> None:
    source = corpus({0: (2000, 40)})
    got, _ = build(tmp_path, mixture=recipe({0: 1.0}, 120_000), documents=source, rehydrate={1: 1, 3: 2, 5: 4})
    seen = dict.fromkeys(source.column("doc_id").to_pylist(), 0)
    for doc_id in got.column("doc_id").to_pylist():
        seen[doc_id] += 1
    mean = {
        dup: np.mean([seen[d] for d, n in zip(seen, source.column("dup_count").to_pylist(), strict=True) if n == dup])
        for dup in range(1, 7)
    }
    assert mean[2] == pytest.approx(mean[1], rel=0.2)
    assert mean[3] == pytest.approx(2 * mean[1], rel=0.2)
    assert mean[6] == pytest.approx(4 * mean[1], rel=0.2)


def test_documents_that_are_no_candidates_are_counted(tmp_path: Path) -> None:
    source = corpus({0: (50, 40), 9: (30, 10)}).to_pydict()
    source["n_tokens"][source["cluster"].index(0)] = 0
    batch = pa.RecordBatch.from_pydict(source, schema=corpus({0: (1, 1)}).schema)
    _, report = build(tmp_path, mixture=recipe({0: 1.0}, 900), documents=batch)
    assert report.left_out == {"cluster without a share": 30, "no tokens": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": [None, 0.5]}, "no finite q, the first is a"),
        ({"q": [0.5, float("nan")]}, "no finite q, the first is b"),
        ({"q": ["x", "y"]}, "numeric"),
        ({"n_tokens": [5, -1]}, "document b has -1 tokens"),
        ({"n_tokens": [5, 2**31]}, "document b has 2147483648 tokens"),
        ({"doc_id": ["a", None]}, "column doc_id holds 1 nulls"),
        ({"doc_id": ["a", "a"], "n_tokens": [5, 5], "q": [0.5, 0.5]}, "document a comes twice"),
        ({"doc_id": ["ab" * 16] * 2, "n_tokens": [5, 5], "q": [0.5, 0.5]}, "document abab.* comes twice"),
        ({"cluster": [8, 8]}, r"clusters \[0\] have a token share"),
        ({"q": None}, "have no column q"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    columns: dict[str, Any] = {"doc_id": ["a", "b"], "cluster": [0, 0], "n_tokens": [5, 6], "q": [0.1, 0.2]}
    columns |= change
    batch = pa.RecordBatch.from_pydict({k: v for k, v in columns.items() if v is not None})
    with pytest.raises(ValueError, match=message):
        build(tmp_path, mixture=recipe({0: 1.0}, 2**32 if 2**31 in columns["n_tokens"] else 20), documents=batch)
    assert not list(tmp_path.glob(".work*"))


def test_a_corpus_that_shrank_below_the_cap_is_refused(tmp_path: Path) -> None:
    mixture = SmallRecipe([Entry(0, 1.0, cap=2.0)], [Phase(1.0, [1.0])], 10_000)
    with pytest.raises(ValueError, match="its cap is 2"):
        build(tmp_path, mixture=mixture, documents=corpus({0: (50, 40)}))


def test_missing_scores_may_rank_lowest(tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_pydict(
        {"doc_id": ["a", "b", "c"], "cluster": [0] * 3, "n_tokens": [5] * 3, "q": [0.1, None, -7.0]}
    )
    got, _ = build(
        tmp_path,
        mixture=recipe({0: 1.0}, 15),
        documents=batch,
        missing_score="lowest",
        curve=CurveConfig(strategy="curriculum"),
    )
    assert got.column("doc_id").to_pylist() == ["b", "c", "a"]


def test_a_budget_below_every_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="raise the token budget"):
        build(tmp_path, mixture=recipe({3: 1.0}, 1), documents=corpus({3: (5, 400)}, seed=2))
