import bz2
import datetime as dt
import gzip
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import zstandard

from gem_assets.corpus.config import ColumnNames, CorpusConfig
from gem_assets.corpus.readers.records import Quarantined, RawDocument
from gem_assets.corpus.readers.registry import READERS, Reader
from gem_assets.corpus.schema import QUARANTINE_REASONS
from tests.corpus.making import documents, items, jsonl, members, parquet, prose, quarantined, response

ROWS = [{"text": prose(i), "url": f"https://example.org/{i}"} for i in range(5)]


def save(tmp_path, data, name):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.jsonl", bytes),
        ("a.jsonl.gz", gzip.compress),
        ("a.jsonl.zst", zstandard.compress),
        ("a.jsonl.bz2", bz2.compress),
    ],
)
def test_jsonl_in_every_wrapping(tmp_path, name, pack):
    found = items(save(tmp_path, pack(jsonl(ROWS)), name))
    assert [(d.offset, d.text, d.url) for d in documents(found)] == [
        (i, row["text"], row["url"]) for i, row in enumerate(ROWS)
    ]
    assert quarantined(found) == []


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.bin", "a", "a.warc.jsonl", "a.warc", "a.parquet"])
def test_content_decides_before_the_name(tmp_path, name):
    assert len(documents(items(save(tmp_path, jsonl(ROWS), name)))) == 5
    assert len(documents(items(save(tmp_path, parquet({"text": [prose(1)]}), name)))) == 1
    assert len(documents(items(save(tmp_path, members([response(prose(1))]), name)))) == 1


