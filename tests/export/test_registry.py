"""What every exporter keeps: the recipe's token shares, refusals with reasons, bytes that depend on the input alone."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets import export as package
from gem_assets.export import registry
from gem_assets.export.config import TRAINERS, ExportConfig
from gem_assets.export.registry import export
from gem_assets.export.report import ExportError, ExportReport, RecipeRefusedError
from tests.export.worlds import LENGTH, SHARES, SIZES, World, word_tokenizer
from tests.ordering.worlds import recipe

CONFIG = ExportConfig(sequence_length=LENGTH, memory_mb=128, threads=1)
PHASED = {"megatron", "nanotron", "levanter", "nanochat"}
DOCUMENT_UNIT = {"mosaicml", "hf-datasets", "torchtitan", "nanochat"}
NEEDS_TOKENIZER = {"megatron", "olmo-core", "mosaicml", "nanotron"}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.mark.parametrize("trainer", TRAINERS)
def test_files_imply_the_recipes_token_shares(world: World, tmp_path: Path, trainer: str) -> None:
    report = export(trainer, world.mixture, world.batches(), tmp_path, world.tokenizer, CONFIG)
    assert report.within_tolerance
    assert report.share_error < 0.005
    assert [c.cluster for c in report.clusters] == list(SHARES)
    for entry in report.clusters:
        count, _ = SIZES[entry.cluster]
        assert entry.documents == count
        assert entry.implied_share == pytest.approx(SHARES[entry.cluster], abs=0.005)
        assert entry.epochs == pytest.approx(entry.implied_tokens / entry.tokens_available)
        assert (entry.exhausted_at is not None) == (entry.epochs > 1)
    assert report.clusters[3].exhausted_at == pytest.approx(1 / report.clusters[3].epochs)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["share_error"] == report.share_error
    assert set(report.files) == {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} - {
        "report.json"
    }


@pytest.mark.parametrize("trainer", sorted(DOCUMENT_UNIT))
def test_plain_export_in_documents_is_wrong_by_the_lengths(world: World, tmp_path: Path, trainer: str) -> None:
    report = export(trainer, world.mixture, world.batches(), tmp_path, world.tokenizer, CONFIG)
    length = {c.cluster: c.tokens_available / c.documents for c in report.clusters}
    if trainer == "mosaicml":
        # whole sequences only
        length = {c: world_length(world, c) for c in SHARES}
    wrong = {c: s * length[c] for c, s in SHARES.items()}
    expected = max(abs(w / sum(wrong.values()) - SHARES[c]) for c, w in wrong.items())
    assert report.naive_share_error == pytest.approx(expected)
    assert report.naive_share_error > 20 * report.share_error


def world_length(world: World, cluster: int) -> float:
    tokens = world.documents.column("n_tokens").to_numpy()[world.documents.column("cluster").to_numpy() == cluster]
    return float(tokens.mean() + 1)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_bytes_do_not_depend_on_the_order_of_documents(world: World, tmp_path: Path, trainer: str) -> None:
    shuffled = world.documents.take(pa.array(np.random.default_rng(3).permutation(len(world.documents))))
    for name, table, threads in (("a", world.documents, 1), ("b", shuffled, 2)):
        (tmp_path / name).mkdir()
        config = CONFIG.model_copy(update={"threads": threads, "tokenizer_name": "words"})
        export(trainer, world.mixture, table.to_batches(max_chunksize=200), tmp_path / name, world.tokenizer, config)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


@pytest.mark.parametrize("trainer", TRAINERS)
def test_phases_are_kept_or_refused(world: World, tmp_path: Path, trainer: str) -> None:
    first, last = [0.35, 0.45, 0.15, 0.05], [0.1, 0.2, 0.4, 0.3]
    mean = {c: 0.8 * a + 0.2 * b for c, a, b in zip(SHARES, first, last, strict=True)}
    mixture = recipe(mean, 200_000, (0.8, first), (0.2, last))
    if trainer in PHASED:
        report = export(trainer, mixture, world.batches(), tmp_path, world.tokenizer, CONFIG)
        assert [c.implied_share for c in report.clusters] == pytest.approx(list(mean.values()), abs=0.006)
        return
    with pytest.raises(RecipeRefusedError, match="one mixture per run and the recipe has 2 phases"):
        export(trainer, mixture, world.batches(), tmp_path, world.tokenizer, CONFIG)
    config = CONFIG.model_copy(update={"phase": 1})
    report = export(trainer, mixture, world.batches(), tmp_path, world.tokenizer, config)
    assert [c.target_share for c in report.clusters] == pytest.approx(last)
    assert report.token_budget == pytest.approx(40_000)
    assert report.within_tolerance


@pytest.mark.parametrize("trainer", sorted(set(TRAINERS) - {"hf-datasets", "nanochat"}))
def test_a_cluster_that_would_vanish_is_refused(world: World, tmp_path: Path, trainer: str) -> None:
    mixture = recipe({0: 0.4, 2: 0.3999, 5: 0.2, 9: 0.0001}, 40_000)
    with pytest.raises(RecipeRefusedError, match=r"clusters \[9\].* would vanish"):
        export(trainer, mixture, world.batches(), tmp_path, world.tokenizer, CONFIG)


@pytest.mark.parametrize("trainer", sorted(set(TRAINERS) - {"hf-datasets", "nanochat"}))
def test_a_cluster_shorter_than_a_sequence_is_refused(world: World, tmp_path: Path, trainer: str) -> None:
    config = CONFIG.model_copy(update={"sequence_length": 4096})
    with pytest.raises(RecipeRefusedError, match=r"clusters \[9\].* hold"):
        export(trainer, recipe(SHARES, 400_000), world.batches(), tmp_path, world.tokenizer, config)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_documents_without_share_or_text_are_counted(world: World, tmp_path: Path, trainer: str) -> None:
    mixture = recipe({0: 0.5, 2: 0.5}, 20_000)
    texts = world.documents.column("text").to_pylist()
    first = world.documents.column("cluster").to_pylist().index(0)
    texts[first] = ""
    table = world.documents.set_column(2, "text", pa.array(texts, pa.large_string()))
    report = export(trainer, mixture, table.to_batches(), tmp_path, world.tokenizer, CONFIG)
    assert report.left_out == {"cluster without a share": SIZES[5][0] + SIZES[9][0], "no text": 1}


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_cluster_without_documents_is_named(world: World, tmp_path: Path, trainer: str) -> None:
    mixture = recipe({0: 0.5, 77: 0.5}, 20_000)
    with pytest.raises(ValueError, match=r"clusters \[77\]"):
        export(trainer, mixture, world.batches(), tmp_path, world.tokenizer, CONFIG)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_tokens_of_the_table_stand_in_for_a_tokenizer_where_text_is_written(
    world: World, tmp_path: Path, trainer: str
) -> None:
    if trainer in NEEDS_TOKENIZER:
        with pytest.raises(ValueError, match="JSON file"):
            export(trainer, world.mixture, world.batches(), tmp_path, None, CONFIG)
        return
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    counted = export(trainer, world.mixture, world.batches(), tmp_path / "a", None, CONFIG)
    encoded = export(trainer, world.mixture, world.batches(), tmp_path / "b", world.tokenizer, CONFIG)
    assert counted.clusters == encoded.clusters


def test_bad_input_is_named(world: World, tmp_path: Path) -> None:
    batch = world.documents.to_batches()[0]
    for number, (documents, message) in enumerate(
        [
            (batch.drop_columns(["text"]), "no column text"),
            (pa.concat_tables([world.documents.slice(0, 3)] * 2).to_batches()[0], "comes twice"),
            (batch.set_column(0, "doc_id", pa.nulls(len(batch), pa.string())), "column doc_id holds"),
        ]
    ):
        out = tmp_path / str(number)
        out.mkdir()
        rows = [documents] if number != 1 else pa.concat_tables([world.documents] * 2).to_batches()
        with pytest.raises(ValueError, match=message):
            export("olmo-core", world.mixture, rows, out, world.tokenizer, CONFIG)
    with pytest.raises(ValueError, match="there is megatron"):
        export("caffe", world.mixture, world.batches(), tmp_path, world.tokenizer, CONFIG)
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    with pytest.raises(ValueError, match=r"broken.json is not"):
        export("megatron", world.mixture, world.batches(), tmp_path, broken, CONFIG)
    with pytest.raises(ValueError, match="eos_token"):
        export(
            "megatron",
            world.mixture,
            world.batches(),
            tmp_path,
            world.tokenizer,
            CONFIG.model_copy(update={"eos_token": "<nothing>"}),
        )


def webmix(path: Path, every: int) -> pa.Table:
    table = pq.read_table(path / "multidomain" / "webmix_dev.parquet", columns=["doc_id", "text", "label"])
    labels = sorted(set(table.column("label").to_pylist()))
    cluster = np.array([labels.index(x) for x in table.column("label").to_pylist()], dtype=np.int16)
    seen = dict.fromkeys(range(len(labels)), 0)
    kept = []
    for row, c in enumerate(cluster.tolist()):
        # small domains stay whole, so that they hold a sequence
        if seen[c] % every == 0 or seen[c] < 60:
            kept.append(row)
        seen[c] += 1
    return table.append_column("cluster", pa.array(cluster)).take(pa.array(kept))


def check_webmix(table: pa.Table, tmp_path: Path, trainer: str) -> ExportReport:
    tokenizer = word_tokenizer(tmp_path / "tokenizer.json")
    words = np.array([len(t.split()) for t in table.column("text").to_pylist()])
    cluster = table.column("cluster").to_numpy()
    rng = np.random.default_rng(7)
    share = rng.dirichlet(np.full(int(cluster.max()) + 1, 4.0))
    # nobody wants twenty patents more than thirty times
    cap = 30 * np.bincount(cluster, weights=words) / words.sum()
    share = np.minimum(share, cap)
    share /= share.sum()
    mixture = recipe(dict(enumerate(share.tolist())), int(words.sum()))
    out = tmp_path / "out"
    out.mkdir()
    config = ExportConfig(sequence_length=256, memory_mb=256, threads=1)
    report = export(trainer, mixture, table.to_batches(max_chunksize=2000), out, tokenizer, config)
    assert report.within_tolerance, [c for c in report.clusters if not c.within_tolerance]
    assert report.share_error < 0.005
    return report


@pytest.mark.parametrize("trainer", TRAINERS)
def test_real_domains_keep_their_shares(shared_corpora: Path, tmp_path: Path, trainer: str) -> None:
    report = check_webmix(webmix(shared_corpora, 16), tmp_path, trainer)
    if trainer in DOCUMENT_UNIT:
        assert report.naive_share_error is not None
        assert report.naive_share_error > 0.02


# one trainer that counts sequences and one that counts documents; benchmarks.trace exports all of it to all of them
@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["levanter", "mosaicml"])
def test_the_whole_real_corpus_keeps_its_shares(shared_corpora: Path, tmp_path: Path, trainer: str) -> None:
    check_webmix(webmix(shared_corpora, 1), tmp_path, trainer)


#: An exporter: this one file, its test, and its name in `TRAINERS`.
INVENTED = """
from gem_assets.export.base import Format
from gem_assets.export.textfiles import write_jsonl

def write(job):
    return job.write_clusters(lambda folder, parts: write_jsonl(folder, parts, job.config.shard_bytes, compress=False))

FORMAT = Format(write, "holes", phases=True)
"""


def test_a_module_and_its_name_are_all_that_a_new_export_takes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "paper_tape.py").write_text(INVENTED)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    (tmp_path / "out").mkdir()
    with pytest.raises(ExportError, match="no export for 'paper-tape'; there is megatron, "):
        export("paper-tape", world.mixture, world.batches(), tmp_path / "out", world.tokenizer, CONFIG)
    monkeypatch.setattr(registry, "TRAINERS", (*TRAINERS, "paper-tape"))
    try:
        export("paper-tape", world.mixture, world.batches(), tmp_path / "out", world.tokenizer, CONFIG)
    finally:
        sys.modules.pop("gem_assets.export.paper_tape", None)
    written = {p.name for p in (tmp_path / "out" / "data").iterdir() if any(p.iterdir())}
    assert written == {f"cluster_{cluster:05d}" for cluster in SHARES}
