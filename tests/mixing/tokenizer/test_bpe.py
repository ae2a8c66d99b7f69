from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.mixing_golden import bpe_error
from gem_assets.mixing.tokenizer.bpe import PairCounts, count_words, infer_mixture, train_bpe


def test_counts_follow_the_merges():
    counts = PairCounts([Counter({b" aaab": 2, b" ab": 1})])
    total = 2 * 5 + 3
    a, b, space = b"a", b"b", b" "
    table = dict(zip(counts.pairs, counts.table[:, 0] * total, strict=True))
    assert table == pytest.approx({(space, a): 3, (a, a): 4, (a, b): 3})
    counts.merge((a, a))
    # " aaab" is joined from the left: " ", "aa", "a", "b"
    table = dict(zip(counts.pairs, counts.table[:, 0] * total, strict=True))
    expected = {(space, a): 1, (a, a): 0, (a, b): 3, (space, b"aa"): 2, (b"aa", a): 2}
    assert table == pytest.approx(expected)


def test_merges_are_those_of_plain_bpe():
    words = count_words(
        "low low low low low lower lower newest newest newest newest newest newest widest widest widest"
    )
    merges = train_bpe([words], np.ones(1), 4)
    joined = [(a + b).decode() for a, b in merges]
    assert joined[0] in ("es", "st")
    assert "est" in joined[1]


def test_recount_after_many_merges_agrees():
    words = [count_words("the cat sat on the mat with the hat " * 3), count_words("der hund und der mund ")]
    merges = train_bpe(words, np.array([0.5, 0.5]), 12)
    counts = PairCounts(words)
    for pair in merges:
        counts.merge(pair)
    again: Counter = Counter()
    for word, number in words[0].items():
        pieces = [word[i : i + 1] for i in range(len(word))]
        for left, right in merges:
            i = 0
            while i < len(pieces) - 1:
                if (pieces[i], pieces[i + 1]) == (left, right):
                    pieces[i : i + 2] = [left + right]
                i += 1
        for pair in pairwise(pieces):
            again[pair] += number
    found = {p: n for p, n in zip(counts.pairs, counts.table[:, 0] * counts.bytes[0], strict=True) if n > 1e-6}
    assert found == pytest.approx(dict(again))


def test_mixture_of_two_languages_is_inferred():
    rng = np.random.default_rng(0)
    vocabularies = [
        ["".join(rng.choice(list(letters), 5)) for _ in range(300)] for letters in ("abcdefgh", "defghijklm")
    ]
    words = [count_words(" ".join(rng.choice(v, 6000))) for v in vocabularies]
    merges = train_bpe(words, np.array([0.7, 0.3]), 120)
    estimate = infer_mixture(words, merges)
    assert estimate.shares == pytest.approx([0.7, 0.3], abs=0.01)
    assert estimate.violation < 1e-9


@pytest.mark.slow
def test_three_real_categories(shared_corpora):
    assert bpe_error(shared_corpora, merges=400, characters=300_000) < -6


def test_nothing_to_infer_from():
    with pytest.raises(ValueError, match="no merges"):
        infer_mixture([count_words("a b")], [])
    with pytest.raises(ValueError, match="category 1 holds no text"):
        PairCounts([count_words("a b"), Counter()])
