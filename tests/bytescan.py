"""Every byte below a folder, decompressed, searched for sentences with pyarrow, lance and sqlite3, not our readers."""

import bz2
import gzip
import lzma
import sqlite3
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import zstandard
from tokenizers import Tokenizer

_PACKED = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"\x28\xb5\x2f\xfd": lambda raw: zstandard.ZstdDecompressor().stream_reader(raw).read(),
}
_WIDTHS = ("<u2", "<u4")


def holders(root: Path, sentences: Sequence[str], tokenizer: Path | None = None) -> dict[str, list[str]]:
    """Files below ``root`` and versions of Lance tables that hold a sentence, and which; sentences hold plain words."""
    needles = {
        sentence: [sentence.encode(), sentence.encode("utf-16-le"), *_runs(sentence, tokenizer)]
        for sentence in sentences
    }
    found: dict[str, list[str]] = {}
    for where, raw in _everything(root):
        hit = [sentence for sentence, forms in needles.items() if any(form in raw for form in forms)]
        if hit:
            found[where] = sorted({*found.get(where, []), *hit})
    return found


def _runs(sentence: str, tokenizer: Path | None) -> Iterator[bytes]:
    if tokenizer is None:
        return
    loaded = Tokenizer.from_file(str(tokenizer))
    for text in (sentence, f" {sentence}"):
        # the ends of a run depend on what stands beside it
        ids = loaded.encode(text, add_special_tokens=False).ids[1:-1]
        assert len(ids) >= 8, "too short to be looked for among other tokens"
        yield from (np.array(ids, width).tobytes() for width in _WIDTHS)


def _everything(root: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink()):
        name, raw = path.relative_to(root).as_posix(), path.read_bytes()
        yield name, raw
        for magic, unpack in _PACKED.items():
            if raw.startswith(magic):
                yield name, unpack(raw)
        if raw[:4] == b"PAR1":
            for batch in pq.ParquetFile(path).iter_batches():
                yield name, _strings(batch)
        elif raw[:6] == b"ARROW1":
            with ipc.open_file(path) as reader:
                for i in range(reader.num_record_batches):
                    yield name, _strings(reader.get_batch(i))
        elif raw[:15] == b"SQLite format 3":
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
                yield name, "\n".join(database.iterdump()).encode()
        elif raw[:2] == b"PK":
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    yield name, archive.read(member)
    for table in sorted(root.rglob("*.lance")):
        if (table / "_versions").is_dir():
            newest = lance.dataset(str(table))
            for version in newest.versions():
                at = lance.dataset(str(table), version=version["version"])
                for batch in at.to_batches():
                    yield f"{table.relative_to(root).as_posix()}@{version['version']}", _strings(batch)


def _strings(batch: pa.RecordBatch) -> bytes:
    """Every string and binary value of a batch, nested ones too."""
    return b"\n".join(_values(column) for column in batch.columns)


def _values(column: pa.Array) -> bytes:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _values(column.dictionary)
    if pa.types.is_struct(kind):
        return b"\n".join(_values(column.field(i)) for i in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _values(column.flatten())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "\n".join(value or "" for value in column.to_pylist()).encode()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return b"\n".join(value or b"" for value in column.to_pylist())
    return b""
