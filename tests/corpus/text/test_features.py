import subprocess
import sys
import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.corpus.text.features import TokenRules, as_large_strings, token_blocks

MASK = 0xFFFFFFFF


def mix(h: int) -> int:
    h ^= h >> 16
    h = h * 0x85EBCA6B & MASK
    h ^= h >> 13
    h = h * 0xC2B2AE35 & MASK
    return h ^ h >> 16


def fnv(values: list[int], h: int = 0x811C9DC5) -> int:
    for value in values:
        h = (h ^ value) * 0x01000193 & MASK
    return h


def kind_of(char: str) -> str:
    cp = ord(char)
    if cp < 0x800:
        category = unicodedata.category(char)
        return "letter" if category[0] in "LM" else "digit" if category == "Nd" else "separator"
    if 0x1E00 <= cp <= 0x1FFF:
        return "letter"
    if 0x2000 <= cp <= 0x206F or 0x3000 <= cp <= 0x303F:
        return "separator"
    return "code point"


def fold(char: str) -> str:
    if ord(char) >= 0x800:
        return char
    if kind_of(char) == "digit":
        return "0"
    lower = char.lower()
    same = len(lower) == 1 and len(lower.encode()) == len(char.encode())
    return lower if kind_of(char) == "letter" and same else char


def spell(word: str) -> list[int]:
    return [value for c in word for value in ([ord(c)] if ord(c) < 0x80 else [ord(c) & 0xFF, ord(c) >> 8])]


def runs(text: str) -> list[tuple[str, str]]:
    """(kind, folded text) of each run of one kind; every code point of the wide scripts is a run of its own."""
    found: list[tuple[str, str]] = []
    for char in text:
        kind = kind_of(char)
        if found and found[-1][0] == kind and kind != "code point":
            found[-1] = (kind, found[-1][1] + fold(char))
        else:
            found.append((kind, fold(char)))
    return found


def reference(text: str, rules: TokenRules) -> list[int]:
    text = text[: rules.max_chars] if rules.max_chars else text
    raw: list[int] = []
    before = None
    for kind, word in runs(text):
        if kind != "separator":
            raw.append(fnv(spell(word)))
        if kind == "code point" and before is not None:
            raw.append(fnv([raw[-1]], before))
        before = raw[-1 if kind != "code point" or before is None else -2] if kind == "code point" else None
    if rules.bigrams:
        raw += [fnv([0x20, b], a) for a, b in pairwise(raw)]
    hashes = [mix(h) for h in raw]
    if rules.char_ngrams:
        low, high = rules.char_ngrams
        for kind, word in runs(text):
            if kind == "letter":
                chars = [2, *(ord(c) for c in word[:64]), 3]
                for a in range(len(chars) - low + 1):
                    for z in range(a + low, min(a + high, len(chars)) + 1):
                        values = [v for cp in chars[a:z] for v in (cp & 0xFF, cp >> 8)]
                        hashes.append(mix(fnv(values, fnv([4]))))
    return hashes


def hashed(texts, rules: TokenRules) -> list[list[int]]:
    found = []
    for block in token_blocks(texts, rules):
        assert block.first == len(found)
        found += [block.hashes[a:b].tolist() for a, b in pairwise(block.indptr.tolist())]
    return found


RULES = [
    TokenRules(),
    TokenRules(max_chars=7),
    TokenRules(bigrams=True),
    TokenRules(char_ngrams=(2, 4)),
    TokenRules(max_chars=90, bigrams=True, char_ngrams=(1, 3)),
]
MIXED = st.text(
    st.one_of(
        st.sampled_from("abzAZ09 _-.,'\n\t"),
        st.sampled_from("éÉßñÄİĿȺΣσжЖשلا،١٢ữỆ東京日本語한국어हिन्दी😀“”—　。"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=150,
)


@pytest.mark.parametrize("rules", RULES)
@settings(deadline=None, max_examples=150)
@given(texts=st.lists(MIXED, max_size=5))
def test_kernel_equals_the_plain_reference(rules, texts):
    assert hashed(texts, rules) == [reference(text, rules) for text in texts]


@settings(deadline=None)
@given(raw=st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_bytes_that_are_not_utf8_neither_crash_nor_leak_into_the_neighbour(raw):
    def array(values):
        return pa.array(values, pa.binary()).cast(pa.large_binary()).view(pa.large_string())

    together = hashed(array(raw), TokenRules(bigrams=True, char_ngrams=(1, 3)))
    assert together == [hashed(array([value]), TokenRules(bigrams=True, char_ngrams=(1, 3)))[0] for value in raw]


def test_words_fold_case_and_digits_count_by_length():
    (same, other), (digits,), (more,) = hashed(["Straße STRASSE", "1987", "42"], TokenRules())
    assert hashed(["STRAßE", "2024", "7", "ЖУК", "жук"], TokenRules())[:2] == [[same], [digits]]
    assert other != same
    assert digits != more
    a, b = hashed(["ЖУК Σοφία", "жук σοφία"], TokenRules())
    assert a == b


def test_wide_scripts_give_code_points_and_pairs():
    a, b = hashed(["東京都", "京都。東"], TokenRules())
    assert len(a) == 5
    assert len(b) == 4
    assert set(b) - {a[0]} <= set(a)


def test_nulls_slices_chunks_and_types_read_the_same():
    texts = ["first one", None, "", "Zweiter Text", "третий", "四つ目"]
    whole = hashed(["" if t is None else t for t in texts], TokenRules())
    large = pa.array(["skipped", *texts, "skipped too"], pa.large_string()).slice(1, 6)
    small = pa.array(["skipped", *texts], pa.string()).slice(1)
    forms = [
        large,
        small,
        pa.chunked_array([small.slice(0, 2), small.slice(2, 0), small.slice(2)]),
        pa.array(texts).dictionary_encode(),
        pa.array(texts).cast(pa.string_view()),
    ]
    for form in forms:
        assert hashed(form, TokenRules()) == whole


def test_text_under_a_null_is_not_read():
    values = pa.array(["visible", "hidden"], pa.large_string())
    masked = pa.Array.from_buffers(
        pa.large_string(), 2, [pa.py_buffer(b"\x01"), values.buffers()[1], values.buffers()[2]]
    )
    assert [len(h) for h in hashed(masked, TokenRules())] == [1, 0]


def test_blocks_do_not_change_the_result(shared_corpora):
    import pyarrow.parquet as pq

    texts = pq.read_table(shared_corpora / "multidomain/webmix_dev.parquet", columns=["text"])["text"].slice(0, 3000)
    long = texts.take(pa.array([0, 1])).to_pylist()
    blocks = list(token_blocks(texts, TokenRules()))
    assert len(blocks) > 1
    assert blocks[0].hashes[: blocks[0].indptr[2]].tolist() == [h for t in long for h in reference(t, TokenRules())]
    assert np.all(np.diff([b.first for b in blocks]) == [len(b) for b in blocks[:-1]])


def test_wrong_type_is_named():
    with pytest.raises(TypeError, match="int64"):
        as_large_strings(pa.array([1, 2]))


def test_kernels_work_where_no_cache_folder_can_be_written():
    """As on a read-only install without a home: the kernels still compile."""
    code = (
        "import numba.core.caching as c\n"
        "for name in [n for n in dir(c) if n.endswith('Locator')]:\n"
        "    getattr(c, name).from_function = classmethod(lambda cls, *a: None)\n"
        "from gem_assets.corpus.text import features\n"
        "assert type(features._mix._cache).__name__ == 'NullCache'\n"
        "import numpy\n"
        "print(features._mix(numpy.uint32(1)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(mix(1)), done.stderr
