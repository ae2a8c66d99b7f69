import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers import json_values
from gem_assets.corpus.readers.records import Quarantined
from tests.corpus.making import documents, items, jsonl, prose, quarantined

ROWS = [{"text": prose(i), "url": f"https://example.org/{i}", "meta": {"text": "x", "n": [i]}} for i in range(6)]
LINES = [json.dumps(row) for row in ROWS]


def found(tmp_path, text, config=None):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return items(path, config)


SHAPES = {
    "array in one line": json.dumps(ROWS),
    "array, one row a line": "[\n" + ",\n".join(LINES) + "\n]\n",
    "array, rows between its brackets": "[" + ",\n".join(LINES) + "]",
    "array, commas first": "[" + "\n,".join(LINES) + "\n]",
    "array, pretty-printed": json.dumps(ROWS, indent=2),
    "array with tabs": json.dumps(ROWS, indent="\t"),
    "array with a trailing comma": "[\n" + ",\n".join(LINES) + ",\n]\n",
    "array with line ends of Windows": json.dumps(ROWS, indent=2).replace("\n", "\r\n"),
    "arrays behind each other": json.dumps(ROWS[:3]) + "\n" + json.dumps(ROWS[3:]) + "\n",
    "objects in one line": "".join(LINES),
    "objects with blanks between": " ".join(LINES),
    "objects over several lines": "\n".join(json.dumps(row, indent=4) for row in ROWS),
    "lines that end in commas": ",\n".join(LINES) + ",\n",
    "under data": json.dumps({"version": 1, "data": ROWS}),
    "under data, over several lines": json.dumps({"data": ROWS}, indent=1),
    "under data, with a line end": json.dumps({"data": ROWS}) + "\n",
    "under two keys": json.dumps({"response": {"total": 6, "docs": ROWS}}),
    "as a viewer's API gives rows": json.dumps({"rows": [{"row_idx": i, "row": row} for i, row in enumerate(ROWS)]}),
    "as a search engine gives rows": json.dumps(
        {"hits": {"total": 6, "hits": [{"_id": 1, "_source": r} for r in ROWS]}}
    ),
    "one list a column": json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}),
    "one list a column, over several lines": json.dumps(
        {name: [row[name] for row in ROWS] for name in ROWS[0]}, indent=1
    ),
    "columns of pandas": json.dumps({name: {str(i): row[name] for i, row in enumerate(ROWS)} for name in ROWS[0]}),
    "split of pandas": json.dumps(
        {"columns": list(ROWS[0]), "index": [*range(6)], "data": [[*r.values()] for r in ROWS]}
    ),
    "lines that begin with a record separator": "".join(f"\x1e{line}\n" for line in LINES),
    "one under each key": json.dumps({str(i): row for i, row in enumerate(ROWS)}),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "byte order mark"])
def test_every_shape_gives_every_row(tmp_path, shape, mark):
    rows = found(tmp_path, mark + SHAPES[shape].encode())
    assert [(d.text, d.url) for d in documents(rows)] == [(row["text"], row["url"]) for row in ROWS]
    assert [d.offset for d in documents(rows)] == list(range(len(ROWS)))
    assert quarantined(rows) == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
