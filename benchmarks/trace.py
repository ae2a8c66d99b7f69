"""Lineage: how fast a document is traced in a large corpus, whether the answer is right, and what exports imply.

``python -m benchmarks.trace [--quick]`` prints one JSON object as its last line:

- ``p95_ms``: of 100 random documents of ``multidomain/webmix_dev``, asked for by URL, id and digest in turn, in a
  corpus of 1 million (its passages resampled; 50,000 with ``--quick``) in three snapshots, with two versions of every
  label, five recipes and three training orders. Each answer starts from nothing but the files on the disk (manifests,
  sorted files), in one process; ``command_ms`` is the median of whole ``gem trace`` commands, interpreter included;
  the same in processor time (``p95_cpu_ms``, ``command_cpu_ms``), which a busy machine disturbs less;
- ``mismatches``: answers that differ from a scan of every shard, label table and order;
- ``index_seconds``, ``index_mb``: cost of the sorted files, once; ``domain_ms``: a domain of many thousand documents;
- ``export_share_error``: worst over the trainers of the largest error of a cluster's token share in an export of
  webmix_dev, read back from the written files; ``realised_share_error`` by the draws of the seed where a trainer draws
  at random; ``naive_export_share_error``: the same for the recipe's shares written as they are; ``within_tolerance``:
  whether every cluster of every export is within 0.5 % or one sequence.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks.shared_data import shared_folder
from benchmarks.trace_root import HandMadeRoot, shard_rows, short_digest
from gem_assets.export.config import TRAINERS, ExportConfig
from gem_assets.export.registry import export
from gem_assets.lineage.mixtures import every_mixture, orders_of
from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.ordering.config import CurveConfig, OrderingConfig
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.store import trace_index_folder
from gem_assets.tracing.answer import TracedDocument
from gem_assets.tracing.index import TraceIndex
from gem_assets.tracing.trace import Tracer

SNAPSHOTS = {"2026-01": 0.4, "2026-02": 0.35, "2026-03": 0.25}
ASKED = 100
CHUNK = 20_000


@dataclass(frozen=True)
class Corpus:
    """webmix_dev with its domains as clusters."""

    table: pa.Table
    domains: list[str]
    cluster: npt.NDArray[np.int16]


def load(every: int = 1) -> Corpus:
    """Read webmix_dev, or every n-th document of its large domains."""
    path = shared_folder() / "corpora" / "multidomain" / "webmix_dev.parquet"
    table = pq.read_table(path, columns=["doc_id", "text", "label"])
    names = table.column("label").to_pylist()
    domains = sorted(set(names))
    kept, seen = [], dict.fromkeys(domains, 0)
    for row, name in enumerate(names):
        if seen[name] % every == 0 or seen[name] < 60:
            kept.append(row)
        seen[name] += 1
    table = table.take(pa.array(kept))
    cluster = np.array([domains.index(names[row]) for row in kept], dtype=np.int16)
    return Corpus(table, domains, cluster)


def resampled(corpus: Corpus, snapshot: str, first: int, end: int) -> Iterator[pa.RecordBatch]:
    """Documents first to end of the large corpus: passages over and over, each round at other addresses."""
    ids, size = corpus.table.column("doc_id").to_pylist(), len(corpus.table)
    names = corpus.table.column("label").to_pylist()
    texts = corpus.table.column("text").combine_chunks().cast(pa.large_string())
    for start in range(first, end, CHUNK):
        numbers = range(start, min(start + CHUNK, end))
        rows, rounds = [n % size for n in numbers], [n // size for n in numbers]
        marks = pa.array([f"\n\n{r}" if r else "" for r in rounds], pa.large_string())
        keys = [f"{ids[row]}?{r}" for row, r in zip(rows, rounds, strict=True)]
        yield shard_rows(
            snapshot,
            pc.binary_join_element_wise(texts.take(pa.array(rows)), marks, pa.scalar("", pa.large_string())),
            [short_digest("id " + key) for key in keys],
            [short_digest("text " + key) for key in keys],
            [address(names[row], key) for row, key in zip(rows, keys, strict=True)],
            [names[row] for row in rows],
            start - first,
        )


def address(domain: str, key: str) -> str:
    """A web address for a passage, one site per domain."""
    return f"https://{domain.replace('_', '-')}.example.org/{quote(key)}"


def build(root: Path, corpus: Corpus, documents: int) -> HandMadeRoot:
    """Commit snapshots, two label versions, recipes and orders."""
    made = HandMadeRoot(root)
    k = len(corpus.domains)
    bounds = np.round(np.cumsum([0.0, *SNAPSHOTS.values()]) * documents).astype(int).tolist()
    spans = dict(zip(SNAPSHOTS, pairwise(bounds), strict=True))
    for name, (first, end) in spans.items():
        made.snapshot(name, resampled(corpus, name, first, end), landed=name.encode())
    rng = np.random.default_rng(0)
    ordering = OrderingConfig(curve=CurveConfig(strategy="saw"), score="q_chars")
    for model in ("one", "two"):
        for name, (first, end) in spans.items():
            cluster = corpus.cluster[np.arange(first, end) % len(corpus.cluster)]
            moved = rng.random(end - first) < 0.1
            made.label(name, np.where(moved, (cluster + 1) % k, cluster).astype(np.int16), model)
        made.recipe("uniform", dict.fromkeys(range(k), 1 / k))
        shares = rng.dirichlet(np.full(k, 4.0))
        made.recipe("balanced", dict(enumerate(shares.tolist())))
        made.order("balanced", ordering)
    made.recipe("small", dict(enumerate(shares.tolist())), int(2e7 * documents / 1e6))
    made.order("small", ordering)
    return made


def scanned(made: HandMadeRoot) -> dict[str, list[tuple[Artifact, pa.Table]]]:
    """Everything that a scan goes through, read without the sorted files."""
    store = made.store
    shards = [a for s in store.partitions("raw_shards") for a in store.history("raw_shards", s)]
    labels = [a for s in store.partitions("student_labels") for a in store.history("student_labels", s)]
    orders = [o for m in every_mixture(store) for o in orders_of(store, m)]
    columns = ["doc_id", "url", "content_digest", "file", "offset"]
    return {
        "shards": [
            (a, pa.concat_tables([pq.read_table(p, columns=columns) for p in sorted(a.path.glob("part-*.parquet"))]))
            for a in shards
        ],
        "labels": [
            (a, pa.Table.from_batches(made.scan(a, ["doc_id", "cluster", "confidence", "margin"]))) for a in labels
        ],
        "orders": [
            (o, pa.concat_tables([pq.read_table(p) for p in sorted(o.path.glob("part-*.parquet"))])) for o in orders
        ],
    }


def mismatch(found: TracedDocument, everything: dict[str, list[tuple[Artifact, pa.Table]]], made: HandMadeRoot) -> bool:
    """Whether an answer differs from the scan in any place, label, expectation or position."""

    def rows(kind: str) -> list[tuple[Artifact, list[dict[str, object]]]]:
        matching = [(a, t.filter(pc.equal(t.column("doc_id"), found.doc_id))) for a, t in everything[kind]]
        return [(a, t.to_pylist()) for a, t in matching if t.num_rows]

    places = {
        (a.identity, r["file"], r["offset"], r["url"], r["content_digest"]) for a, rs in rows("shards") for r in rs
    }
    labels = {a.identity: r for a, rs in rows("labels") for r in rs}
    orders = {a.identity: [r["position"] for r in rs] for a, rs in rows("orders")}
    wrong = places != {(p.identity, p.file, p.offset, p.url, p.content_digest) for p in found.places}
    wrong |= {i: (r["cluster"], r["confidence"], r["margin"]) for i, r in labels.items()} != {
        x.identity: (x.cluster, x.confidence, x.margin) for x in found.labels
    }
    expected: dict[str, float] = {}
    for mixture in every_mixture(made.store):
        label = next((labels[str(ref.identity)] for ref in mixture.labels or () if str(ref.identity) in labels), None)
        if label is not None:
            expected[mixture.artifact.identity] = mixture.recipe.entry(int(str(label["cluster"]))).implied_epochs
    wrong |= expected != {x.identity: x.expected for x in found.mixtures}
    told = {o.order: list(o.positions) for x in found.mixtures for o in x.orders if o.times}
    return wrong or told != orders


def trace_figures(corpus: Corpus, documents: int, folder: Path) -> dict[str, object]:
    """Build the corpus, index it, ask, and check."""
    started = time.perf_counter()
    made = build(folder / "root", corpus, documents)
    print(f"{documents:,} documents committed in {time.perf_counter() - started:.0f} s", flush=True)
    cache = trace_index_folder(made.root)
    index = TraceIndex(cache, made.scan)
    rng = np.random.default_rng(1)
    size = len(corpus.table)
    picked = rng.choice(size, ASKED, replace=False) + size * rng.integers(0, documents // size or 1, ASKED)
    keys = [
        f"{corpus.table.column('doc_id')[int(n % size)].as_py()}?{n // size}" for n in np.minimum(picked, documents - 1)
    ]
    started = time.perf_counter()
    Tracer(made.store, index).trace(short_digest("id " + keys[0]))
    index_seconds = time.perf_counter() - started
    queries: list[str] = []
    for number, key in enumerate(keys):
        (document,) = Tracer(made.store, index).trace(short_digest("id " + key)).documents
        queries.append(
            [document.places[0].url or "", document.doc_id, document.places[0].content_digest or ""][number % 3]
        )
    seconds: list[float] = []
    processor: list[float] = []
    answers: list[TracedDocument] = []
    for query in queries:
        started, used = time.perf_counter(), time.process_time()
        found = Tracer(made.store, TraceIndex(cache, made.scan)).trace(query)
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
        answers += found.documents
    everything = scanned(made)
    wrong = sum(mismatch(answer, everything, made) for answer in answers) + abs(len(answers) - ASKED)
    started = time.perf_counter()
    domain = Tracer(made.store, TraceIndex(cache, made.scan)).trace("medical-qa.example.org", most=1)
    domain_seconds = time.perf_counter() - started
    return {
        "documents": documents,
        "asked": ASKED,
        "p95_ms": round(1000 * float(np.percentile(seconds, 95)), 1),
        "median_ms": round(1000 * float(np.median(seconds)), 1),
        "p95_cpu_ms": round(1000 * float(np.percentile(processor, 95)), 1),
        "mismatches": int(wrong),
        **command_figures(made.root, queries[:7]),
        "index_seconds": round(index_seconds, 1),
        "index_mb": round(sum(p.stat().st_size for p in cache.rglob("*") if p.is_file()) / 1e6, 1),
        "domain_ms": round(1000 * domain_seconds),
        "domain_documents": domain.found,
    }  # fmt: skip


def command_figures(root: Path, queries: Sequence[str]) -> dict[str, int]:
    """Median wall and processor time of whole commands, milliseconds."""
    wall: list[float] = []
    used: list[float] = []
    for query in queries:
        command = [sys.executable, "-m", "gem_assets.cli", "trace", query, "--data-root", str(root), "--json"]
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall.append(time.perf_counter() - started)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {
        "command_ms": round(1000 * float(np.median(wall))),
        "command_cpu_ms": round(1000 * float(np.median(used))),
    }


def export_figures(corpus: Corpus, folder: Path) -> dict[str, object]:
    """Export one mixture of the real domains for every trainer and collect what the files imply."""
    tokenizer = folder / "words.json"
    words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    words.save(str(tokenizer))
    texts: Sequence[str] = corpus.table.column("text").to_pylist()
    lengths = np.array([len(text.split()) + 1 for text in texts])
    k = len(corpus.domains)
    tokens = np.bincount(corpus.cluster, weights=lengths, minlength=k).astype(np.int64)
    docs = np.bincount(corpus.cluster, minlength=k)
    # nobody wants twenty patents more than thirty times
    shares = np.minimum(np.random.default_rng(7).dirichlet(np.full(k, 4.0)), 30 * tokens / tokens.sum())
    recipe = Recipe.create(
        "random",
        shares / shares.sum(),
        ClusterSupply(np.arange(k), docs, tokens, 5 * tokens),
        names=dict(enumerate(corpus.domains)),
        taxonomy_version="labels",
        tokenizer="words",
        repetition_cap=100.0,
    )
    table = corpus.table.append_column("cluster", pa.array(corpus.cluster))
    reports = {}
    for trainer in TRAINERS:
        out = folder / trainer
        out.mkdir()
        config = ExportConfig(sequence_length=256)
        reports[trainer] = export(trainer, recipe, table.to_batches(max_chunksize=2000), out, tokenizer, config)
        print(f"{trainer}: {reports[trainer].share_error:.2e}", flush=True)
    per_document = tokens / docs
    return {
        "export_share_error": max(r.share_error for r in reports.values()),
        "realised_share_error": max(r.realised_share_error or 0.0 for r in reports.values()),
        "naive_export_share_error": max(r.naive_share_error or 0.0 for r in reports.values()),
        "within_tolerance": all(r.within_tolerance for r in reports.values()),
        "by_trainer": {name: [r.share_error, r.naive_share_error] for name, r in reports.items()},
        "tokens_per_document": [round(float(per_document.min()), 1), round(float(per_document.max()), 1)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="50,000 documents; exports of a twelfth of webmix_dev")
    parser.add_argument("--documents", type=int, help="documents of the corpus that is traced")
    parser.add_argument("--only", choices=["trace", "export"], help="one of the two parts")
    options = parser.parse_args()
    figures: dict[str, object] = {}
    if options.only != "trace":
        with tempfile.TemporaryDirectory() as folder:
            figures |= export_figures(load(12 if options.quick else 1), Path(folder))
    if options.only != "export":
        documents = options.documents or (50_000 if options.quick else 1_000_000)
        with tempfile.TemporaryDirectory() as folder:
            figures |= trace_figures(load(), documents, Path(folder))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
