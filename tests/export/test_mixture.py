"""From a data root to a trainer's folder."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.trace_root import HandMadeRoot
from gem_assets.corpus.text.tokens import token_counter
from gem_assets.export.config import TRAINERS, ExportConfig
from gem_assets.export.mixture import export_mixture, mixture_documents
from gem_assets.export.records import records
from gem_assets.export.report import ExportError, RecipeRefusedError
from gem_assets.lineage.mixtures import Mixture, find_mixture
from gem_assets.ordering.config import FinalPhase, MetadataPrefix
from tests.export.worlds import word_tokenizer
from tests.lineage.conftest import ORDERING, build

CONFIG = ExportConfig(sequence_length=16, memory_mb=128, threads=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> HandMadeRoot:
    return build(tmp_path_factory.mktemp("exported"))


@pytest.fixture
def mixture(made: HandMadeRoot) -> Mixture:
    return find_mixture(made.store, "balanced~0")


def test_documents_are_those_of_the_mixture_with_its_labels(made: HandMadeRoot, mixture: Mixture) -> None:
    batches = list(mixture_documents(made.store, mixture, made.scan, memory_mb=128, threads=1))
    found = {row["doc_id"]: row for batch in batches for row in batch.to_pylist()}
    shard = pq.read_table(made.current("raw_shards", "2026-01").path / "part-00000.parquet").to_pylist()
    assert len(found) == sum(batch.num_rows for batch in batches) == 60
    for number, row in enumerate(shard):
        own = found[row["doc_id"]]
        assert (own["text"], own["url"], own["cluster"]) == (row["text"], row["url"], number % 3)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_trainer_gets_the_shares(made: HandMadeRoot, mixture: Mixture, tmp_path: Path, trainer: str) -> None:
    tokenizer = word_tokenizer(tmp_path / "words.json")
    done = export_mixture(
        made.store, mixture, made.scan, trainer, tmp_path / "out", tokenizer=tokenizer, config=CONFIG, use_order=False
    )
    assert done.report.within_tolerance
    assert [c.target_share for c in done.report.clusters] == pytest.approx([0.2, 0.3, 0.5])
    assert {str(p.relative_to(done.folder)) for p in done.folder.rglob("*") if p.is_file()} == {
        *done.report.files,
        "report.json",
    }
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert "counted with 'estimate'" in done.notes[0]
    with pytest.raises(ExportError, match="not an empty folder"):
        export_mixture(made.store, mixture, made.scan, trainer, tmp_path / "out", tokenizer=tokenizer, config=CONFIG)


def test_the_training_order_is_what_nanochat_reads(made: HandMadeRoot, mixture: Mixture, tmp_path: Path) -> None:
    done = export_mixture(made.store, mixture, made.scan, "nanochat", tmp_path / "out", config=CONFIG)
    order = made.current("training_order/balanced")
    assert done.order is not None
    assert done.order.identity == order.identity
    shown = pq.read_table(order.path / "part-00000.parquet").column("doc_id").to_pylist()
    written = pq.read_table(tmp_path / "out" / "data" / "shard_00000.parquet").column("doc_id").to_pylist()
    assert written == shown


def test_options_of_the_order_reach_the_trainer_or_are_named(
    made: HandMadeRoot, mixture: Mixture, tmp_path: Path
) -> None:
    ordering = ORDERING.model_copy(
        update={
            "final_phase": FinalPhase(fraction=0.2, boost={0: 4.0}),
            "metadata_prefix": MetadataPrefix(cooldown=0.5),
            "rehydrate": {1: 1.0, 2: 2.0},
        }
    )
    root = build(tmp_path / "root")
    root.recipe("balanced", {0: 0.2, 1: 0.3, 2: 0.5}, 1200)
    order = root.order("balanced", ordering)
    mixture = find_mixture(root.store, "balanced")
    written = export_mixture(root.store, mixture, root.scan, "nanochat", tmp_path / "nanochat", config=CONFIG)
    assert (written.order or order).identity == order.identity
    assert written.not_expressed == ()
    boosted = 0.8 * 0.2 + 0.2 * (0.8 / 1.6)
    assert written.report.clusters[0].target_share == pytest.approx(boosted)
    texts = pq.read_table(tmp_path / "nanochat" / "data" / "shard_00000.parquet").column("text").to_pylist()
    with_prefix = Counter(text.startswith("URL: ") for text in texts)
    assert 0.3 < with_prefix[True] / len(texts) < 0.7
    assert not any(text.startswith("URL: ") for text in texts[-len(texts) // 3 :])

    tokenizer = word_tokenizer(tmp_path / "words.json")
    other = export_mixture(
        root.store, mixture, root.scan, "nanotron", tmp_path / "nanotron", tokenizer=tokenizer, config=CONFIG,
        ordering=ordering,
    )  # fmt: skip
    assert other.report.clusters[0].target_share == pytest.approx(boosted)
    assert [line.split(":")[0] for line in other.not_expressed] == [
        "rehydration by duplicate count",
        "metadata prefix",
    ]
    with pytest.raises(RecipeRefusedError, match="one mixture per run and the recipe has 2 phases"):
        export_mixture(root.store, mixture, root.scan, "torchtitan", tmp_path / "x", config=CONFIG, ordering=ordering)
    assert not (tmp_path / "x").exists()


def test_an_old_version_is_exported_with_its_own_labels(made: HandMadeRoot, tmp_path: Path) -> None:
    root = build(tmp_path / "root")
    root.label("2026-01", np.zeros(60, np.int16), model="two")
    root.recipe("balanced", {0: 1.0}, 4000)
    clusters = [
        {c for batch in mixture_documents(root.store, find_mixture(root.store, spec), root.scan)
         for c in batch["cluster"].to_pylist()}
        for spec in ("balanced~1", "balanced")
    ]  # fmt: skip
    assert clusters == [{0, 1, 2}, {0}]


def test_an_order_drawn_by_another_count_says_the_bias_by_cluster_and_the_command_that_has_none(
    made: HandMadeRoot, mixture: Mixture, tmp_path: Path
) -> None:
    tokenizer = word_tokenizer(tmp_path / "my words.json")
    by_order = export_mixture(
        made.store, mixture, made.scan, "nanochat", tmp_path / "a", tokenizer=tokenizer, config=CONFIG
    )
    note = by_order.notes[-1]
    assert f"gem export balanced --to nanochat --tokenizer '{tokenizer}' --no-order" in note
    worst = max(by_order.report.clusters, key=lambda c: abs(c.implied_share / c.target_share - 1))
    assert f"off by cluster: topic {worst.cluster} {worst.implied_share / worst.target_share - 1:+.1%}" in note
    assert by_order.record is not None
    assert by_order.record.share_bias == {
        one.cluster: pytest.approx(one.implied_share / one.target_share - 1) for one in by_order.report.clusters
    }
    assert records(Path(made.store.root))[-1] == by_order.record
    anew = export_mixture(
        made.store, mixture, made.scan, "nanochat", tmp_path / "b", tokenizer=tokenizer, config=CONFIG, use_order=False
    )
    assert anew.report.within_tolerance
    assert not any("--no-order" in line for line in anew.notes)
    assert anew.record is not None
    assert anew.record.share_bias == {}


def test_an_export_by_the_tokenizer_that_the_recipe_was_counted_with_has_nothing_to_say_of_counts(
    tmp_path: Path,
) -> None:
    tokenizer = word_tokenizer(tmp_path / "words.json")
    name, _ = token_counter(str(tokenizer))
    root = build(tmp_path / "root")
    root.recipe("balanced", {0: 0.2, 1: 0.3, 2: 0.5}, 1200, tokenizer=name)
    root.order("balanced", ORDERING)
    mixture = find_mixture(root.store, "balanced")
    renamed = tokenizer.rename(tmp_path / "of our model.json")
    same = export_mixture(root.store, mixture, root.scan, "nanochat", tmp_path / "a", tokenizer=renamed, config=CONFIG)
    assert same.notes == ()
    assert same.record is not None
    assert same.record.share_bias == {}
    namesake = tmp_path / "words.json"
    namesake.write_bytes(renamed.read_bytes() + b" ")
    other = export_mixture(
        root.store, mixture, root.scan, "nanochat", tmp_path / "b", tokenizer=namesake, config=CONFIG
    )
    assert any("counted with" in line for line in other.notes)
