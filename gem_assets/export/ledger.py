"""Record which documents an export holds, and how each can be found again in its files.

Binary formats keep no ids. So every export carries ``exported.parquet``: doc_id, cluster, the SHA-256 of the text in
UTF-8 and, where there is a tokenizer, that of the token run: the document's ids as little-endian uint32, without the
end-of-document token. A takedown finds a document by them long after its text is gone.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

LEDGER_NAME = "exported.parquet"
EOS_ID = b"eos_id"
"""Schema metadata: the token that ends a document in the binary files."""

_SCHEMA = pa.schema([("doc_id", pa.string()), ("cluster", pa.int16()), ("text", pa.string()), ("run", pa.string())])


def run_digest(ids: npt.NDArray[Any]) -> str:
    """Return the digest of a document's (n,) token ids, whatever their width."""
    return sha256(ids.astype("<u4").tobytes()).hexdigest()


def text_digest(text: str) -> str:
    """Return the digest of a text."""
    return sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


class Ledger:
    """Writes ``exported.parquet`` into an export folder while its documents pass.

    ``eos_id`` is the end-of-document token, and None without a tokenizer.
    """

    def __init__(self, folder: Path, eos_id: int | None) -> None:
        self._schema = _SCHEMA if eos_id is None else _SCHEMA.with_metadata({EOS_ID: str(eos_id)})
        self._writer = pq.ParquetWriter(folder / LEDGER_NAME, self._schema, compression="zstd")

    def add(
        self,
        cluster: int,
        doc_ids: list[str],
        texts: list[str],
        lengths: npt.NDArray[np.int64],
        ids: npt.NDArray[np.uint32] | None,
    ) -> None:
        """Add (n,) documents of one cluster; ``lengths`` count the end-of-document token that ``ids`` hold."""
        runs: list[str | None] = [None] * len(doc_ids)
        if ids is not None:
            ends = np.cumsum(lengths)
            runs = [run_digest(ids[a : b - 1]) for a, b in zip((ends - lengths).tolist(), ends.tolist(), strict=True)]
        columns = [
            pa.array(doc_ids, pa.string()),
            pa.array(np.full(len(doc_ids), cluster, dtype=np.int16)),
            pa.array([text_digest(text) for text in texts], pa.string()),
            pa.array(runs, pa.string()),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


def keep_written(folder: Path, files: list[Path]) -> None:
    """Reduce the ledger of an export to the documents that its parquet files name."""
    # a takedown that only reads ledgers does not pay for the import
    import duckdb

    path = folder / LEDGER_NAME
    schema = pq.read_schema(path)
    with duckdb.connect() as database:
        database.read_parquet(str(path)).create_view("ledger")
        database.read_parquet([str(file) for file in files]).create_view("written")
        kept = database.sql("SELECT * FROM ledger SEMI JOIN written USING (doc_id) ORDER BY doc_id").to_arrow_table()
    pq.write_table(kept.cast(schema), path, compression="zstd")
