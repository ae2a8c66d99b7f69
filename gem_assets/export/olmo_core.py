"""OLMo-core (and olmix): raw token arrays per cluster and a YAML mixture.

Unit: tokens, rounded to whole sequences, so a weight is a token share. Traps met here: ``.npy`` files without a header,
token width by vocabulary size, weights that sum to 1, a cluster that rounds to no sequence (skipped with a warning
there, refused here), and a cluster too small for its part (the trainer stops unless ``repetition_factor`` is -1).

Two spellings of the same mixture, because the released package (3.0) and the main branch read different ones.
Writes ``data/<cluster>/part-*.npy``, ``mix.yaml`` (``build_numpy_mixture_from_yaml_spec``) and ``source_mixture.yaml``
(``SourceMixtureList``).
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gem_assets.export.base import DATA, Buckets, ExportJob, Format
from gem_assets.export.documents import Part
from gem_assets.export.report import ExportError, ExportReport
from gem_assets.types import Floats, Ints

_WIDTHS: tuple[np.dtype[Any], ...] = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.uint32))


def write(job: ExportJob) -> ExportReport:
    """Write a recipe for OLMo-core, read it back, and report."""
    plan, config, length, names = job.plan, job.config, job.config.sequence_length, job.names
    tokens, out = job.tokens, job.out
    dtype = next(w for w in _WIDTHS if tokens.vocab_size - 1 <= np.iinfo(w).max)
    files = job.write_clusters(
        lambda folder, parts: job.paths(folder, _write(folder, parts, dtype, config.shard_bytes))
    )
    buckets = _sizes(job, dtype)
    job.require_filled(buckets, length)
    budget = float(plan.targets.sum())
    shares = plan.targets / budget
    needed = length * np.round(budget * shares / length)
    repeated = needed > buckets.tokens
    mix = [
        {
            "name": names[i],
            "weight": float(f"{shares[i]:.12g}"),
            "paths": files[i],
            "repetition_factor": -1.0 if repeated[i] else 1.0,
        }
        for i in range(len(names))
    ]
    (out / "mix.yaml").write_text(yaml.safe_dump({"mix": mix}, sort_keys=False), encoding="utf-8")
    sources = [
        {
            "source_name": m["name"],
            "target_ratio": m["weight"],
            "paths": m["paths"],
            # room for the rounding up to whole batches
            "max_repetition_ratio": max(1.0, math.ceil(1.02 * n / t * 100) / 100),
        }
        for m, n, t in zip(mix, needed.tolist(), buckets.tokens.tolist(), strict=True)
    ]
    (out / "source_mixture.yaml").write_text(yaml.safe_dump({"sources": sources}, sort_keys=False), encoding="utf-8")

    weights, available, factors = _read_back(job, dtype)
    implied = length * np.round(budget * weights / length)
    if np.any((available < implied) & (factors != -1)):
        raise ExportError(f"{out / 'mix.yaml'}: a source is too small for its part and may not repeat")
    plain_stops = bool(repeated.any())
    return job.report(
        Buckets(buckets.documents, available),
        weights,
        implied,
        naive_shares=None if plain_stops else implied / implied.sum(),
        naive="the shares as they are, without repetition_factor"
        + (": the trainer stops, a source has too few tokens" if plain_stops else ": the weight counts tokens"),
        usage=f"TokenizerConfig of {job.tokenizer_name!r}: vocab_size={tokens.vocab_size}, "
        f"eos_token_id={tokens.eos_id}; main branch: build_numpy_mixture_from_yaml_spec('mix.yaml', tokenizer=..., "
        f"total_tokens={round(budget)}, sequence_length={length}, sampling_strategy='contiguous_chunks'); release: "
        f"SourceMixtureDatasetConfig(source_list=SourceMixtureList(<source_mixture.yaml>), "
        f"requested_tokens={round(budget)}, global_batch_size={length * config.batch_sequences})",
        slack=length,
    )


def _write(folder: Path, parts: Iterator[Part], dtype: np.dtype[Any], shard_bytes: int) -> list[str]:
    """Write token arrays without header; return the names of the files."""
    names: list[str] = []
    room = 0
    file = None
    try:
        for part in parts:
            assert part.ids is not None
            if file is None or room <= 0:
                if file is not None:
                    file.close()
                names.append(f"part-{len(names):05d}.npy")
                file = (folder / names[-1]).open("wb")
                room = shard_bytes
            part.ids.astype(dtype).tofile(file)
            room -= len(part.ids) * dtype.itemsize
    finally:
        if file is not None:
            file.close()
    return names


def _sizes(job: ExportJob, dtype: np.dtype[Any]) -> Buckets:
    """Documents (by their end tokens) and tokens of each cluster's files."""
    names, eos_id = job.names, job.tokens.eos_id
    documents, tokens = np.zeros(len(names), dtype=np.int64), np.zeros(len(names), dtype=np.int64)
    for i, name in enumerate(names):
        for path in sorted((job.out / DATA / name).glob("part-*.npy")):
            ids = np.memmap(path, dtype=dtype, mode="r")
            tokens[i] += len(ids)
            documents[i] += sum(int((ids[a : a + (1 << 24)] == eos_id).sum()) for a in range(0, len(ids), 1 << 24))
    return Buckets(documents=documents, tokens=tokens)


def _read_back(job: ExportJob, dtype: np.dtype[Any]) -> tuple[Floats, Ints, Floats]:
    """Weights, tokens of the files that the mixture names, and repetition factors."""
    out, names = job.out, job.names
    weights, factors = np.zeros(len(names)), np.zeros(len(names))
    tokens = np.zeros(len(names), dtype=np.int64)
    for source in yaml.safe_load((out / "mix.yaml").read_text(encoding="utf-8"))["mix"]:
        at = names.index(source["name"])
        weights[at], factors[at] = source["weight"], source["repetition_factor"]
        sizes = [job.local_path(path).stat().st_size for path in source["paths"]]
        tokens[at] = sum(sizes) // dtype.itemsize
    second = yaml.safe_load((out / "source_mixture.yaml").read_text(encoding="utf-8"))["sources"]
    if [(s["source_name"], s["target_ratio"]) for s in second] != list(zip(names, weights.tolist(), strict=True)):
        raise ExportError(f"{out / 'source_mixture.yaml'} and mix.yaml differ")
    if abs(weights.sum() - 1) > 5e-5:
        raise ExportError(f"{out / 'mix.yaml'}: weights sum to {weights.sum()}, the trainer wants 1")
    return weights, tokens, factors


FORMAT = Format(
    write,
    "tokens, in whole sequences",
    reads_tokens=True,
    not_in_paths=("*?[]", "the trainer expands patterns in paths"),
)
