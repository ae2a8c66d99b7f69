"""A failing storage costs no document: it is tried again, then it ends the ingest, and never becomes a row."""

import bz2
import errno
import gzip
import io
import lzma
import shutil
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard

from gem_assets.corpus.fingerprints import landed_digests
from gem_assets.corpus.fragments import fragment_path
from gem_assets.corpus.ingest import LandedFileChangedError
from gem_assets.parallel.pool import pool_map, serial
from gem_assets.parallel.shard_map import ShardHungError
from gem_assets.storage import faults
from gem_assets.storage.faults import StorageError
from tests.corpus.making import bytes_of, ingest, items, jsonl, members, parquet, prose, response

ROWS = [{"text": prose(n), "url": f"https://www.example.org/{n}"} for n in range(400)]
FILES = {
    "a.jsonl": jsonl(ROWS[:100]),
    "b.jsonl.gz": gzip.compress(jsonl(ROWS[100:200]), mtime=0),
    "c.warc.gz": members([response(prose(n), f"https://www.example.org/{n}") for n in range(200, 240)]),
    "d.parquet": parquet(pa.Table.from_pylist(ROWS[300:])),
    "e.jsonl.gz": gzip.compress(jsonl(ROWS[:50]), mtime=0)[:-400],
}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(faults, "PAUSES_S", (0.0, 0.0, 0.0))


class Failing(io.FileIO):
    """A file whose reads fail from its middle on."""

    def __init__(self, path, number=errno.EIO):
        super().__init__(path, "rb")
        self.half = Path(path).stat().st_size // 2
        self.number = number

    def read(self, size=-1, /):
        if self.tell() >= self.half:
            raise OSError(self.number, "the storage failed")
        return super().read(min(size, self.half) if size >= 0 else self.half)

    def readall(self):
        return self.read()

    def readinto(self, buffer, /):
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def fail_at(monkeypatch, number, faults_in_a_row, name="c.warc.gz"):
    """Let the storage fail in the middle of one landed file, so many times."""
    from gem_assets.corpus import fingerprints

    left = [faults_in_a_row]
    opened = fingerprints.open_regular

    def open_regular(path):
        if Path(path).name == name and left[0] > 0:
            left[0] -= 1
            return Failing(path, number)
        return opened(path)

    monkeypatch.setattr(fingerprints, "open_regular", open_regular)


def pinned(folder):
    return {relative: digest for relative, _, digest in landed_digests(folder)}


@pytest.fixture
def undisturbed(tmp_path):
    report, out = ingest(tmp_path, FILES, out="undisturbed")
    assert report.quarantined == {"truncated_gzip": 1}, "damage in a document is a row, as ever"
    return tmp_path, pinned(tmp_path / "landing" / "s1"), bytes_of(out)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_fault_in_the_middle_of_a_file_that_passes_changes_nothing(undisturbed, monkeypatch, number):
    root, digests, expected = undisturbed
    fail_at(monkeypatch, number, 2)
    _, out = ingest(root, {}, pinned=digests)
    assert bytes_of(out) == expected


def test_a_fault_that_stays_ends_the_ingest_and_the_next_try_gives_the_same(undisturbed, monkeypatch):
    root, digests, expected = undisturbed
    with monkeypatch.context() as patch:
        fail_at(patch, errno.EIO, 100)
        with pytest.raises(StorageError, match=r"cannot read .*c\.warc\.gz, 4 times in a row: .*the storage failed"):
            ingest(root, {}, pinned=digests, map_shards=serial)
    assert list((root / "out-s1").iterdir()) == []
    _, out = ingest(root, {}, pinned=digests)
    assert bytes_of(out) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_goes_while_the_others_are_read(undisturbed, workers):
    root, digests, expected = undisturbed
    landed = root / "landing" / "s1" / "b.jsonl.gz"
    away = root / "away"

    def without(fn, items, label):
        landed.rename(away)
        mapped = partial(pool_map, workers=workers, timeout_s=60) if workers else serial
        yield from mapped(partial(hastily, fn), items, label)

    with pytest.raises(StorageError, match=r"cannot read .*b\.jsonl\.gz, 4 times in a row"):
        ingest(root, {}, pinned=digests, map_shards=without)
    away.rename(landed)
    _, out = ingest(root, {}, pinned=digests)
    assert bytes_of(out) == expected


