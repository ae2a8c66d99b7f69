"""What a person sees of an ingested snapshot: counts, reasons, languages and a few rows without their texts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.corpus.readers.records import SKIP_KINDS
from gem_assets.corpus.sampling import thinned
from gem_assets.corpus.shards import DUPLICATES_FILE, QUARANTINE_FILE

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_ROWS = 10
SAMPLE_COLUMNS = ["doc_id", "source", "url", "lang", "n_bytes", "n_tokens", "dup_count", "file", "offset"]
CHECKED_COLUMNS = [
    "doc_id",
    "content_digest",
    "snapshot",
    "url",
    "n_bytes",
    "n_tokens",
    "dup_count",
    "file",
    "q_compression_ratio",
]
BATCH_ROWS = 65_536
CHECKED_ROWS = 8_192


@dataclass(frozen=True)
class SnapshotDescription:
    """Tables for the page of one snapshot."""

    quarantine_reasons: list[dict[str, Any]]
    duplicates: list[dict[str, Any]]
    languages: list[dict[str, Any]]
    sample: list[dict[str, Any]]


def describe_snapshot(folder: Path, shards: Sequence[Path]) -> SnapshotDescription:
    """Summarise the artifact of one snapshot; reads narrow columns in batches."""
    quarantine: Counter[tuple[str, str]] = Counter()
    for batch in _batches(folder / QUARANTINE_FILE, ["reason", "file"]):
        quarantine.update(zip(batch["reason"].to_pylist(), batch["file"].to_pylist(), strict=True))
    kinds: Counter[str] = Counter()
    for batch in _batches(folder / DUPLICATES_FILE, ["kind"]):
        kinds.update(batch["kind"].to_pylist())
    languages: Counter[str] = Counter()
    tokens: Counter[str] = Counter()
    sample: list[dict[str, Any]] = []
    for path in shards:
        for batch in _batches(path, SAMPLE_COLUMNS):
            for lang, count in zip(batch["lang"].to_pylist(), batch["n_tokens"].to_pylist(), strict=True):
                languages[lang] += 1
                tokens[lang] += count
            if len(sample) < SAMPLE_ROWS:
                sample += batch.slice(0, SAMPLE_ROWS - len(sample)).to_pylist()
    return SnapshotDescription(
        quarantine_reasons=[
            {"reason": reason, "file": file, "records": count} for (reason, file), count in quarantine.most_common()
        ],
        duplicates=[{"kind": kind, "documents": count} for kind, count in kinds.most_common()],
        languages=[
            {"language": lang, "documents": count, "tokens": tokens[lang]} for lang, count in languages.most_common()
        ],
        sample=sample,
    )


def skipped_kinds(skipped: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the kinds of records that carried no document, most frequent first, with what they are."""
    counts = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    return [{"kind": kind, "records": count, "what": SKIP_KINDS.get(kind, "")} for kind, count in counts]


def _batches(path: Path, columns: list[str], rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(rows, columns=columns)


def unaccounted(counts: Mapping[str, int]) -> int:
    """Return how many records read are neither kept, duplicate, filtered nor quarantined: 0, or a fault."""
    return counts["read"] - sum(counts[name] for name in ("kept", "duplicates", "filtered", "quarantined"))


def checked_columns(shards: Sequence[Path], rows: int, most: int) -> "pd.DataFrame":
    """Read the columns that a check looks at, texts left out, of about ``most`` rows from all over the shards."""
    import pandas as pd

    batches = (batch for path in shards for batch in _batches(path, CHECKED_COLUMNS, CHECKED_ROWS))
    frames = [batch.to_pandas() for batch in thinned(batches, rows, most)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=CHECKED_COLUMNS)
