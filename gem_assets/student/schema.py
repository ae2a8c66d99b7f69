"""Columns of the label table, separate from the code that labels, so that reading them loads no models."""

import pyarrow as pa

from gem_assets.corpus.schema import QUALITY_COLUMNS

CARRIED = [
    "doc_id",
    "snapshot",
    "content_digest",
    "dup_count",
    "n_tokens",
    "n_bytes",
    "lang",
    "source",
    "url",
    "license",
]
LABEL_SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("snapshot", pa.string(), nullable=False),
        pa.field("cluster", pa.int16(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("margin", pa.float32(), nullable=False),
        pa.field("escalated", pa.bool_(), nullable=False),
        pa.field("content_digest", pa.string(), nullable=False),
        pa.field("dup_count", pa.int32(), nullable=False),
        pa.field("n_tokens", pa.int64(), nullable=False),
        pa.field("n_bytes", pa.int64(), nullable=False),
        pa.field("lang", pa.string()),
        pa.field("source", pa.string()),
        pa.field("url", pa.string()),
        pa.field("license", pa.string()),
        *[pa.field(name, pa.float32()) for name in QUALITY_COLUMNS],
    ]
)
