"""MosaicML Streaming: one MDS data set of packed token sequences per cluster, and a list of streams.

Unit: samples of ``epoch_size``. A sample here is one sequence of fixed length, so a proportion is a token share; with
one document per sample it would be a share of documents. Traps met here: proportions are normalised, a shortfall of
rounding goes to streams at random, streams are read one after the other unless shuffled.

MDS version 2 is written directly: the package brings half of four cloud SDKs and torchvision for this one format. Its
reader checks these files in the tests where it is installed.

Writes ``data/<cluster>/shard.*.mds``, ``data/<cluster>/index.json`` and ``streams.yaml``.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from gem_assets.export.base import Buckets, ExportJob, Format
from gem_assets.export.documents import Part
from gem_assets.export.report import ExportError, ExportReport
from gem_assets.export.sampling import epoch_choices
from gem_assets.types import Floats, Ints

_COLUMN = "tokens"
_SHARD_BYTES = 1 << 26


def write(job: ExportJob) -> ExportReport:
    """Write a recipe for MosaicML Streaming, read it back, and report."""
    plan, config, length = job.plan, job.config, job.config.sequence_length
    counted = np.array(job.write_clusters(lambda folder, parts: write_mds(folder, parts, length)), dtype=np.int64)
    buckets = Buckets(documents=counted[:, 0], tokens=counted[:, 1])
    job.require_filled(buckets, length)
    epoch_size = round(float(plan.targets.sum()) / length)
    shares = plan.targets / plan.targets.sum()
    spec = {
        "streams": {
            name: {"local": job.path(name), "proportion": float(f"{share:.12g}")}
            for name, share in zip(job.names, shares, strict=True)
        },
        "epoch_size": epoch_size,
        "batching_method": "random",
        "sampling_method": "balanced",
        "shuffle": True,
        "shuffle_seed": config.seed,
    }
    (job.out / "streams.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")

    weights, samples = _read_back(job)
    implied = epoch_choices(weights, epoch_size, config.seed).astype(np.float64) * length
    return job.report(
        Buckets(buckets.documents, samples * length),
        weights,
        implied,
        naive_shares=job.document_unit_shares(buckets),
        naive="one document a sample, the token shares as proportions",
        usage="StreamingDataset(streams=[Stream(local=s['local'], proportion=s['proportion']) for s in "
        f"spec['streams'].values()], epoch_size={epoch_size}, batch_size=<per device>, batching_method='random', "
        f"sampling_method='balanced', shuffle=True, shuffle_seed={config.seed})",
        slack=length,
        notes=[f"{int((buckets.tokens - samples * length).sum())} tokens at the ends of clusters fill no sequence"],
    )


def write_mds(folder: Path, parts: Iterator[Part], length: int) -> tuple[int, int]:
    """Pack documents into sequences of `length` tokens and write them as MDS shards.

    Returns the documents and tokens read, the unfilled rest included.
    """
    documents = tokens = 0
    shards: list[dict[str, Any]] = []
    waiting: list[npt.NDArray[np.int32]] = []
    held = 0
    most = max(1, (_SHARD_BYTES - 4096) // (4 * length + 4))
    for part in parts:
        assert part.ids is not None
        documents += len(part.lengths)
        tokens += len(part.ids)
        waiting.append(part.ids.astype(np.int32))
        held += len(part.ids)
        while held >= most * length:
            whole = np.concatenate(waiting)
            shards.append(_write_shard(folder, len(shards), whole[: most * length].reshape(most, length)))
            waiting, held = [whole[most * length :]], held - most * length
    if held >= length:
        rows = held // length
        shards.append(_write_shard(folder, len(shards), np.concatenate(waiting)[: rows * length].reshape(rows, length)))
    index = {"shards": shards, "version": 2}
    (folder / "index.json").write_text(json.dumps(index, sort_keys=True), encoding="utf-8")
    return documents, tokens


def _write_shard(folder: Path, number: int, rows: npt.NDArray[np.int32]) -> dict[str, Any]:
    """Write one shard (count, offsets, column description, samples) and return its entry of the index."""
    samples, length = rows.shape
    columns = {
        "column_encodings": [f"ndarray:int32:{length}"],
        "column_names": [_COLUMN],
        "column_sizes": [4 * length],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": _SHARD_BYTES,
        "version": 2,
    }
    described = json.dumps(columns, sort_keys=True).encode()
    start = 4 + 4 * (samples + 1) + len(described)
    name = f"shard.{number:05d}.mds"
    with (folder / name).open("wb") as file:
        np.array([samples], dtype=np.uint32).tofile(file)
        (start + np.arange(samples + 1, dtype=np.int64) * 4 * length).astype(np.uint32).tofile(file)
        file.write(described)
        rows.tofile(file)
    raw = {"basename": name, "bytes": start + samples * 4 * length, "hashes": {}}
    return columns | {"raw_data": raw, "samples": samples, "zip_data": None}


def _read_back(job: ExportJob) -> tuple[Floats, Ints]:
    """Proportions of the streams, and samples by the shards themselves."""
    names = job.names
    spec = yaml.safe_load((job.out / "streams.yaml").read_text(encoding="utf-8"))
    weights, samples = np.zeros(len(names)), np.zeros(len(names), dtype=np.int64)
    for name, stream in spec["streams"].items():
        at = names.index(name)
        weights[at] = stream["proportion"]
        folder = job.local_path(stream["local"])
        for shard in json.loads((folder / "index.json").read_text(encoding="utf-8"))["shards"]:
            path = folder / shard["raw_data"]["basename"]
            if path.stat().st_size != shard["raw_data"]["bytes"]:
                raise ExportError(
                    f"{path} has {path.stat().st_size} bytes, the index says {shard['raw_data']['bytes']}"
                )
            with path.open("rb") as file:
                samples[at] += int(np.fromfile(file, dtype=np.uint32, count=1)[0])
    return weights, samples


FORMAT = Format(write, "samples of sequence_length tokens", reads_tokens=True)
