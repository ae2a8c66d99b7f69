"""nanotron: datatrove token files in one folder per cluster, and ``data_stages``.

Unit: sequences. Each step takes from the folder that is furthest behind its weight. A sample is a window of
sequence_length + 1 tokens, of which sequence_length are trained. Traps met here: two lists of equal length (the
documented dictionary is not what the code reads), tokenizer name and token width in the first line of ``*.metadata``,
stages that count optimiser steps from 1. Phases: one stage each.

Writes ``data/<cluster>/00000.ds`` with ``.index`` and ``.metadata``, and ``data_stages.yaml``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gem_assets.export.base import Buckets, ExportJob, Format
from gem_assets.export.documents import Part
from gem_assets.export.report import ExportError, ExportReport
from gem_assets.export.sampling import greedy_counts
from gem_assets.types import Floats

_FILE = "00000.ds"
_UINT16_VOCABULARY = 65_535


def write(job: ExportJob) -> ExportReport:
    """Write a recipe for nanotron, read it back, and report."""
    plan, config, length, names = job.plan, job.config, job.config.sequence_length, job.names
    dtype: np.dtype[Any] = np.dtype(np.uint16 if job.tokens.vocab_size < _UINT16_VOCABULARY else np.uint32)
    if "|" in job.tokenizer_name:
        raise ExportError(
            f"nanotron splits the tokenizer's name at '|'; give another tokenizer_name than {job.tokenizer_name!r}"
        )
    job.write_clusters(lambda folder, parts: _write(folder / _FILE, parts, dtype, job.tokenizer_name))
    samples = job.phase_samples()
    starts = 1 + np.concatenate(([0], np.cumsum(samples)[:-1])) // config.batch_sequences
    stages: list[dict[str, Any]] = []
    for phase, row in enumerate(plan.tokens / plan.tokens.sum(axis=1, keepdims=True)):
        used = np.flatnonzero(row)
        dataset = {
            "dataset_folder": [job.path(names[i]) for i in used],
            "dataset_weights": [float(f"{row[i]:.12g}") for i in used],
        }
        stages.append(
            {
                "name": f"phase {phase}",
                "start_training_step": int(starts[phase]),
                "data": {"dataset": dataset, "num_loading_workers": 1, "seed": config.seed},
            }
        )
    (job.out / "data_stages.yaml").write_text(
        yaml.safe_dump({"data_stages": stages}, sort_keys=False), encoding="utf-8"
    )

    buckets, weights = _read_back(job, dtype)
    job.require_filled(buckets, length + 1)
    implied = np.sum([greedy_counts(w, n) * float(length) for w, n in zip(weights, samples, strict=True)], axis=0)
    notes = [
        f"a window holds {length + 1} tokens and trains {length}: one token in {length + 1} is never a target",
        *(["each stage reads every folder from its beginning again"] if len(samples) > 1 else []),
    ]
    return job.report(
        buckets,
        weights[0],
        implied,
        naive_shares=implied / implied.sum(),
        naive="the shares as they are: the weight counts sequences, so nothing is lost",
        usage=f"put data_stages.yaml into the run's configuration; tokens.sequence_length: {length}, "
        f"tokens.train_steps: {sum(samples) // config.batch_sequences} at {config.batch_sequences} sequences per step",
        slack=length * len(samples),
        notes=notes,
    )


def _write(path: Path, parts: Iterator[Part], dtype: np.dtype[Any], name_of_tokenizer: str) -> None:
    """Write tokens, document ends (uint64, in tokens) and the metadata lines."""
    total = 0
    with path.open("wb") as data, path.with_name(path.name + ".index").open("wb") as index:
        for part in parts:
            assert part.ids is not None
            part.ids.astype(dtype).tofile(data)
            (total + np.cumsum(part.lengths)).astype(np.uint64).tofile(index)
            total += len(part.ids)
    lines = [f"{name_of_tokenizer}|{dtype.itemsize}", str(total), f"{total / 1e9:.3g} GT"]
    path.with_name(path.name + ".metadata").write_text("\n".join(lines), encoding="utf-8")


def _read_back(job: ExportJob, dtype: np.dtype[Any]) -> tuple[Buckets, list[Floats]]:
    """Sizes of the folders and weights of the stages."""
    names = job.names
    sizes = np.zeros((2, len(names)), dtype=np.int64)
    weights: list[Floats] = []
    for stage in yaml.safe_load((job.out / "data_stages.yaml").read_text(encoding="utf-8"))["data_stages"]:
        dataset, row = stage["data"]["dataset"], np.zeros(len(names))
        for written, weight in zip(dataset["dataset_folder"], dataset["dataset_weights"], strict=True):
            folder = job.local_path(written)
            at = names.index(folder.name)
            row[at] = weight
            sizes[1, at] = (folder / _FILE).stat().st_size // dtype.itemsize
            ends = np.fromfile(folder / f"{_FILE}.index", dtype=np.uint64)
            sizes[0, at] = len(ends)
            if int(ends[-1]) != sizes[1, at]:
                raise ExportError(f"{folder / _FILE}.index ends at {int(ends[-1])}, the file has {sizes[1, at]} tokens")
        weights.append(row)
    return Buckets(documents=sizes[0], tokens=sizes[1]), weights


FORMAT = Format(
    write,
    "sequences",
    phases=True,
    reads_tokens=True,
    not_in_paths=("*?[]#", "the trainer expands patterns in paths and reads them as addresses"),
)
