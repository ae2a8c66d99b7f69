"""Readers never raise and never hang, whatever the bytes are."""

import bz2
import gzip
import random

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gem_assets.corpus.charsets import decode_bytes
from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.fragments import FileJob, extract_file
from gem_assets.corpus.html import html_to_text
from gem_assets.corpus.records import Quarantined, RawDocument
from gem_assets.corpus.schema import FILTER_REASONS, QUARANTINE_REASONS
from tests.corpus.making import (
    conversion,
    documents,
    http,
    items,
    jsonl,
    members,
    page,
    parquet,
    prose,
    response,
    warc_record,
)

CONFIG = CorpusConfig(max_record_bytes=100_000, bomb_floor_bytes=1 << 20)
ARC = b"filedesc://x.arc 0.0.0.0 20260101000000 text/plain 22\n1 0 x\nURL IP-address\n\n\n" + b"".join(
    b"http://example.org/%d 1.2.3.4 20260102030405 text/html %d\n%s\n" % (i, len(body), body)
    for i, body in enumerate([http(page(prose(1))), http(page(prose(2)))])
)
CHUNKED = http(b"5\r\nhello\r\n0\r\n\r\n", "Content-Type: text/html\r\nTransfer-Encoding: chunked")
PACKED = http(gzip.compress(page(prose(4)), mtime=0), "Content-Type: text/html\r\nContent-Encoding: gzip")
RECORDS = [
    warc_record("warcinfo", b"software: x", None, "application/warc-fields"),
    response(prose(1)),
    warc_record("response", CHUNKED),
    warc_record("response", PACKED),
    conversion(prose(2), "https://example.org/2"),
]
LINES = jsonl([{"text": prose(i), "url": f"u{i}", "date": "2026-01-01"} for i in range(4)])
SEEDS = {
    "a.warc": b"".join(RECORDS),
    "a.warc.gz": members(RECORDS),
    "one-member.warc.gz": gzip.compress(b"".join(RECORDS), mtime=0),
    "a.arc": ARC,
    "a.arc.gz": gzip.compress(ARC, mtime=0),
    "a.jsonl": LINES,
    "a.jsonl.gz": gzip.compress(LINES, mtime=0),
    "a.jsonl.zst": zstandard.compress(LINES),
    "a.jsonl.bz2": bz2.compress(LINES),
    "a.parquet": parquet({"text": [prose(i) for i in range(4)], "url": ["a", "b", "c", None]}, compression="zstd"),
    "b.parquet": parquet({"text": [prose(i) for i in range(4)]}, compression="none", use_dictionary=False),
    "a.html": page(prose(5)),
}


def check(path, name):
    found = items(path, CONFIG, name)
    for item in found:
        assert item.file == name
        assert item.offset >= 0
        if isinstance(item, Quarantined):
            assert item.reason in QUARANTINE_REASONS
            assert "harbour" not in item.detail
        elif isinstance(item, RawDocument):
            assert isinstance(item.text, str)
    return found


@pytest.mark.parametrize("name", SEEDS)
def test_the_seeds_are_sound(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(SEEDS[name])
    found = check(path, name)
    assert documents(found)
    assert not any(isinstance(item, Quarantined) for item in found)


@pytest.mark.parametrize("name", SEEDS)
def test_every_truncation(tmp_path, name):
    data, path = SEEDS[name], tmp_path / name
    path.write_bytes(data)
    whole = [d.text for d in documents(items(path, CONFIG))]
    step = max(1, len(data) // 60)
    for end in range(0, len(data), step):
        path.write_bytes(data[:end])
        found = check(path, name)
        # a shorter file never gives other documents, and never passes for the whole one in silence
        texts = [d.text for d in documents(found)]
        if not name.endswith(".html"):
            assert texts == whole[: len(texts)]
            assert (
                len(texts) == len(whole)
                or found == []
                or any(isinstance(i, Quarantined) for i in found)
                or ".gz" not in name
            )


@pytest.mark.parametrize("name", SEEDS)
def test_flipped_and_foreign_bytes(tmp_path, name):
    rng = random.Random(name)
    path = tmp_path / name
    for _ in range(60):
        data = bytearray(SEEDS[name])
        for _ in range(rng.randint(1, 8)):
            at = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[at] ^= 1 << rng.randrange(8)
                case 1:
                    data[at : at + rng.randint(1, 40)] = rng.randbytes(rng.randint(0, 40))
                case _:
                    other = rng.choice(list(SEEDS.values()))
                    data[at:at] = other[: rng.randint(1, 200)]
        path.write_bytes(bytes(data))
        check(path, name)


@given(st.binary(max_size=400), st.sampled_from([*SEEDS, "a.txt", "a.xyz"]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_under_any_name(tmp_path, data, name):
    path = tmp_path / name
    path.write_bytes(data)
    check(path, name)


@given(
    st.binary(max_size=200),
    st.sampled_from([b"PAR1", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"BZh9", b"WARC/1.0\r\n", b"filedesc:", b'{"']),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_behind_a_known_start(tmp_path, data, start):
    path = tmp_path / "unnamed"
    path.write_bytes(start + data)
    check(path, "unnamed")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["text", "url", "source", "date", "lang", "label", "license", "id"]), JSON),
        max_size=4,
    )
)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_json_becomes_rows(tmp_path, lines):
    import json

    path = tmp_path / "a.jsonl"
    path.write_bytes("".join(json.dumps(line) + "\n" for line in lines).encode())
    tally = extract_file(FileJob(0, str(path), "a.jsonl", None), scratch=str(tmp_path), config=CONFIG)
    assert tally.read == max(len(lines), 1)
    assert tally.read == tally.candidates + sum(tally.filtered.values()) + sum(tally.quarantined.values())
    assert set(tally.filtered) <= set(FILTER_REASONS)
    assert "reader_error" not in tally.quarantined


@given(st.binary(max_size=300), st.sampled_from([None, "utf-8", "shift_jis", "utf-16", "x"]))
@settings(max_examples=200)
def test_any_bytes_become_text(data, charset):
    assert isinstance(html_to_text(decode_bytes(data, charset, is_html=True)), str)
