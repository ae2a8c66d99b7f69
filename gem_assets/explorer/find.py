"""Find documents: by address, id, domain or source through the trace, and by words or a sentence in the texts.

A sentence is looked for exactly, in the texts of the snapshots in force, by DuckDB: nothing is indexed, so the work
grows with the text. What was taken down is not found.
"""

from collections.abc import Mapping
from typing import Any, Final

import duckdb
import pyarrow as pa

from gem_assets.explorer.documents import TakenDown
from gem_assets.explorer.errors import RequestError
from gem_assets.stages import RAW_SHARDS
from gem_assets.storage.artifacts import ArtifactStore
from gem_assets.storage.store import shard_files

MOST_FOUND: Final = 50
LEAST_CHARACTERS: Final = 3
_AROUND = 120
_SEARCH = """
SELECT doc_id, snapshot, url, source, lang, n_tokens, content_digest, position(lower(?) IN lower(text)) AS place, text
FROM read_parquet(?) WHERE contains(lower(text), lower(?)) LIMIT ?
"""


def search_texts(store: ArtifactStore, words: str, taken_down: TakenDown, most: int = MOST_FOUND) -> dict[str, Any]:
    """Find the documents in force that contain some words, next to each other and in this order; case is ignored.

    Returns
    -------
    dict
        ``documents`` with the passage around the first place, and ``more``, whether there are others.

    Raises
    ------
    RequestError
        When fewer than three characters are asked for.
    """
    wanted = words.strip()
    if len(wanted) < LEAST_CHARACTERS:
        raise RequestError(f"ask for at least {LEAST_CHARACTERS} characters")
    files = [str(path) for found in store.snapshots(RAW_SHARDS).values() for path in shard_files(found)]
    if not files:
        return {"documents": [], "more": False}
    hidden = len(taken_down.documents)
    with duckdb.connect(config={"threads": 2}) as base:
        reader = base.sql(_SEARCH, params=[wanted, files, wanted, most + hidden + 1]).to_arrow_reader()
        shown = [row for batch in reader for row in taken_down.kept(_plain(batch)).to_pylist()]
    return {"documents": [_passage(row, len(wanted)) for row in shown[:most]], "more": len(shown) > most}


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """DuckDB's strings as the columns that takedowns are compared with."""
    return batch.cast(pa.schema([f.with_type(pa.string()) if f.type == pa.large_string() else f for f in batch.schema]))


def _passage(row: Mapping[str, Any], length: int) -> dict[str, Any]:
    text, place = row["text"], row["place"] - 1
    start, end = max(0, place - _AROUND), place + length
    told = {name: row[name] for name in ("doc_id", "snapshot", "url", "source", "lang", "n_tokens")}
    return {**told, "before": text[start:place], "match": text[place:end], "after": text[end : end + _AROUND]}