@pytest.mark.parametrize("shape", ["array, pretty-printed", "lines that end in commas", "under data"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_wide_encodings_are_read(tmp_path, encoding, shape, pack):
    text = SHAPES[shape].replace("The", "Thé 😀")
    rows = found(tmp_path, pack(text.encode(encoding)))
    assert [d.text for d in documents(rows)] == [row["text"].replace("The", "Thé 😀") for row in ROWS]
    assert quarantined(rows) == []


def test_a_wide_file_that_is_cut_gives_what_is_whole(tmp_path):
    packed = gzip.compress("\n".join(LINES * 40).encode("utf-16"), 0)
    rows = found(tmp_path, packed[: len(packed) // 2])
    assert 50 < len(documents(rows)) < 130
    assert [reason for _, reason in quarantined(rows)] == ["truncated_gzip"]


def test_shapes_are_read_out_of_compression_and_over_many_blocks(tmp_path):
    many = [{"text": prose(i, 400), "n": i} for i in range(3000)]
    path = tmp_path / "a.json.gz"
    for text in (json.dumps(many, indent=2), json.dumps(many), "".join(map(json.dumps, many))):
        path.write_bytes(gzip.compress(text.encode(), 1))
        assert [d.text for d in documents(items(path))] == [row["text"] for row in many]


NO_ROWS = {
    "strings": json.dumps([prose(1), prose(2)]),
    "arrays": json.dumps([[prose(1), 1], [prose(2), 2]]),
    "numbers": "[\n1,\n2,\n3\n]",
    "columns of several lengths": json.dumps({"text": [prose(1), prose(2)], "url": ["a"]}),
    "a table without text": json.dumps({"columns": ["n"], "data": [[1], [2]]}),
    "no text": json.dumps({"data": [{"n": 1}, {"n": 2}]}, indent=2),
    "a table with commas": "text,url\n" + "".join(f"{prose(i)},u{i}\n" for i in range(50)),
    "Python's own spelling": "".join(f"{{'text': '{prose(i)}'}}\n" for i in range(50)),
    "a scalar": "7\n",
    "a log": "".join(f"2026-01-0{i % 9 + 1} INFO {prose(i)}\n" for i in range(50)),
}


@pytest.mark.parametrize("kind", NO_ROWS)
def test_what_holds_no_rows_is_one_row_that_says_so(tmp_path, kind):
    (row,) = found(tmp_path, NO_ROWS[kind])
    assert isinstance(row, Quarantined)
    assert row.reason in ("json_shape", "missing_text", "text_not_string")
    assert "harbour" not in row.detail
    if row.reason == "json_shape":
        assert "write one object a line" in row.detail


DAMAGED = {
    "array, one row a line": ("[\n", ",\n", "\n]"),
    "array in one line": ("[", ", ", "]"),
    "objects in one line": ("", "", ""),
    "objects over several lines": ("", "\n", "\n"),
}


@pytest.mark.parametrize("shape", DAMAGED)
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ('{"text": "never closed, "url": "u"}', "damaged_json"),
        ('{"text": "a", }', "damaged_json"),
        ('{"text": "a" "url": "b"}', "damaged_json"),
        ('{"text": ' + "[" * 100_000 + "}", "damaged_json"),
        ('{"text": ' + "9" * 5000 + "}", "damaged_json"),
        ('{"text": "caf\udce9"}', "invalid_utf8"),
        ('{"text": null}', "null_text"),
        ('{"text": NaN}', "text_not_string"),
    ],
)
def test_a_damaged_row_costs_itself_in_any_shape(tmp_path, shape, broken, reason):
    before, between, after = DAMAGED[shape]
    indent = 2 if "several" in shape else None
    lines = [json.dumps(row, indent=indent) for row in ROWS]
    opening = lines[0][: lines[0].index('"text"')]
    lines[3] = broken.replace("{", opening, 1)
    data = (before + between.join(lines) + after).encode("utf-8", "surrogateescape")
    rows = found(tmp_path, data)
    assert [d.text for d in documents(rows)] == [row["text"] for i, row in enumerate(ROWS) if i != 3]
    assert quarantined(rows) == [(3, reason)]


def test_an_array_that_is_cut_off_says_so(tmp_path):
    whole = json.dumps(ROWS, indent=2)
    for end in (len(whole) - 1, len(whole) - 4, len(whole) - 30, len(whole) // 2):
        rows = found(tmp_path, whole[:end])
        texts = [d.text for d in documents(rows)]
        assert texts == [row["text"] for row in ROWS[: len(texts)]]
        assert [reason for _, reason in quarantined(rows)] == ["truncated_json"]


def test_a_row_above_the_limit_costs_itself(tmp_path):
    config = CorpusConfig(max_record_bytes=10_000)
    big = json.dumps({"text": "harbour " * 100_000})
    for data in ("[" + ", ".join([LINES[0], big, *LINES[1:]]) + "]", LINES[0] + big + "".join(LINES[1:])):
        rows = found(tmp_path, data, config)
        assert quarantined(rows) == [(1, "too_large")]
        assert len(documents(rows)) == len(ROWS)


@pytest.mark.parametrize("field", ["label", "id", "url", "date", "lang", "license", "source"])
def test_a_field_that_cannot_be_written_is_that_rows_fault(tmp_path, field):
    deep = '{"a":' * 900 + "1" + "}" * 900
    deeper = "[" * 990 + "]" * 990
    lines = [f'{{"text": "{prose(i)}", "{field}": {value}}}' for i, value in enumerate([deep, deeper, "1e999", "NaN"])]
    rows = found(tmp_path, "\n".join([LINES[0], *lines, *LINES[1:]]) + "\n")
    told = [offset for offset, _ in quarantined(rows)]
    assert set(told) <= {1, 2}
    assert len(documents(rows)) == len(ROWS) + len(lines) - len(told)


def test_the_last_of_two_equal_keys_counts_as_everywhere(tmp_path):
    (row,) = documents(found(tmp_path, '{"text": "first", "text": "second"}\n'))
    assert row.text == "second"


COSTLY = {
    "damaged rows": b'{"a":1 x',
    "damaged rows in an array": b'{"a":1 x},',
    "strings that end nowhere": b'{"a":"x{"a":"',
    "nesting without end": b'{"a":' * 2000 + b"\n",
    "commas": b",",
    "brackets": b"[",
}


@pytest.mark.parametrize("kind", COSTLY)
def test_the_decoder_is_asked_in_proportion_to_the_bytes(tmp_path, monkeypatch, kind):
    read = 0

    class Counting(json.JSONDecoder):
        def raw_decode(self, s, idx=0):
            nonlocal read
            try:
                value, end = super().raw_decode(s, idx)
            except json.JSONDecodeError as error:
                read += error.pos
                raise
            except RecursionError:
                read += 5000
                raise
            read += end
            return value, end

    monkeypatch.setattr(json_values.json, "JSONDecoder", Counting)
    asked = []
    for n in (50_000, 200_000):
        read = 0
        found(tmp_path, b'[{"a":1},' + COSTLY[kind] * (n // len(COSTLY[kind])))
        asked.append(read)
    assert asked[1] <= 5 * asked[0] + 10_000
    assert asked[1] <= 30 * 200_000


@given(
    st.binary(max_size=300), st.sampled_from([b"[", b"{", b'[{"text"', b'{"text": "', b"[\n{", b"\xef\xbb\xbf[", b""])
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_the_reader(tmp_path, data, start):
    for row in found(tmp_path, start + data):
        assert row.offset >= 0


@given(st.lists(st.sampled_from(['{"text": "a"}', '{"text": 1}', '{"n": 2}', '{"text": "b', "7", "[]", "}", '"s"'])))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whole_rows_between_others_are_never_lost_in_lines(tmp_path, lines):
    sound = jsonl(ROWS)
    rows = found(tmp_path, sound + "".join(f"{line}\n" for line in lines[:5]).encode() + sound)
    texts = [d.text for d in documents(rows)]
    assert [t for t in texts if t not in ("a", "b")] == [row["text"] for row in ROWS] * 2
