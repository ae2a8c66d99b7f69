"""Hugging Face `datasets`: one parquet set per cluster, and ``interleave_datasets`` with probabilities.

Unit: documents, drawn at random. So a cluster's probability is the number of its documents that hold its tokens over
the number of all documents of the run; token shares written as they are would be wrong by the ratio of document
lengths. Traps met here: ``first_exhausted`` ends the run with the shortest data set (every data set repeats here and
the run ends by count), the draws scatter (the seed with the least error out of 32 is taken, and its error reported).

Writes ``data/<cluster>/part-*.parquet``, ``mixture.json`` and ``load_mixture.py``.
"""

import json
from typing import Any

import numpy as np

from gem_assets.export.base import Buckets, ExportJob, Format
from gem_assets.export.report import ExportReport
from gem_assets.export.sampling import interleave_counts
from gem_assets.export.textfiles import read_lengths, write_parquet
from gem_assets.types import Floats, Ints

_SEEDS = 32
_TRIED_DRAWS = 20_000_000

_LOADER = '''"""Load this mixture as one streaming data set."""

import json
from pathlib import Path

from datasets import IterableDataset, interleave_datasets, load_dataset

HERE = Path(__file__).resolve().parent


def load() -> IterableDataset:
    """Documents of the run, drawn by the probabilities of mixture.json."""
    mixture = json.loads((HERE / "mixture.json").read_text())
    parts = []
    for part in mixture["datasets"]:
        files = [str(HERE / f) for f in part["files"]]
        parts.append(load_dataset("parquet", data_files=files, split="train", streaming=True).repeat(None))
    mixed = interleave_datasets(
        parts,
        probabilities=[d["probability"] for d in mixture["datasets"]],
        seed=mixture["seed"],
        stopping_strategy=mixture["stopping_strategy"],
    )
    return mixed.take(mixture["documents"])
'''


def write(job: ExportJob) -> ExportReport:
    """Write a recipe for `datasets`, read it back, and report."""
    plan, config, names = job.plan, job.config, job.names
    files = job.write_clusters(
        lambda folder, parts: job.paths(folder, write_parquet(folder, parts, config.shard_bytes))
    )
    lengths = [_lengths(job, of_one) for of_one in files]
    wanted = np.array([documents_for(x, t) for x, t in zip(lengths, plan.targets, strict=True)])
    total = max(1, round(float(wanted.sum())))
    probabilities = wanted / wanted.sum()
    seed = _best_seed(probabilities, total, lengths, plan.targets, config.seed)
    mixture: dict[str, Any] = {
        "datasets": [
            {"name": names[i], "files": files[i], "probability": float(probabilities[i])} for i in range(len(names))
        ],
        "seed": seed,
        "stopping_strategy": "first_exhausted",
        "documents": total,
    }
    (job.out / "mixture.json").write_text(json.dumps(mixture, indent=1) + "\n", encoding="utf-8")
    (job.out / "load_mixture.py").write_text(_LOADER, encoding="utf-8")

    read = json.loads((job.out / "mixture.json").read_text(encoding="utf-8"))
    weights = np.array([d["probability"] for d in read["datasets"]])
    stored = [_lengths(job, d["files"]) for d in read["datasets"]]
    implied = tokens_of(stored, weights * read["documents"])
    drawn = interleave_counts(weights.tolist(), read["documents"], read["seed"])
    buckets = Buckets(
        documents=np.array([len(x) for x in stored]), tokens=np.array([int(x.sum()) for x in stored], dtype=np.int64)
    )
    return job.report(
        buckets,
        weights,
        implied,
        naive_shares=job.document_unit_shares(buckets),
        naive="the token shares as probabilities",
        realised_tokens=None if drawn is None else tokens_of(stored, drawn.astype(np.float64)),
        usage="from load_mixture import load; load() streams the documents of the run",
        slack=config.sequence_length,
        notes=[
            "implied shares are the expectation; the draws of the seed give the realised error, with one reader: "
            "workers draw with seeds of their own"
        ],
    )


def _lengths(job: ExportJob, files: list[str]) -> Ints:
    """(n,) token counts of the documents in the files of one cluster."""
    return np.concatenate([read_lengths(job.local_path(file)) for file in files])


def documents_for(lengths: Ints, tokens: float) -> float:
    """How many documents, read in order and over again, hold this many tokens; fractional inside one document."""
    total = int(lengths.sum())
    whole, rest = divmod(tokens, total)
    ends = np.cumsum(lengths)
    at = min(int(np.searchsorted(ends, rest)), len(lengths) - 1)
    return whole * len(lengths) + at + (rest - (ends[at] - lengths[at])) / lengths[at]


def tokens_of(lengths: list[Ints], documents: Floats) -> Floats:
    """(K,) tokens of the first documents of each data set, read in order and over again."""
    out = np.zeros(len(lengths))
    for i, (x, n) in enumerate(zip(lengths, documents.tolist(), strict=True)):
        whole, rest = divmod(n, len(x))
        ends = np.concatenate(([0], np.cumsum(x)))
        out[i] = whole * ends[-1] + np.interp(rest, np.arange(len(ends)), ends)
    return out


def _best_seed(probabilities: Floats, total: int, lengths: list[Ints], targets: Floats, seed: int) -> int:
    """Of some seeds from `seed` on, the one whose draws come nearest to the shares."""
    shares = targets / targets.sum()
    best, least = seed, np.inf
    for tried in range(seed, seed + max(1, min(_SEEDS, _TRIED_DRAWS // total))):
        counts = interleave_counts(probabilities.tolist(), total, tried)
        if counts is None:
            return seed
        tokens = tokens_of(lengths, counts.astype(np.float64))
        error = float(np.abs(tokens / tokens.sum() - shares).max())
        if error < least:
            best, least = tried, error
    return best


FORMAT = Format(
    write,
    "documents, at random",
    whole_sequences=False,
    not_in_paths=("*?[]", "the trainer expands patterns in paths"),
)
