"""Megatron-LM / Megatron-Core: one indexed token file per cluster and a blend file per phase.

Unit: fixed-length samples, so a weight is a token share. Each step takes from the prefix that is furthest behind its
weight. Traps met here: one prefix per cluster (the index takes time with the number of prefixes), names that do not
parse as numbers, an even number of words (weights exist only then), no prefix whose part of the run rounds to no
sample. Phases: Megatron leaves at ``--phase-transition-iterations`` and is started again with the next blend.

Writes ``data/*.bin``, ``data/*.idx``, ``blend-phase*.txt``, ``arguments.txt``.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gem_assets.export.base import DATA, Buckets, ExportJob, Format
from gem_assets.export.config import ExportConfig
from gem_assets.export.documents import Part
from gem_assets.export.report import ExportError, ExportReport
from gem_assets.export.sampling import greedy_counts
from gem_assets.types import Floats, Ints

_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
_CODES: dict[np.dtype[Any], int] = {np.dtype(np.int32): 4, np.dtype(np.uint16): 8}
_UINT16_VOCABULARY = 65_500
_CHUNK = 1 << 20


def write(job: ExportJob) -> ExportReport:
    """Write a recipe for Megatron, read it back, and report."""
    plan, config, out, names = job.plan, job.config, job.out, job.names
    dtype: np.dtype[Any] = np.dtype(np.uint16 if job.tokens.vocab_size < _UINT16_VOCABULARY else np.int32)
    (out / DATA).mkdir()
    seen: list[int] = []
    with job.open_corpus() as corpus:
        for index, parts in corpus.clusters():
            write_indexed(out / DATA / names[index], parts, dtype)
            seen.append(index)
    job.require_documents(seen)
    samples = job.phase_samples()
    shares = plan.tokens / plan.tokens.sum(axis=1, keepdims=True)
    for phase, row in enumerate(shares):
        words = [f"{share:.12g} {job.path(name)}" for share, name in zip(row, names, strict=True) if share > 0]
        (out / f"blend-phase{phase}.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    usage = _arguments(samples, config)
    (out / "arguments.txt").write_text(usage + "\n", encoding="utf-8")

    buckets, weights = _read_back(job, len(samples))
    job.require_filled(buckets, config.sequence_length + 1)
    implied = sum(
        greedy_counts(w, n).astype(np.float64) * config.sequence_length for w, n in zip(weights, samples, strict=True)
    )
    notes = []
    if len(samples) > 1:
        notes.append(
            "each phase reads every prefix from its own beginning again; repeats across phases are not tracked"
        )
    return job.report(
        buckets,
        weights[0],
        np.asarray(implied),
        naive_shares=np.asarray(implied) / np.sum(implied),
        naive="the shares as they are: the weight counts samples, so nothing is lost",
        usage=usage,
        slack=config.sequence_length * len(samples),
        notes=notes,
    )


def _arguments(samples: list[int], config: ExportConfig) -> str:
    lines = [
        f"--seq-length {config.sequence_length}",
        f"--train-samples {sum(samples)}",
        f"--global-batch-size {config.batch_sequences}",
        "--split 1,0,0",
        f"--seed {config.seed}",
    ]
    if len(samples) == 1:
        return "\n".join([*lines, "--data-args-path blend-phase0.txt"])
    ends = np.cumsum(samples)[:-1] // config.batch_sequences
    lines.append("--phase-transition-iterations " + ",".join(str(int(e)) for e in ends))
    lines += [f"--data-args-path blend-phase{p}.txt  # run {p + 1} of {len(samples)}" for p in range(len(samples))]
    return "\n".join(lines)


def write_indexed(prefix: Path, parts: Iterator[Part], dtype: np.dtype[Any]) -> None:
    """Write documents as ``prefix.bin`` and ``prefix.idx``, one sequence per document."""
    lengths_path = prefix.with_suffix(".lengths")
    with prefix.with_suffix(".bin").open("wb") as data, lengths_path.open("wb") as lengths:
        for part in parts:
            assert part.ids is not None
            part.ids.astype(dtype).tofile(data)
            part.lengths.astype(np.int64).tofile(lengths)
    write_index(prefix.with_suffix(".idx"), lambda: _chunks(lengths_path), dtype)
    lengths_path.unlink()


def write_index(path: Path, lengths: Callable[[], Iterable[Ints]], dtype: np.dtype[Any]) -> None:
    """Write the index of a token file.

    ``lengths`` gives the (n,) token counts of the sequences in their order, in pieces; it is asked three times.

    Raises ExportError if a sequence is longer than the 2^31 - 1 tokens that the format holds.
    """
    count = sum(len(chunk) for chunk in lengths())
    with path.open("wb") as idx:
        idx.write(_MAGIC + struct.pack("<QBQQ", _VERSION, _CODES[dtype], count, count + 1))
        for chunk in lengths():
            if len(chunk) and int(chunk.max()) > np.iinfo(np.int32).max:
                raise ExportError(f"a document has {int(chunk.max())} tokens; a Megatron index holds 2^31 - 1 at most")
            chunk.astype(np.int32).tofile(idx)
        # byte offsets pass 2^31 long before a corpus is large
        offset = 0
        for chunk in lengths():
            sizes = chunk.astype(np.int64) * dtype.itemsize
            ends = offset + np.cumsum(sizes)
            (ends - sizes).tofile(idx)
            offset = int(ends[-1]) if len(ends) else offset
        for start in range(0, count + 1, _CHUNK):
            np.arange(start, min(start + _CHUNK, count + 1), dtype=np.int64).tofile(idx)


def _chunks(path: Path) -> Iterator[Ints]:
    with path.open("rb") as file:
        while len(chunk := np.fromfile(file, dtype=np.int64, count=_CHUNK)):
            yield chunk


def read_index(path: Path) -> tuple[np.dtype[Any], npt.NDArray[np.int32]]:
    """Read the token type and the (n,) sequence lengths of an index file.

    Raises ExportError if the header is not Megatron's.
    """
    with path.open("rb") as idx:
        magic = idx.read(len(_MAGIC))
        version, code, sequences, _ = struct.unpack("<QBQQ", idx.read(struct.calcsize("<QBQQ")))
        dtypes = {c: d for d, c in _CODES.items()}
        if magic != _MAGIC or version != _VERSION or code not in dtypes:
            raise ExportError(f"{path} is not a Megatron index of version {_VERSION}")
        return dtypes[code], np.fromfile(idx, dtype=np.int32, count=sequences)


def _read_back(job: ExportJob, phases: int) -> tuple[Buckets, list[Floats]]:
    """Sizes from the index files that the blends name, and weights from the blends."""
    names = job.names
    weights = [np.zeros(len(names)) for _ in range(phases)]
    sizes = np.zeros((2, len(names)), dtype=np.int64)
    for phase, row in enumerate(weights):
        words = (job.out / f"blend-phase{phase}.txt").read_text(encoding="utf-8").split()
        for weight, path in zip(words[::2], words[1::2], strict=True):
            prefix = job.local_path(path)
            at = names.index(prefix.name)
            row[at] = float(weight)
            dtype, lengths = read_index(prefix.with_suffix(".idx"))
            tokens = int(lengths.sum(dtype=np.int64))
            if tokens * dtype.itemsize != prefix.with_suffix(".bin").stat().st_size:
                raise ExportError(f"{prefix}.idx counts {tokens} tokens, {prefix}.bin holds another number")
            sizes[:, at] = len(lengths), tokens
    return Buckets(documents=sizes[0], tokens=sizes[1]), weights


FORMAT = Format(
    write,
    "samples of sequence_length tokens",
    phases=True,
    reads_tokens=True,
    not_in_paths=(" \t", "the trainer splits this file at blanks"),
)
