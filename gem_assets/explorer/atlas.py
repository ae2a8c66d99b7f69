"""The map as one parquet file for a viewer of embeddings, such as Embedding Atlas: places, clusters and texts.

A bridge for people who want that viewer's tools; nothing here depends on one.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

import contextlib
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gem_assets.explorer.documents import TakenDown
from gem_assets.explorer.points import GRID
from gem_assets.explorer.views import Views
from gem_assets.stages import RAW_SHARDS
from gem_assets.storage.store import shard_files
from gem_assets.types import Progress

TEXT_CHARACTERS: Final = 1_000
"""Of each text that are written; a viewer shows them beside the point."""
SCHEMA: Final = pa.schema(
    [
        ("doc_id", pa.string()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        ("cluster", pa.string()),
        ("group", pa.string()),
        ("confidence", pa.float32()),
        ("snapshot", pa.string()),
        ("lang", pa.string()),
        ("source", pa.string()),
        ("url", pa.string()),
        ("text", pa.string()),
    ]
)
_READ: Final = ["doc_id", "url", "source", "content_digest", "text"]


def write_atlas(views: Views, out: Path, progress: Progress | None = None) -> int:
    """Write the documents of the map, snapshot by snapshot, and return how many there are.

    Parameters
    ----------
    out
        Parquet file with the columns of ``SCHEMA``; ``x`` and ``y`` lie between 0 and 1, ``y`` grows upwards. Documents
        without a vector have no place and are left out. It appears when it is complete.

    Raises
    ------
    NothingYetError
        When there is no map or nothing is labelled.
    """
    documents, places = views.documents(), views.points().places
    names = {row["id"]: row for row in views.overview().clusters()}
    rows = documents.rows.append_column("row", pa.array(np.arange(len(documents))))
    placed = rows.filter(pa.array((places != GRID).any(axis=1)))
    taken_down = TakenDown(views.store.root)
    written, partial = 0, out.with_name(f".{out.name}.partial")
    found = views.store.artifacts.snapshots(RAW_SHARDS)
    try:
        with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
            for done, (snapshot, shards) in enumerate(found.items()):
                own = placed.filter(pc.equal(placed.column("snapshot").cast(pa.string()), snapshot))
                ids = own.column("doc_id").combine_chunks()
                for path in shard_files(shards):
                    file = pq.ParquetFile(path)
                    for batch in file.iter_batches(columns=_READ):
                        kept = taken_down.kept(batch)
                        at = pc.index_in(kept.column("doc_id"), value_set=ids)
                        texts = kept.filter(pc.is_valid(at))
                        labels = own.take(at.drop_null())
                        writer.write_table(_rows(labels, texts, places, names))
                        written += texts.num_rows
                if progress is not None:
                    progress(done + 1, len(found), snapshot)
        partial.replace(out)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
    return written


def _rows(labels: pa.Table, texts: pa.RecordBatch, places: np.ndarray, names: dict[int, dict[str, object]]) -> pa.Table:
    at = places[labels.column("row").to_numpy()].astype(np.float32) / (GRID - 1)
    clusters = [names.get(int(k), {}) for k in labels.column("cluster").to_pylist()]
    columns = {
        "doc_id": labels.column("doc_id"),
        "x": at[:, 0],
        "y": 1 - at[:, 1],
        "cluster": [c.get("name") for c in clusters],
        "group": [c.get("parent") for c in clusters],
        "confidence": labels.column("confidence"),
        **{name: labels.column(name).cast(pa.string()) for name in ("snapshot", "lang", "source")},
        "url": texts.column("url"),
        "text": pc.utf8_slice_codeunits(texts.column("text"), 0, TEXT_CHARACTERS).cast(pa.string()),
    }
    return pa.table(columns, SCHEMA)
