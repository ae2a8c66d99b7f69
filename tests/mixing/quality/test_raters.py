import numpy as np
import pytest

from gem_assets.mixing.quality.raters import RATERS, likelihood, rate
from gem_assets.proxy.tokens import END, EncodedDocuments
from tests.proxy.worlds import documents


def joined(*parts):
    tokens = [np.array([*part, END], np.uint16) for part in parts]
    return EncodedDocuments(np.concatenate(tokens), np.cumsum([0, *map(len, tokens)]))


def test_likelihood_is_that_of_bigrams_of_the_other_documents():
    # the pair (1, 2) stands once in each other document, its history 1 likewise
    found = likelihood(joined([1, 2], [1, 2], [1, 2]))
    q = (np.array([3, 3, 3]) + 1) / (9 + 3)
    expected = np.mean(np.log([(2 + 3 * q[1]) / (2 + 3), (2 + 3 * q[2]) / (2 + 3), (2 + 3 * q[0]) / (2 + 3)]))
    assert found == pytest.approx(np.full(3, expected))


def test_a_document_that_repeats_itself_is_not_likely_for_that():
    usual = documents([40] * 50, vocab=20)
    odd = joined([21, 22] * 20)
    found = likelihood(EncodedDocuments.concatenate([usual, odd]))
    assert found[-1] < found[:-1].min() - 1


def test_prose_is_rated_above_boilerplate():
    prose = "It was one of the days on which the river rose and the men of the village went to look at the bridge. " * 2
    lists = "home | login | cart\n" * 12
    found = rate([prose, lists], joined([1, 2, 3], [4, 4, 4]))
    assert found.shape == (2, len(RATERS))
    for name in ("function_words", "no_repeats", "little_redundancy"):
        column = found[:, RATERS.index(name)]
        assert column[0] > column[1], name
    assert found[0, RATERS.index("word_length")] == pytest.approx(found[1, RATERS.index("word_length")])


def test_no_documents_give_no_scores():
    assert rate([], EncodedDocuments(np.zeros(0, np.uint16), np.zeros(1, np.int64))).shape == (0, 5)