BAD_LINES = [
    (b'{"text": "never closed', "damaged_json"),
    (b'["a", "list"]', "not_an_object"),
    (b'"a string"', "not_an_object"),
    (b"{}", "missing_text"),
    (b'{"text": null}', "null_text"),
    (b'{"text": 7}', "text_not_string"),
    (b'{"text": "caf\xe9"}', "invalid_utf8"),
    (b"[" * 100_000, "damaged_json"),
    (b'{"text": ' + b"9" * 5000 + b"}", "damaged_json"),
    (b"\x00\x00", "damaged_json"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_one_bad_line_costs_one_line(tmp_path, line, reason):
    found = items(save(tmp_path, jsonl(ROWS[:2]) + line + b"\n" + jsonl(ROWS[2:]), "a.jsonl"))
    assert quarantined(found) == [(2, reason)]
    assert [d.offset for d in documents(found)] == [0, 1, 3, 4, 5]


def test_line_cut_in_half(tmp_path):
    data = jsonl(ROWS)
    found = items(save(tmp_path, data[:-40], "a.jsonl"))
    assert quarantined(found) == [(4, "truncated_json")]
    assert len(documents(found)) == 4
    # a last line without its line end is whole
    assert len(documents(items(save(tmp_path, data[:-1], "a.jsonl")))) == 5


def test_line_ends_and_byte_order_marks(tmp_path):
    data = b"\xef\xbb\xbf" + jsonl(ROWS).replace(b"\n", b"\r\n") + b"\n \r\n"
    found = items(save(tmp_path, data, "a.jsonl"))
    assert len(documents(found)) == 5
    assert quarantined(found) == []


@pytest.mark.parametrize(
    ("name", "pack", "reason"),
    [
        ("a.jsonl.gz", gzip.compress, "truncated_gzip"),
        ("a.jsonl.zst", zstandard.compress, "truncated_zstd"),
        ("a.jsonl.bz2", bz2.compress, "truncated_bz2"),
    ],
)
def test_streams_that_end_early(tmp_path, name, pack, reason):
    rng = np.random.default_rng(0)
    rows = [{"text": rng.bytes(400).hex()} for _ in range(4000)]
    packed = pack(jsonl(rows))
    found = items(save(tmp_path, packed[: len(packed) * 2 // 3], name))
    assert [r for _, r in quarantined(found)] == [reason]
    assert [d.text for d in documents(found)] == [row["text"] for row in rows[: len(documents(found))]]
    assert len(documents(found)) > 100


def test_gzip_damage(tmp_path):
    one, two = gzip.compress(jsonl(ROWS[:2])), gzip.compress(jsonl(ROWS[2:]))
    assert len(documents(items(save(tmp_path, one + two, "a.jsonl.gz")))) == 5
    assert len(documents(items(save(tmp_path, one + b"\0" * 600 + two, "a.jsonl.gz")))) == 5
    found = items(save(tmp_path, one + b"garbage behind", "a.jsonl.gz"))
    assert [r for _, r in quarantined(found)] == ["damaged_gzip"]
    assert len(documents(found)) == 2
    wrong_crc = one[:-8] + b"\0\0\0\0" + one[-4:]
    found = items(save(tmp_path, wrong_crc, "a.jsonl.gz"))
    assert [r for _, r in quarantined(found)] == ["damaged_gzip"]


@pytest.mark.parametrize(("name", "pack"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress)])
def test_decompression_bombs_stop_early(tmp_path, name, pack):
    config = CorpusConfig(bomb_floor_bytes=1 << 20, max_decompression_ratio=100)
    bomb = pack(jsonl(ROWS) + b'{"text": "' + b"0" * 50_000_000 + b'"}\n')
    found = items(save(tmp_path, bomb, name), config)
    assert [r for _, r in quarantined(found)] == ["decompression_bomb"]
    assert len(documents(found)) == 5
    small = CorpusConfig(max_decompressed_bytes=100_000)
    assert [r for _, r in quarantined(items(save(tmp_path, bomb, name), small))] == ["decompression_bomb"]


def test_honest_compression_is_no_bomb(tmp_path):
    config = CorpusConfig(bomb_floor_bytes=1 << 20, max_decompression_ratio=100)
    data = gzip.compress(b"".join(jsonl([{"text": prose(i, 400)}]) for i in range(2000)))
    assert quarantined(items(save(tmp_path, data, "a.jsonl.gz"), config)) == []


def test_fifty_megabytes_in_one_document(tmp_path):
    big = "harbour " * (50_000_000 // 8)
    data = jsonl([ROWS[0], {"text": big}, ROWS[1]])
    found = items(save(tmp_path, data, "a.jsonl"))
    assert quarantined(found) == [(1, "too_large")]
    assert next(item.n_bytes for item in found if isinstance(item, Quarantined)) > 50_000_000
    assert [d.offset for d in documents(found)] == [0, 2]
    found = items(save(tmp_path, parquet({"text": [prose(0), big]}), "a.parquet"))
    assert quarantined(found) == [(1, "too_large")]
    larger = CorpusConfig(max_record_bytes=100_000_000)
    assert len(documents(items(save(tmp_path, data, "a.jsonl"), larger))) == 3


class TestColumns:
    def test_defaults_and_order(self, tmp_path):
        data = parquet({"content": ["no"], "text": [prose(1)], "id": ["own-id"], "language": ["DE"]})
        [found] = documents(items(save(tmp_path, data, "a.parquet")))
        assert (found.text, found.url, found.id, found.lang) == (prose(1), None, "own-id", "DE")

    def test_own_names(self, tmp_path):
        config = CorpusConfig(columns=ColumnNames(text="body_plain", label=("kind", "sort")))
        table = {"body_plain": [prose(1)], "sort": ["news"], "text": ["no"]}
        [found] = documents(items(save(tmp_path, parquet(table), "a.parquet"), config))
        assert (found.text, found.label) == (prose(1), "news")
        [found] = documents(items(save(tmp_path, jsonl([{k: v[0] for k, v in table.items()}]), "a.jsonl"), config))
        assert (found.text, found.label) == (prose(1), "news")

    def test_no_text_column(self, tmp_path):
        [item] = items(save(tmp_path, parquet({"texte": ["x"], "n": [1]}), "a.parquet"))
        assert isinstance(item, Quarantined)
        assert item.reason == "missing_text_column"
        for word in ("texte", "raw_content", "corpus.columns.text"):
            assert word in item.detail

    def test_text_column_of_numbers(self, tmp_path):
        assert quarantined(items(save(tmp_path, parquet({"text": [1, 2]}), "a.parquet"))) == [(0, "text_not_string")]

    def test_values_of_any_type(self, tmp_path):
        table = pa.table(
            {
                "text": [prose(1)],
                "date": [dt.datetime(2026, 1, 2, 3, 4)],
                "label": pa.array([{"a": [1, 2]}]),
                "license": [7],
                "url": pa.array([b"https://example.org/\xff"], pa.binary()),
            }
        )
        [found] = documents(items(save(tmp_path, parquet(table), "a.parquet")))
        assert found.date == "2026-01-02T03:04:00"
        assert found.label == '{"a": [1, 2]}'
        assert found.license == "7"
        assert found.url == "https://example.org/\ufffd"


class TestParquet:
    def test_kinds_of_string_columns(self, tmp_path):
        values = [prose(1), None, prose(2)]
        for kind in (
            *(pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view()),
            pa.dictionary(pa.int32(), pa.string()),
        ):
            column = pa.array(values, pa.string())
            table = pa.table({"text": column.cast(kind) if kind != pa.string() else column})
            found = items(save(tmp_path, parquet(table), "a.parquet"))
            assert [d.text for d in documents(found)] == [prose(1), prose(2)], kind
            assert quarantined(found) == [(1, "null_text")], kind

    def test_row_groups_keep_counting(self, tmp_path):
        texts = [prose(i) for i in range(25)]
        found = documents(items(save(tmp_path, parquet({"text": texts}, row_group_size=10), "a.parquet")))
        assert [(d.offset, d.text) for d in found] == list(enumerate(texts))

    def test_a_row_that_is_not_utf8(self, tmp_path):
        raw = pa.array([prose(0).encode(), b"caf\xe9", prose(2).encode()], pa.binary())
        column = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
        found = items(save(tmp_path, parquet(pa.table({"text": column})), "a.parquet"))
        assert quarantined(found) == [(1, "invalid_utf8")]
        assert [d.offset for d in documents(found)] == [0, 2]

    def test_footer_missing(self, tmp_path):
        data = parquet({"text": [prose(i) for i in range(50)]})
        for cut in (data[:-8], data[: len(data) // 2], data[:4], b"PAR1" * 3):
            assert quarantined(items(save(tmp_path, cut, "a.parquet"))) == [(0, "damaged_parquet")]

    def test_a_damaged_row_group_costs_itself(self, tmp_path):
        texts = [prose(i, 200) for i in range(30)]
        data = bytearray(parquet({"text": texts}, row_group_size=10, compression="zstd", use_dictionary=False))
        third = len(data) // 3
        data[third + 200 : third + 260] = b"\xff" * 60
        found = items(save(tmp_path, bytes(data), "a.parquet"))
        assert [r for _, r in quarantined(found)] == ["damaged_parquet"]
        assert len(documents(found)) == 20

    def test_a_dictionary_is_no_way_to_unfold(self, tmp_path):
        big = "x" * 5_000_000
        column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array([big]))
        config = CorpusConfig(bomb_floor_bytes=50_000_000)
        found = items(save(tmp_path, parquet(pa.table({"text": column})), "a.parquet"), config)
        # the eleventh text is the one with which 50 MB are passed
        assert quarantined(found) == [(10, "decompression_bomb")]
        assert [d.offset for d in documents(found)] == list(range(11))

    @pytest.mark.parametrize("use_dictionary", [True, False])
    def test_sound_rows_and_others_keep_their_order(self, tmp_path, use_dictionary):
        n = 2_000
        texts = [b"caf\xe9" if i % 50 == 3 else b"x" * 2000 if i % 70 == 9 else prose(i).encode() for i in range(n)]
        labels = [[["a", "b"], None, ["c"]][i % 3] for i in range(n)]
        raw = pa.array([None if i % 60 == 5 else text for i, text in enumerate(texts)], pa.binary())
        table = pa.table({"text": raw, "url": [f"u{i}" if i % 4 else " " for i in range(n)], "label": labels})
        data = parquet(table, use_dictionary=use_dictionary, row_group_size=900)
        found = items(save(tmp_path, data, "a.parquet"), CorpusConfig(max_record_bytes=1_100))
        assert [item.offset for item in found] == list(range(n))
        reasons = dict(quarantined(found))
        assert reasons == {
            i: "null_text" if i % 60 == 5 else "invalid_utf8" if i % 50 == 3 else "too_large"
            for i in range(n)
            if i % 60 == 5 or i % 50 == 3 or i % 70 == 9
        }
        assert [item.url for item in found] == [f"u{i}" if i % 4 else None for i in range(n)]
        for item in documents(found):
            assert item.text == prose(item.offset)
            assert (item.n_bytes, item.label) == (len(item.text), ["a, b", None, "c"][item.offset % 3])

    def test_a_field_that_cannot_be_written_costs_its_row(self, tmp_path, monkeypatch):
        def fails(field, value):
            if value == "u2":
                raise TypeError(value)
            return value

        texts = [prose(i) for i in range(4)]
        path = save(tmp_path, parquet({"text": texts, "url": [f"u{i}" for i in range(4)]}), "a.parquet")
        monkeypatch.setattr("gem_assets.corpus.readers.parquet.as_field", fails)
        monkeypatch.setattr("gem_assets.corpus.readers.fields.as_field", fails)
        found = items(path)
        assert [(d.offset, d.text, d.url) for d in documents(found)] == [(i, texts[i], f"u{i}") for i in (0, 1, 3)]
        assert quarantined(found) == [(2, "reader_error")]

    def test_large_groups_with_a_dictionary(self, tmp_path, monkeypatch):
        texts = [prose(i) for i in range(20)] * 3
        monkeypatch.setattr("gem_assets.corpus.readers.parquet._SMALL_DICTIONARY", 10)
        monkeypatch.setattr("gem_assets.corpus.readers.parquet._LARGEST_BATCH", 100_000)
        found = documents(items(save(tmp_path, parquet({"text": texts}), "a.parquet")))
        assert [d.text for d in found] == texts

    def test_no_rows(self, tmp_path):
        assert items(save(tmp_path, parquet({"text": pa.array([], pa.string())}), "a.parquet")) == []


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.jsonl", b"", "empty_file"),
        ("empty.parquet", b"", "empty_file"),
        ("data.xyz", b"\x00\x01\x02 what is this", "unknown_format"),
        ("image.png", b"\x89PNG\r\n", "unknown_format"),
        ("paper.html", b"%PDF-1.4\n1 0 obj << /Type /Page >> endobj", "unknown_format"),
        ("picture.txt", b"\x89PNG\r\n\x1a\n", "unknown_format"),
        ("packed.gz", gzip.compress(b"\x00\x01", mtime=0), "unknown_format"),
        ("latin.txt", "caf\xe9".encode("latin-1"), "invalid_utf8"),
    ],
)
def test_files_that_are_no_corpus(tmp_path, name, data, reason):
    assert quarantined(items(save(tmp_path, data, name))) == [(0, reason)]


def test_plain_files(tmp_path):
    [found] = documents(items(save(tmp_path, prose(1).encode(), "notes.md")))
    assert (found.text, found.url, found.offset) == (prose(1), None, 0)
    [found] = documents(items(save(tmp_path, f"<p>{prose(2)}</p>".encode(), "page.html")))
    assert found.text.strip() == prose(2)
    assert len(documents(items(save(tmp_path, gzip.compress(prose(1).encode()), "notes.txt.gz")))) == 1


def test_a_file_that_vanishes(tmp_path):
    with pytest.raises(FileNotFoundError):
        items(tmp_path / "absent.jsonl")


def test_a_reader_that_fails_is_a_row_without_text(tmp_path, monkeypatch):
    def explode(*_):
        yield from ()
        raise RuntimeError("private words of a document")

    monkeypatch.setitem(READERS, "jsonl", replace(READERS["jsonl"], read=explode))
    [item] = items(save(tmp_path, jsonl(ROWS), "a.jsonl"))
    assert isinstance(item, Quarantined)
    assert (item.reason, item.detail) == ("reader_error", "RuntimeError after 0 records")


def test_every_reason_is_explained():
    assert all(QUARANTINE_REASONS.values())


class PanicException(BaseException):
    """What native code raises when it panics."""


class InterruptedByTheServer(BaseException):
    """What ends a run from outside."""


def test_a_panic_is_a_fault_of_the_file_and_an_interruption_is_not(tmp_path, monkeypatch):
    path = save(tmp_path, jsonl(ROWS), "a.jsonl")

    def opened(error):
        def fail(*_, **__):
            raise error

        return fail

    monkeypatch.setattr(type(path), "open", opened(PanicException()))
    (found,) = items(path)
    assert (found.reason, found.detail) == ("reader_error", "PanicException after 0 records")
    for error in (InterruptedByTheServer(), KeyboardInterrupt(), MemoryError()):
        monkeypatch.setattr(type(path), "open", opened(error))
        with pytest.raises(type(error)):
            items(path)


def test_a_generator_and_its_line_are_all_that_a_new_reader_takes(tmp_path, monkeypatch):
    def read_cards(source, relative, config):
        for offset, line in enumerate(source.read().decode().splitlines()[1:]):
            yield RawDocument(relative, offset, line, len(line))

    rows = b"CARDS 1\n" + "\n".join(prose(i) for i in range(3)).replace("\n\n", " ").encode()
    before = items(save(tmp_path, rows, "a.cards"))
    assert quarantined(before) == [(0, "unknown_format")]
    reader = Reader(read_cards, frozenset({".cards"}), re.compile(b"CARDS "))
    monkeypatch.setitem(READERS, "cards", reader)
    for name in ("a.cards", "a.bin", "a.warc"):
        found = items(save(tmp_path, rows, name))
        assert [d.text for d in documents(found)] == rows.decode().splitlines()[1:]
        assert quarantined(found) == []
    assert len(documents(items(save(tmp_path, b"a card\nanother", "b.cards")))) == 1
