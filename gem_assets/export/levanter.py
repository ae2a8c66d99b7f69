"""Levanter (and marin): gzipped JSON lines per cluster and a ``data`` section.

Unit: sequences, "block-deterministic": in every block of mixture_block_size sequences a data set has exactly
``int(weight x block)``, the remainder goes to the largest. Traps met here: a data set below one sequence per block
vanishes with a warning (refused here), the truncation moves share to the largest, stages start at whole blocks. The
weights written are whole numbers of sequences per block, apportioned by largest remainder; the block is the smallest
power of two from 64 to 32768 that keeps each cluster within 0.4 % of its share, or else the largest.

Levanter tokenises and caches by itself, so it is given text. Writes ``data/<cluster>/part-*.jsonl.gz``, ``data.yaml``.
"""

from typing import Any

import numpy as np
import yaml

from gem_assets.export.base import Buckets, ExportJob, Format
from gem_assets.export.report import ExportReport
from gem_assets.export.sampling import block_counts, largest_remainder
from gem_assets.export.textfiles import count_jsonl, write_jsonl
from gem_assets.types import Floats, Ints

_BLOCKS = tuple(2**n for n in range(6, 16))
_DEFAULT_BLOCK = 2048
_CLOSE = 0.004


def write(job: ExportJob) -> ExportReport:
    """Write a recipe for Levanter, read it back, and report."""
    plan, config, length, names = job.plan, job.config, job.config.sequence_length, job.names
    block = _choose_block(job)
    files = job.write_clusters(
        lambda folder, parts: job.paths(folder, write_jsonl(folder, parts, config.shard_bytes, compress=True))
    )
    starts = _starts(job, block)
    stages: list[list[Any]] = []
    for start, row in zip(starts, plan.tokens, strict=True):
        counts = largest_remainder(row, block)
        # the block is a power of two: the trainer's division and multiplication give these numbers back exactly
        stages.append([int(start), {names[i]: int(counts[i]) for i in np.flatnonzero(counts)}])
    spec: dict[str, Any] = {
        "data": {
            "tokenizer": job.tokenizer_name or "gpt2",
            "components": {
                name: {
                    "source": {"type": "url", "train_urls": files[i]},
                    "format": {"type": "text", "text_key": "text"},
                }
                for i, name in enumerate(names)
            },
            "train_weights": stages[0][1] if len(stages) == 1 else stages,
            "mixture_block_size": block,
            "stop_strategy": "restart",
            "shuffle": True,
        }
    }
    (job.out / "data.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")

    buckets, weights, block, starts = _read_back(job)
    job.require_filled(buckets, length)
    ends = np.append(starts[1:], plan.targets.sum() / length)
    implied = np.sum(
        [
            block_counts(row, block) / block * (end - start) * length
            for row, start, end in zip(weights, starts, ends, strict=True)
        ],
        axis=0,
    )
    plain = [block_counts(row, _DEFAULT_BLOCK) * row.sum() for row in plan.tokens]
    return job.report(
        buckets,
        weights[0],
        implied,
        naive_shares=np.sum(plain, axis=0) / np.sum(plain),
        naive=f"the shares as they are in blocks of {_DEFAULT_BLOCK} sequences, truncated",
        usage=f"--config_path data.yaml; train_seq_len {length}, trainer.train_batch_size {config.batch_sequences}, "
        f"trainer.num_train_steps {round(float(plan.targets.sum()) / length / config.batch_sequences)}",
        slack=length * max(len(weights), 1),
        notes=[f"shares are exact in whole blocks of {block} sequences; the last block of the run is cut at random"],
    )


def _choose_block(job: ExportJob) -> int:
    """Smallest block that expresses every phase closely."""
    plan, length = job.plan, job.config.sequence_length
    for block in _BLOCKS:
        worst = 0.0
        for row in plan.tokens:
            used = row > 0
            exact = row[used] / row[used].sum() * block
            worst = max(worst, float((np.abs(largest_remainder(row[used], block) - exact) / exact).max()))
        if worst <= _CLOSE:
            return block
    block = _BLOCKS[-1]
    for phase, row in enumerate(plan.tokens):
        lost = (row > 0) & (largest_remainder(row, block) == 0)
        if lost.any():
            raise job.refused(
                f"clusters {plan.clusters[lost].tolist()} have less than one sequence of {length} in a block of "
                f"{block} in phase {phase} and would vanish; merge them or raise their share above {1 / block:.2g}"
            )
    return block


def _starts(job: ExportJob, block: int) -> Ints:
    """First sequence of each phase, at whole blocks."""
    ends = np.cumsum(job.plan.tokens.sum(axis=1)) / job.config.sequence_length
    starts = np.concatenate(([0], np.round(ends[:-1] / block).astype(np.int64) * block))
    if len(starts) > 1 and (np.any(np.diff(starts) <= 0) or starts[-1] >= ends[-1]):
        raise job.refused(
            f"phases start at whole blocks of {block} sequences and this run has {ends[-1]:.0f} sequences in "
            f"{len(starts)} phases; raise the token budget, shorten the sequence or export phase by phase"
        )
    return starts


def _read_back(job: ExportJob) -> tuple[Buckets, list[Floats], int, Ints]:
    """Sizes of the text files, weights of the stages, block size and the stages' first sequences."""
    names = job.names
    data = yaml.safe_load((job.out / "data.yaml").read_text(encoding="utf-8"))["data"]
    sizes = np.zeros((2, len(names)), dtype=np.int64)
    for name, component in data["components"].items():
        urls = component["source"]["train_urls"]
        sizes[:, names.index(name)] = count_jsonl(map(job.local_path, urls))
    written = data["train_weights"]
    stages: list[tuple[int, dict[str, float]]] = [(0, written)] if isinstance(written, dict) else written
    weights = [np.array([float(row.get(name, 0)) for name in names]) for _, row in stages]
    starts = np.array([start for start, _ in stages], dtype=np.int64)
    return Buckets(documents=sizes[0], tokens=sizes[1]), weights, int(data["mixture_block_size"]), starts


FORMAT = Format(
    write,
    "sequences",
    phases=True,
    not_in_paths=("*?[]{}#", "the trainer expands patterns in paths and reads them as addresses"),
)
