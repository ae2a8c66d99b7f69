"""Readers never raise and never hang, whatever the bytes are."""

import contextlib
import gzip
import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gem_assets.corpus.fragments import FileJob, extract_file
from gem_assets.corpus.readers.http import parse_response
from gem_assets.corpus.readers.records import Damaged, Quarantined
from gem_assets.corpus.schema import FILTER_REASONS
from gem_assets.corpus.text.charsets import decode_bytes
from gem_assets.corpus.text.html import html_to_text
from tests.corpus import fuzzing
from tests.corpus.fuzzing import ARC, CONFIG, LINES, WARC, complaint
from tests.corpus.making import documents, items, page, prose

SEEDS = {name: data for group in fuzzing.SEEDS.values() for name, data in group.items()}


def check(path, name):
    found = items(path, CONFIG, name)
    assert complaint(found, name) is None
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


@pytest.mark.parametrize("reader", fuzzing.SEEDS)
def test_flipped_and_foreign_bytes(tmp_path, reader):
    for case in range(150):
        name, data = fuzzing.make(reader, random.Random(f"{reader}/{case}"))
        path = tmp_path / name
        path.write_bytes(data)
        check(path, name)


@pytest.mark.parametrize(
    ("case", "said"),
    [(24173, "'utf-8' codec can't decode byte 0xf4"), (27468, "into a dictionary of")],
    ids=["the name of a column is not UTF-8", "an index lies outside its dictionary"],
)
def test_what_a_long_search_in_parquet_found(tmp_path, case, said):
    name, data = fuzzing.make("parquet", random.Random(f"41/{case}"))
    path = tmp_path / name
    path.write_bytes(data)
    faults = [item for item in check(path, name) if isinstance(item, Quarantined)]
    assert [one.reason for one in faults] == ["damaged_parquet"]
    assert said in faults[0].detail


PIECES = {
    "overlapping headers": ("a.warc", b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 90000\r\n\r\n"),
    "overlapping headers beyond the limit": ("a.warc", b"WARC/1.0\r\nWARC-Type: x\r\nContent-Length: 9000000\r\n\r\n"),
    "headers without end": ("a.warc", b"WARC/1.0\r\nWARC-Type: x\r\n"),
    "versions": ("a.warc", b"WARC/1.0\r\n"),
    "fields": ("a.warc", b"WARC/1.0\r\n" + b"A: b\r\n" * 50),
    "folded lines": ("a.warc", b"WARC/1.0\r\nWARC-Type: x\r\n" + b" x\r\n" * 5000),
    "line ends": ("a.warc", b"\r\n"),
    "ARC line ends": ("a.arc", b"\n"),
    "ARC blanks": ("a.arc", b" \n"),
    "ARC lines": ("a.arc", b"a b c\n"),
    "ARC overlapping headers": ("a.arc", b"http://a/ 1.1.1.1 20200101000000 text/html 90000\n"),
    "ARC schemes": ("a.arc", b"http://a "),
    "ARC dates and a gap": ("a.arc", b"20200101000000 " * 4000 + b" 1\n"),
    "ARC dates": ("a.arc", b"20200101000000 "),
    "gzip magics": ("a.jsonl.gz", b"\x1f\x8b\x08\x00\x00"),
    "empty members": ("a.warc.gz", gzip.compress(b"")),
    "empty frames": ("a.jsonl.zst", b"\x50\x2a\x4d\x18\x00\x00\x00\x00"),
}


def seconds(path, name, data):
    """Return processor time, the best of three: another process on the machine only ever adds to it."""
    return min(fuzzing.read(path, name, data)[1] for _ in range(3))


@pytest.mark.parametrize("what", PIECES)
def test_cost_grows_with_the_file(tmp_path, what):
    name, piece = PIECES[what]
    start = WARC if "warc" in name else ARC if "arc" in name else b""
    start = gzip.compress(start or LINES) if ".gz" in name else start
    few = max(32_000 // len(piece), 1)
    short = seconds(tmp_path / "case", name, start + piece * few)
    # quadratic cost would be 64 times as much
    assert seconds(tmp_path / "case", name, start + piece * few * 8) < 8 * 3 * short + 0.1


@pytest.mark.parametrize(
    "piece",
    [
        b" x\r\n",
        b"A: b\r\n",
        b"A:\r\n",
        b"Content-Type: text/html\r\n",
        b"Content-Encoding: gzip\r\n",
        b"\r",
        b'"',
        b",",
    ],
)
def test_cost_of_http_headers_grows_with_them(piece):
    def took(times):
        block = b"HTTP/1.1 200 OK\r\nContent-Type: " + piece * times + b"\r\n\r\n" + page(prose(1))
        costs: list[float] = []
        for _ in range(3):
            begin = time.process_time()
            with contextlib.suppress(Damaged):
                parse_response(block, 1 << 30)
            costs.append(time.process_time() - begin)
        return min(costs)

    few = 60_000 // len(piece)
    assert took(few * 8) < 8 * 3 * took(few) + 0.1


@given(st.sampled_from(["warc", "arc", "jsonl"]), st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cost_of_generated_files_grows_with_them(tmp_path, reader, rng):
    name, state = min(fuzzing.SEEDS[reader]), rng.getstate()
    short = seconds(tmp_path / "case", name, fuzzing.expensive(fuzzing.TOKENS[reader], rng, 20_000))
    rng.setstate(state)
    long = seconds(tmp_path / "case", name, fuzzing.expensive(fuzzing.TOKENS[reader], rng, 160_000))
    assert long < 8 * 3 * short + 0.2


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