def hastily(fn, item):
    """Map in a worker, whose pauses are its own."""
    faults.PAUSES_S = (0.0, 0.0, 0.0)
    return fn(item)


def test_other_bytes_are_never_read_for_the_landed_ones(undisturbed):
    root, digests, _ = undisturbed
    (root / "landing" / "s1" / "a.jsonl").write_bytes(jsonl(ROWS[200:300]))
    with pytest.raises(LandedFileChangedError, match=r"a\.jsonl changed"):
        ingest(root, {}, pinned=digests)


def test_a_folder_that_may_not_be_read_is_no_row(tmp_path, monkeypatch):
    monkeypatch.setattr("gem_assets.corpus.landed.os.access", lambda path, _: not str(path).endswith("a.jsonl"))
    with pytest.raises(StorageError, match=r"no permission to read.*a\.jsonl"):
        ingest(tmp_path, FILES)


def hanging(fn, items, label, *, copied):
    """Map as an engine does that has to stop the reader of one file, before or after its bytes were copied."""
    for item in items:
        if item.relative == "b.jsonl.gz":
            if copied:
                shutil.copyfile(item.path, fragment_path(Path(fn.keywords["scratch"]), item.index, "source"))
            raise ShardHungError(f"{label}: shard {item} was stopped", item)
        yield fn(item)


def test_a_storage_that_hangs_is_no_hung_document(undisturbed):
    root, digests, _ = undisturbed
    with pytest.raises(StorageError, match=r"b\.jsonl\.gz was stopped; its bytes had not all come by then"):
        ingest(root, {}, pinned=digests, map_shards=partial(hanging, copied=False))


def test_a_document_that_hangs_its_reader_is_a_row_as_ever(undisturbed):
    root, digests, _ = undisturbed
    report, _ = ingest(root, {}, pinned=digests, map_shards=partial(hanging, copied=True))
    assert report.hung == ["b.jsonl.gz"]
    assert report.quarantined == {"hung": 1, "truncated_gzip": 1}


PACKED = {
    "a.jsonl": jsonl(ROWS),
    "a.json": b"[" + jsonl(ROWS).replace(b"\n", b",")[:-1] + b"]",
    "a.txt": prose(1, 100_000).encode(),
    "a.html": b"<p>" + prose(1, 100_000).encode(),
    "a.jsonl.gz": gzip.compress(jsonl(ROWS)),
    "a.jsonl.bz2": bz2.compress(jsonl(ROWS)),
    "a.jsonl.xz": lzma.compress(jsonl(ROWS)),
    "a.jsonl.zst": zstandard.compress(jsonl(ROWS)),
    "a.jsonl.lz4": pa.Codec("lz4").compress(jsonl(ROWS), asbytes=True),
    "a.warc": b"".join(response(prose(n)) for n in range(200)),
    "a.warc.gz": FILES["c.warc.gz"],
}


@pytest.mark.parametrize("name", PACKED)
def test_no_reader_takes_a_failing_storage_for_damage(tmp_path, monkeypatch, name):
    path = tmp_path / name
    path.write_bytes(PACKED[name])
    assert path.stat().st_size > 2000
    monkeypatch.setattr(Path, "open", lambda self, mode: Failing(self))
    with pytest.raises(OSError, match="the storage failed"):
        items(path)


@pytest.mark.parametrize("where", ["read_schema", "ParquetFile.iter_batches"])
def test_nor_does_the_reader_of_parquet(tmp_path, monkeypatch, where):
    path = tmp_path / "a.parquet"
    path.write_bytes(FILES["d.parquet"])

    def fail(*_, **__):
        raise OSError(errno.EIO, "the storage failed")

    monkeypatch.setattr(f"pyarrow.parquet.{where}", fail)
    with pytest.raises(OSError, match="the storage failed"):
        items(path)


def test_a_process_that_cannot_be_started_is_no_damage_of_a_page(tmp_path, monkeypatch):
    from gem_assets.corpus.text import contained

    def fail(*_, **__):
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    contained._drop_helper()
    monkeypatch.setattr(contained.subprocess, "Popen", fail)
    path = tmp_path / "a.warc"
    path.write_bytes(PACKED["a.warc"])
    with pytest.raises(BlockingIOError):
        items(path)
