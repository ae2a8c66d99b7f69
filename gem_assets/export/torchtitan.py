"""torchtitan: JSON lines per cluster and a Grain data set configuration.

Unit: documents when data sets are mixed before packing, fixed-length rows when each is packed first; the trainer does
not adjust weights for lengths. This export packs first, so a weight is a token share. Traps met here: a mixture ends
when its first child does and then starts again as a whole, so that large children would show their beginning again;
children with more than one epoch are listed as often as the run needs them.

The configuration uses the data API that torchtitan's ``components/data/README.md`` documents (Grain loader, 2026).
Writes ``data/<cluster>/part-*.jsonl``, ``mixture.json`` and ``mixture.py``.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gem_assets.export.base import Buckets, ExportJob, Format
from gem_assets.export.documents import Part
from gem_assets.export.report import ExportError, ExportReport
from gem_assets.export.sampling import greedy_counts
from gem_assets.export.textfiles import count_jsonl, write_jsonl

_CONFIGURATION = '''"""This mixture for torchtitan: ``GrainDataLoader.Config(dataset=dataset_config())``."""

import json
from pathlib import Path

from torchtitan.components.data import (
    ConcatThenSplitPackingConfig,
    DatasetConcatConfig,
    DatasetMixConfig,
    IndexedJsonlSource,
    SingleDatasetConfig,
    WeightedDataset,
)
from torchtitan.hf_datasets.text_datasets import TextProcessor

HERE = Path(__file__).resolve().parent


def text_of(row):
    """Text of one line."""
    return row["text"]


def dataset_config():
    """Each cluster packed into rows first, then rows mixed: weights count tokens."""
    mixture = json.loads((HERE / "mixture.json").read_text())
    children = []
    for part in mixture["datasets"]:
        documents = SingleDatasetConfig(
            source=IndexedJsonlSource.Config(patterns=tuple(str(HERE / f) for f in part["files"])),
            processor=TextProcessor.Config(text_fn=text_of),
            post_filters=(lambda sample: sample is not None,),
        )
        repeated = DatasetConcatConfig(datasets=(documents,) * part["copies"])
        packed = ConcatThenSplitPackingConfig(dataset=repeated)
        children.append(WeightedDataset(dataset=packed, weight=part["weight"]))
    return DatasetMixConfig(datasets=tuple(children))
'''


def write(job: ExportJob) -> ExportReport:
    """Write a recipe for torchtitan, read it back, and report."""
    plan, config, length, names = job.plan, job.config, job.config.sequence_length, job.names

    def write_lines(folder: Path, parts: Iterator[Part]) -> tuple[list[str], int]:
        written = write_jsonl(folder, parts, config.shard_bytes, compress=False)
        return job.paths(folder, written), count_jsonl(folder / n for n in written)[1]

    written = job.write_clusters(write_lines)
    shares = plan.targets / plan.targets.sum()
    # one row more than the run needs, so that no child ends before the run does
    copies = [math.ceil((t + 2 * length) / a) for t, (_, a) in zip(plan.targets, written, strict=True)]
    mixture = {
        "datasets": [
            {"name": names[i], "files": written[i][0], "copies": copies[i], "weight": float(f"{shares[i]:.12g}")}
            for i in range(len(names))
        ],
        "rows": round(float(plan.targets.sum()) / length),
        "sequence_length": length,
    }
    (job.out / "mixture.json").write_text(json.dumps(mixture, indent=1) + "\n", encoding="utf-8")
    (job.out / "mixture.py").write_text(_CONFIGURATION, encoding="utf-8")

    read = json.loads((job.out / "mixture.json").read_text(encoding="utf-8"))
    weights = np.array([d["weight"] for d in read["datasets"]])
    sizes = [count_jsonl(map(job.local_path, d["files"])) for d in read["datasets"]]
    buckets = Buckets(*np.array(sizes, dtype=np.int64).T)
    job.require_filled(buckets, length)
    rows = greedy_counts(weights, read["rows"])
    held = buckets.tokens * np.array([d["copies"] for d in read["datasets"]]) // length
    if np.any(rows > held):
        raise ExportError(f"{job.out / 'mixture.json'}: a data set ends before the run does")
    return job.report(
        buckets,
        weights,
        rows.astype(np.float64) * length,
        naive_shares=job.document_unit_shares(buckets),
        naive="data sets mixed before packing, the token shares as weights",
        usage=f"config.dataloader = GrainDataLoader.Config(dataset=dataset_config(), shuffle=True, repeat=True) with "
        f"dataset_config of mixture.py; training.seq_len {length}, training.steps "
        f"{read['rows'] // config.batch_sequences} at {config.batch_sequences} sequences per step",
        slack=length,
    )


FORMAT = Format(
    write,
    "rows of sequence_length tokens",
    not_in_paths=("*?[]", "the trainer expands patterns in paths"),
)
