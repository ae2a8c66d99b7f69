from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.proxy import counts as module
from gem_assets.proxy.counts import CountsError, DomainCounts, count_documents
from gem_assets.proxy.tokens import END, EncodedDocuments
from tests.proxy.worlds import documents

VOCAB = 7


def as_counter(counts, order):
    found = Counter()
    for key, count in zip(counts.keys[order - 1].tolist(), counts.counts[order - 1].tolist(), strict=True):
        domain, code = divmod(key, VOCAB**order)
        gram = []
        for _ in range(order):
            code, digit = divmod(code, VOCAB)
            gram.append(digit)
        found[(domain, *gram[::-1])] = count
    return found


def by_hand(encoded, domain_of, order):
    found = Counter()
    for i in range(len(encoded)):
        ids = [END] * (order - 1) + encoded.document(i).tolist()
        for j in range(len(ids) - order + 1):
            if domain_of[i] >= 0:
                found[(int(domain_of[i]), *ids[j : j + order])] += 1
    return found


lengths = st.lists(st.integers(0, 9), min_size=0, max_size=12)


@settings(max_examples=50, deadline=None)
@given(lengths=lengths, seed=st.integers(0, 2**16))
def test_counts_equal_those_made_by_hand(lengths, seed):
    encoded = documents(lengths, VOCAB, seed)
    domain_of = np.random.default_rng(seed).integers(-1, 3, len(lengths))
    counts = count_documents(encoded, domain_of, vocab=VOCAB, domains=3, order=3)
    for order in (1, 2, 3):
        assert as_counter(counts, order) == by_hand(encoded, domain_of, order)


def assert_equal(a, b):
    for x, y in zip((*a.keys, *a.counts), (*b.keys, *b.counts), strict=True):
        np.testing.assert_array_equal(x, y)


@settings(max_examples=50, deadline=None)
@given(lengths=lengths, seed=st.integers(0, 2**16), data=st.data())
def test_counts_of_parts_add_up_to_counts_of_the_whole(lengths, seed, data):
    encoded = documents(lengths, VOCAB, seed)
    domain_of = np.random.default_rng(seed).integers(0, 3, len(lengths))
    part = data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)).map(np.array))
    first, second = (np.flatnonzero(part == side) for side in (True, False))
    kind = {"vocab": VOCAB, "domains": 3, "order": 3}
    merged = count_documents(encoded.take(first), domain_of[first], **kind).merge(
        count_documents(encoded.take(second), domain_of[second], **kind)
    )
    assert_equal(merged, count_documents(encoded, domain_of, **kind))


def test_blocks_do_not_change_the_counts(monkeypatch):
    encoded = documents([5, 0, 11, 3, 8, 2, 40], VOCAB)
    domain_of = np.array([0, 1, 2, 0, 1, 2, 0])
    whole = count_documents(encoded, domain_of, vocab=VOCAB, domains=3, order=3)
    monkeypatch.setattr(module, "_BLOCK_TOKENS", 10)
    assert_equal(count_documents(encoded, domain_of, vocab=VOCAB, domains=3, order=3), whole)


def test_relative_counts_are_probabilities():
    encoded = documents([30, 50, 20], VOCAB)
    counts = count_documents(encoded, np.array([0, 1, 1]), vocab=VOCAB, domains=3, order=2)
    np.testing.assert_array_equal(counts.tokens, [31, 72, 0])
    unigrams = counts.relative(1, np.arange(VOCAB, dtype=np.uint64))
    np.testing.assert_allclose(unigrams.sum(0), [1, 1, 0])
    bigrams = counts.relative(2, np.arange(VOCAB**2, dtype=np.uint64)).reshape(VOCAB, VOCAB, 3)
    np.testing.assert_allclose(
        bigrams.sum(1), counts.relative_history(2, np.arange(VOCAB, dtype=np.uint64)), atol=1e-15
    )


def test_saved_and_loaded_are_equal(tmp_path):
    encoded = documents([30, 50, 20], VOCAB)
    counts = count_documents(encoded, np.array([0, 2, 1]), vocab=VOCAB, domains=4, order=3, tokenizer="abc")
    counts.save(tmp_path)
    loaded = DomainCounts.load(tmp_path)
    assert (loaded.vocab, loaded.domains, loaded.tokenizer, loaded.order) == (VOCAB, 4, "abc", 3)
    assert_equal(loaded, counts)


def test_a_large_vocabulary_fits_the_keys():
    tokens = np.array([65_535, 65_534, 65_533, END], np.uint16)
    counts = count_documents(
        EncodedDocuments(tokens, np.array([0, 4])), np.array([32_766]), vocab=65_536, domains=32_767, order=3
    )
    code = np.array([(65_535 * 65_536 + 65_534) * 65_536 + 65_533], np.uint64)
    assert counts.relative(3, code)[0, 32_766] == 0.25


def test_what_does_not_belong_together_is_not_merged():
    a = DomainCounts.empty(VOCAB, 3, 2, "one")
    with pytest.raises(CountsError, match="tokenizer"):
        a.merge(DomainCounts.empty(VOCAB, 3, 2, "two"))
    with pytest.raises(CountsError, match="domains"):
        a.merge(DomainCounts.empty(VOCAB, 4, 2, "one"))


@pytest.mark.parametrize(
    ("tokens", "labels", "problem"),
    [
        ([1, 2, 3], [0], "end mark"),
        ([9, END], [0], "token 9"),
        ([1, END], [5], "domain 5"),
        ([1, END], [0, 1], "labels"),
    ],
)
def test_bad_documents_are_named(tokens, labels, problem):
    encoded = EncodedDocuments(np.array(tokens, np.uint16), np.array([0, len(tokens)]))
    with pytest.raises(CountsError, match=problem):
        count_documents(encoded, np.array(labels), vocab=VOCAB, domains=3)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "counts.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(CountsError, match=r"counts\.parquet"):
        DomainCounts.load(tmp_path)
