"""Hugging Face `datasets`: one parquet set per cluster, and ``interleave_datasets`` with probabilities.

Unit: documents, drawn at random. So a cluster's probability is the number of its documents that hold its tokens over
the number of all documents of the run; token shares written as they are would be wrong by the ratio of document
lengths. Traps met here: ``first_exhausted`` ends the run with the shortest data set (every data set repeats here and
the run ends by count), the draws scatter (the seed with the least error out of 32 is taken, and its error reported).

Writes ``data/<cluster>/part-*.parquet``, ``mixture.json`` and ``load_mixture.py``.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gem_assets.export.base import (
    Buckets,
    cluster_name,
    data_path,
    document_unit_shares,
    local_path,
    optional_tokenizer,
    select_plan,
    write_clusters,
)
from gem_assets.export.config import ExportConfig
from gem_assets.export.documents import Part
from gem_assets.export.report import ExportReport, build_report
from gem_assets.export.sampling import interleave_counts
from gem_assets.export.textfiles import read_lengths, write_parquet
from gem_assets.ordering.plan import RecipeLike

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

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


def export(
    recipe: RecipeLike,
    documents: Iterable[pa.RecordBatch],
    out: Path,
    tokenizer: Path | None = None,
    config: ExportConfig = ExportConfig(),  # noqa: B008 - frozen
) -> ExportReport:
    """Write a recipe for `datasets`; see :class:`gem_assets.export.base.Exporter`."""
    plan = select_plan(recipe, config, "hf-datasets", phases=False)
    names = [cluster_name(int(c)) for c in plan.clusters]

    def write(folder: Path, parts: Iterator[Part]) -> list[str]:
        written = write_parquet(folder, parts, config.shard_bytes)
        return [data_path(config, folder.name, n) for n in written]

    counted = optional_tokenizer(tokenizer, config)
    files, left_out = write_clusters(documents, plan, config, counted, out, write)
    lengths = [np.concatenate([read_lengths(local_path(config, out, f)) for f in of_one]) for of_one in files]
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
    (out / "mixture.json").write_text(json.dumps(mixture, indent=1) + "\n", encoding="utf-8")
    (out / "load_mixture.py").write_text(_LOADER, encoding="utf-8")

    read = json.loads((out / "mixture.json").read_text(encoding="utf-8"))
    weights = np.array([d["probability"] for d in read["datasets"]])
    stored = [np.concatenate([read_lengths(local_path(config, out, f)) for f in d["files"]]) for d in read["datasets"]]
    implied = tokens_of(stored, weights * read["documents"])
    drawn = interleave_counts(weights.tolist(), read["documents"], read["seed"])
    buckets = Buckets(
        documents=np.array([len(x) for x in stored]), tokens=np.array([int(x.sum()) for x in stored], dtype=np.int64)
    )
    return build_report(
        out,
        trainer="hf-datasets",
        unit="documents, at random",
        sequence_length=config.sequence_length,
        clusters=plan.clusters,
        weights=weights,
        target_tokens=plan.targets,
        implied_tokens=implied,
        documents=buckets.documents,
        tokens_available=buckets.tokens,
        naive_shares=document_unit_shares(plan, buckets),
        naive="the token shares as probabilities",
        realised_tokens=None if drawn is None else tokens_of(stored, drawn.astype(np.float64)),
        usage="from load_mixture import load; load() streams the documents of the run",
        slack=config.sequence_length,
        notes=[
            "implied shares are the expectation; the draws of the seed give the realised error, with one reader: "
            "workers draw with seeds of their own"
        ],
        left_out=left_out,
    )


def documents_for(lengths: IntArray, tokens: float) -> float:
    """How many documents, read in order and over again, hold this many tokens; fractional inside one document."""
    total = int(lengths.sum())
    whole, rest = divmod(tokens, total)
    ends = np.cumsum(lengths)
    at = min(int(np.searchsorted(ends, rest)), len(lengths) - 1)
    return whole * len(lengths) + at + (rest - (ends[at] - lengths[at])) / lengths[at]


def tokens_of(lengths: list[IntArray], documents: FloatArray) -> FloatArray:
    """(K,) tokens of the first documents of each data set, read in order and over again."""
    out = np.zeros(len(lengths))
    for i, (x, n) in enumerate(zip(lengths, documents.tolist(), strict=True)):
        whole, rest = divmod(n, len(x))
        ends = np.concatenate(([0], np.cumsum(x)))
        out[i] = whole * ends[-1] + np.interp(rest, np.arange(len(ends)), ends)
    return out


def _best_seed(probabilities: FloatArray, total: int, lengths: list[IntArray], targets: FloatArray, seed: int) -> int:
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
