"""Speed and agreement of the student against fastText: ``python -m benchmarks.student [--quick]``.

The teacher is GEM with 24 clusters on the default embedding of four corpora (web pages, short news, Reuters, a
26-domain mix); a fifth of the documents is held out by the hash of their id. Both labellers learn from the same
documents, read the same first characters and run in one thread, in turns; speed is per CPU second. fastText is a
baseline of this file only (``pip install fasttext-numpy2``); without it its columns are missing. The last line is one
JSON object.
"""

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from gem_assets.embedding.config import EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder
from gem_assets.student.config import StudentConfig
from gem_assets.student.labeller import StudentLabeller
from gem_assets.student.report import agreement_report, held_out_mask
from gem_assets.teacher.gem import GemTeacher

CORPORA = {
    "web pages": "labeled/web_topics_formats.parquet",
    "short news": "labeled/ag_news_test.parquet",
    "reuters": "labeled/reuters21578.parquet",
    "webmix": "multidomain/webmix_dev.parquet",
}
FASTTEXT = {"unigrams, dim 100": (1, 100), "bigrams, dim 32": (2, 32)}


@dataclass(frozen=True)
class Task:
    """Documents with the teacher's labels, split."""

    table: pa.Table
    labels: np.ndarray
    responsibilities: Any
    train: np.ndarray
    test: np.ndarray

    def texts(self, rows: np.ndarray) -> pa.ChunkedArray:
        """Those documents in one chunk, as a scan of a parquet file gives them."""
        return pa.chunked_array([self.table["text"].take(pa.array(rows)).combine_chunks().cast(pa.large_string())])


def make_task(folder: Path, per_corpus: int | None, k: int) -> Task:
    """Read the corpora, embed them and let the teacher label them."""
    tables = []
    for source, file in CORPORA.items():
        table = pq.read_table(folder / file)
        lang = table["lang"] if "lang" in table.column_names else pa.array(["en"] * len(table))
        table = pa.table(
            {
                "doc_id": pc.binary_join_element_wise(source, table["doc_id"], "/"),
                "text": table["text"],
                "lang": lang,
                "source": [source] * len(table),
            }
        )
        if per_corpus:
            table = table.take(pa.array(np.random.default_rng(0).permutation(len(table))[:per_corpus]))
        tables.append(table)
    table = pa.concat_tables(tables)
    vectors = fit_embedder(table["text"], EmbeddingConfig()).transform(table["text"])
    teacher = GemTeacher(k=k).fit(vectors)
    held_out = held_out_mask(table["doc_id"], 0.2, 0, strata=teacher.labels_)
    return Task(
        table,
        np.asarray(teacher.labels_),
        teacher.responsibilities_,
        np.flatnonzero(~held_out),
        np.flatnonzero(held_out),
    )


def fasttext_lines(texts: pa.ChunkedArray, max_chars: int) -> list[str]:
    """FastText wants words apart from punctuation, in lower case, and no line breaks."""
    return [" ".join(re.findall(r"\w+|[^\w\s]", (t or "")[:max_chars].lower())) for t in texts.to_pylist()]


def train_fasttext(lines: list[str], labels: np.ndarray, word_ngrams: int, dim: int) -> Any:
    """Supervised fastText, softmax loss."""
    import fasttext

    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.writelines(f"__label__{label} {line}\n" for label, line in zip(labels, lines, strict=True))
        file.flush()
        return fasttext.train_supervised(
            file.name,
            dim=dim,
            wordNgrams=word_ngrams,
            lr=0.5,
            epoch=10,
            minCount=2,
            bucket=500_000,
            thread=1,
            verbose=0,
        )


