"""Ordering: reference orders reproduced, and the cost of a training order beside a plain sort.

``python -m benchmarks.order [--quick]`` prints one JSON object as its last line:

- ``golden_mismatches``: of the reference's 782 orders, how many differ (null without ../shared);
- ``over_plain_sort``: wall time of a whole training order (draw, SAW curve in each of 64 clusters, merge, parquet) of
  10 million documents over DuckDB's external sort of the same file by the score column, parquet to parquet, with the
  same memory limit and threads; ``cpu_over_plain_sort`` in processor seconds, which a busy machine disturbs less;
- ``peak_mb``: peak resident memory of the training order, in a process of its own; ``plain_sort_peak_mb`` beside it;
- ``operator_over_argsort``: the same for the operators in memory, over numpy's stable argsort.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.mixing.recipe import Recipe
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.ordering.config import CurveConfig, OrderingConfig, Strategy
from gem_assets.ordering.external import read_batches
from gem_assets.ordering.operators import order
from gem_assets.ordering.training_order import build_order

CLUSTERS = 64
MEMORY_MB = 1024
THREADS = 2
BATCH = 131_072

REFERENCE: dict[str, Strategy] = {
    "shuffle": "random",
    "sorting": "curriculum",
    "folding": "folding",
    "zigzag": "zigzag",
    "segment": "segment",
    "stair": "stair",
    "saw": "saw",
}
NAMES = {
    "window_size": "window",
    "folding_layer": "layers",
    "zigzag_layer": "layers",
    "num_sections": "sections",
    "x_pct": "front_percent",
    "y_pct": "back_percent",
}


def golden_mismatches(shared: Path) -> int | None:
    path = shared / "golden" / "ordering" / "ordering_head.json"
    if not path.is_file():
        return None
    reference = json.loads(path.read_text())
    wrong = 0
    for case in reference["cases"]:
        params = {NAMES.get(k, k): v for k, v in case["params"].items()}
        if not (case["method"] == "sorting" and params.pop("use_gumbel", False)):
            params.pop("temperature", None)
        params.pop("use_gumbel", None)
        config = CurveConfig(strategy=REFERENCE[case["method"]], **params)
        wrong += order(reference["inputs"][case["input"]], config).tolist() != case["order"]
    return wrong


def documents(rows: int) -> Iterator[pa.RecordBatch]:
    """Documents with log-normal lengths and long-tailed cluster sizes."""
    rng = np.random.default_rng(0)
    sizes = 1 / np.arange(1, CLUSTERS + 1)
    for start in range(0, rows, BATCH):
        n = min(BATCH, rows - start)
        words = np.frombuffer(rng.bytes(16 * n), dtype="S16")
        yield pa.record_batch(
            {
                "doc_id": pa.array([w.ljust(16, b"\0").hex() for w in words.tolist()]),
                "cluster": pa.array(rng.choice(CLUSTERS, n, p=sizes / sizes.sum()).astype(np.int16)),
                "n_tokens": pa.array(np.maximum(1, rng.lognormal(6, 1, n)).astype(np.int64)),
                "q": pa.array(rng.normal(size=n).astype(np.float32)),
            }
        )


def mixture(source: Path) -> Recipe:
    """Square-root temperature over what there is, as many tokens as there are."""
    docs, tokens = np.zeros(CLUSTERS, dtype=np.int64), np.zeros(CLUSTERS)
    for batch in read_batches(source, ["cluster", "n_tokens"]):
        cluster = batch.column("cluster").to_numpy()
        docs += np.bincount(cluster, minlength=CLUSTERS)
        tokens += np.bincount(cluster, weights=batch.column("n_tokens").to_numpy(), minlength=CLUSTERS)
    whole = tokens.astype(np.int64)
    return Recipe.create(
        "temperature",
        np.sqrt(tokens) / np.sqrt(tokens).sum(),
        ClusterSupply(np.arange(CLUSTERS), docs, whole, 4 * whole),
        names={},
        taxonomy_version="benchmark",
        tokenizer="none",
        repetition_cap=100.0,
    )


def training_order(source: Path, out: Path) -> None:
    config = OrderingConfig(
        score="q",
        curve=CurveConfig(strategy="saw", sections=3, layers=3, folding_ratio=0.1, window=1000),
        memory_mb=MEMORY_MB,
        threads=THREADS,
    )
    build_order(read_batches(source), mixture(source), config, out)


def plain_sort(source: Path, out: Path) -> None:
    limits = {"memory_limit": f"{MEMORY_MB}MiB", "threads": THREADS, "temp_directory": str(out)}
    with duckdb.connect(config=limits) as connection:
        connection.execute("SET enable_progress_bar = false")
        target = out / "sorted.parquet"
        connection.execute(
            f"COPY (SELECT * FROM '{source}' ORDER BY q) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
        )


def measured(work: Callable[[Path, Path], None], source: Path) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak MiB of the work in a fresh process."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(work, source, send))
    process.start()
    send.close()
    result = receive.recv()
    process.join()
    return result


def _measure(work: Callable[[Path, Path], None], source: Path, send: object) -> None:
    with tempfile.TemporaryDirectory(dir=source.parent) as out:
        start = time.perf_counter()
        work(source, Path(out))
        seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    send.send((seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024))  # type: ignore[attr-defined]


def operators_over_argsort(rows: int) -> dict[str, float]:
    scores = np.random.default_rng(1).normal(size=rows)
    order(scores[:1000], CurveConfig(strategy="random"))
    start = time.perf_counter()
    np.argsort(scores, kind="stable")
    plain = time.perf_counter() - start
    ratios: dict[str, float] = {}
    for strategy in REFERENCE.values():
        start = time.perf_counter()
        order(scores, CurveConfig(strategy=strategy, layers=3, folding_ratio=0.1))
        ratios[strategy] = round((time.perf_counter() - start) / plain, 2)
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="1 million documents instead of 10 million")
    parser.add_argument("--documents", type=int, help="number of documents")
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    options = parser.parse_args()
    rows = options.documents or (1_000_000 if options.quick else 10_000_000)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "documents.parquet"
        batches = documents(rows)
        first = next(batches)
        with pq.ParquetWriter(source, first.schema, use_dictionary=False) as writer:
            writer.write_batch(first)
            for batch in batches:
                writer.write_batch(batch)
        plain, plain_cpu, plain_mb = measured(plain_sort, source)
        print(f"plain sort of {rows:,} documents: {plain:.1f} s, {plain_mb:.0f} MiB", flush=True)
        seconds, cpu, peak_mb = measured(training_order, source)
        print(f"training order: {seconds:.1f} s, {peak_mb:.0f} MiB", flush=True)
    result = {
        "documents": rows,
        "golden_mismatches": golden_mismatches(options.shared),
        "over_plain_sort": round(seconds / plain, 2),
        "cpu_over_plain_sort": round(cpu / plain_cpu, 2),
        "seconds": round(seconds, 1),
        "plain_sort_seconds": round(plain, 1),
        "peak_mb": round(peak_mb),
        "plain_sort_peak_mb": round(plain_mb),
        "operator_over_argsort": operators_over_argsort(min(rows, 10_000_000)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
