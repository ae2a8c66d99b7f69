"""Text files for trainers that tokenise themselves: JSON lines and parquet, one folder per cluster."""

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gem_assets.export.documents import Part

PARQUET = pa.schema([("doc_id", pa.string()), ("text", pa.large_string()), ("n_tokens", pa.int64())])
_GROUP_BYTES = 1 << 26


def write_jsonl(folder: Path, parts: Iterator[Part], shard_bytes: int, *, compress: bool) -> list[str]:
    """Write ``{"doc_id", "text", "n_tokens"}`` lines; the same documents give the same bytes.

    Returns the names of the files, each of about ``shard_bytes`` before compression.
    """
    names: list[str] = []
    file: io.BufferedIOBase | None = None
    raw: io.BufferedIOBase | None = None
    room = 0
    try:
        for part in parts:
            if file is None or room <= 0:
                _close(file, raw)
                names.append(f"part-{len(names):05d}.jsonl" + (".gz" if compress else ""))
                raw = (folder / names[-1]).open("wb")
                # no name and no time in the header
                file = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if compress else raw
                room = shard_bytes
            for doc_id, text, tokens in zip(part.doc_ids, part.texts, part.lengths.tolist(), strict=True):
                line = json.dumps({"doc_id": doc_id, "text": text, "n_tokens": tokens}, ensure_ascii=False) + "\n"
                room -= file.write(line.encode("utf-8", errors="surrogatepass"))
    finally:
        _close(file, raw)
    return names


def _close(file: io.BufferedIOBase | None, raw: io.BufferedIOBase | None) -> None:
    if file is not None:
        file.close()
    if raw is not None:
        raw.close()


def count_jsonl(paths: Iterable[Path]) -> tuple[int, int]:
    """Count documents and their tokens in files of JSON lines."""
    documents = tokens = 0
    for path in paths:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                documents += 1
                tokens += int(json.loads(line)["n_tokens"])
    return documents, tokens


def write_parquet(folder: Path, parts: Iterator[Part], shard_bytes: int) -> list[str]:
    """Write doc_id, text and n_tokens; return the names of the files, each of about `shard_bytes` of text."""
    names: list[str] = []
    writer: pq.ParquetWriter | None = None
    waiting: list[pa.RecordBatch] = []
    held = room = 0
    try:
        for part in parts:
            if writer is None or room <= 0:
                if writer is not None:
                    _flush(writer, waiting)
                    writer.close()
                names.append(f"part-{len(names):05d}.parquet")
                writer = pq.ParquetWriter(folder / names[-1], PARQUET, compression="zstd", use_dictionary=False)
                waiting, held, room = [], 0, shard_bytes
            batch = pa.record_batch([part.doc_ids, part.texts, part.lengths], schema=PARQUET)
            waiting.append(batch)
            held += batch.nbytes
            room -= batch.nbytes
            if held >= _GROUP_BYTES:
                _flush(writer, waiting)
                waiting, held = [], 0
        if writer is not None:
            _flush(writer, waiting)
    finally:
        if writer is not None:
            writer.close()
    return names


def _flush(writer: pq.ParquetWriter, batches: list[pa.RecordBatch]) -> None:
    if batches:
        writer.write_table(pa.Table.from_batches(batches))


def read_lengths(path: Path) -> npt.NDArray[np.int64]:
    """(n,) token counts of a parquet file's documents."""
    return pq.read_table(path, columns=["n_tokens"]).column("n_tokens").to_numpy()