def in_turns(jobs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Least CPU seconds of each job, run in turns so that a busy machine slows all of them."""
    seconds = {name: float("inf") for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def main() -> None:
    """Print the tables and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3,000 documents a corpus, one fastText setting")
    parser.add_argument("--clusters", type=int, default=24)
    parser.add_argument("--max-chars", type=int, default=StudentConfig().max_chars)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    folder = Path(os.environ.get("GEM_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "corpora"
    if not folder.is_dir():
        raise SystemExit(f"no corpora in {folder}; set GEM_SHARED to the folder that holds them")
    torch.set_num_threads(1)
    task = make_task(folder, 3000 if args.quick else None, args.clusters)
    config = StudentConfig(max_chars=args.max_chars)
    test_texts = task.texts(task.test)
    print(f"{len(task.train)} training and {len(task.test)} test documents, {args.clusters} clusters")

    start = time.perf_counter()
    student = StudentLabeller.fit(
        task.texts(task.train),
        task.labels[task.train],
        task.responsibilities[task.train],
        config,
        n_clusters=args.clusters,
    )
    fit_s = time.perf_counter() - start
    source = task.table["source"].take(pa.array(task.test))
    prediction = student.predict(test_texts)
    report = agreement_report(
        task.labels[task.test],
        prediction,
        args.clusters,
        n_bytes=pc.binary_length(task.table["text"]).to_numpy()[task.test],
        groups={"source": source, "lang": task.table["lang"].take(pa.array(task.test))},
    )
    print(f"student: fit {fit_s:.1f} s, " + ", ".join(f"{k} {v:.4f}" for k, v in report.summary().items()))
    right = prediction.cluster == task.labels[task.test]
    surest = np.argsort(prediction.margin)[len(right) // 10 :]
    escalated = 0.1 + right[surest].sum() / len(right)
    print(f"with the least sure tenth sent to the teacher: agreement {escalated:.4f}")
    for row in report.groups.to_pylist():
        if row["by"] != "cluster":
            print(f"  {row['by']:7s} {row['group']:12s} n {row['n_documents']:6d} agreement {row['agreement']:.3f}")

    jobs: dict[str, Callable[[], object]] = {"student": lambda: student.predict(test_texts)}
    agreement: dict[str, float] = {}
    try:
        import fasttext  # noqa: F401
    except ImportError:
        print("fastText is not installed (pip install fasttext-numpy2): no baseline in this run")
    else:
        lines = {
            name: fasttext_lines(task.texts(rows), config.max_chars)
            for name, rows in (("train", task.train), ("test", task.test))
        }
        truth = task.labels[task.test]
        for name, (ngrams, dim) in list(FASTTEXT.items())[-1 if args.quick else 0 :]:
            model = train_fasttext(lines["train"], task.labels[task.train], ngrams, dim)
            found = np.array([int(label[0].removeprefix("__label__")) for label in model.predict(lines["test"])[0]])
            agreement[name] = float((found == truth).mean())
            by_source = {s: float((found == truth)[np.array(source) == s].mean()) for s in CORPORA}
            print(f"fastText {name}: agreement {agreement[name]:.4f}", {s: round(v, 3) for s, v in by_source.items()})
            jobs[name] = lambda model=model: model.predict(lines["test"])
    seconds = in_turns(jobs, args.repeats)
    n, megabytes = len(task.test), test_texts.nbytes / 1e6
    for name, least in seconds.items():
        print(f"{name:20s} {n / least:10.0f} docs/s {megabytes / least:8.1f} MB/s")
    best = max(agreement, key=lambda name: agreement[name], default=None)
    result = {
        "benchmark": "student",
        "n_train": len(task.train),
        "n_test": n,
        "max_chars": config.max_chars,
        "docs_per_s_core": round(n / seconds["student"]),
        "mb_per_s_core": round(megabytes / seconds["student"], 1),
        "agreement": round(report.agreement, 4),
        "confident_agreement": round(report.confident_agreement, 4),
        "agreement_escalating_a_tenth": round(float(escalated), 4),
        "share_drift": round(report.share_drift, 4),
        "calibration_error": round(report.calibration_error, 4),
        "fit_s": round(fit_s, 1),
        "fasttext_agreement": round(agreement[best], 4) if best else None,
        "docs_per_s_over_fasttext": round(seconds[best] / seconds["student"], 2) if best else None,
        "per_source": {
            row["group"]: round(row["agreement"], 4) for row in report.groups.to_pylist() if row["by"] == "source"
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
