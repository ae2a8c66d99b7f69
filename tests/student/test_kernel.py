import numpy as np
import pytest

from gem_assets.corpus.text.features import TokenRules, token_blocks
from gem_assets.student.kernel import Scorer, WeightTable, log_weights

TEXTS = ["oil prices rose as oil fell", "", "court court court law", "東京の天気 über 1987"]


def direct(weights, bias, log_counts):
    """The same scores, a document and a word at a time."""
    (block,) = token_blocks(TEXTS, TokenRules())
    bits = weights.shape[0].bit_length() - 1
    scores = []
    for lo, hi in zip(block.indptr[:-1], block.indptr[1:], strict=True):
        rows, counts = np.unique(block.hashes[lo:hi] >> np.uint32(32 - bits), return_counts=True)
        each = log_weights()[counts].astype(np.float64) if log_counts else counts.astype(np.float64)
        square = (each**2).sum() if log_counts else counts.sum()
        scores.append(each @ weights[rows].astype(np.float64) / np.sqrt(max(square, 1)) + bias)
    return np.array(scores)


@pytest.mark.parametrize("log_counts", [True, False])
@pytest.mark.parametrize(("bits", "n_clusters"), [(32, 24), (16, 24), (16, 33), (8, 5)])
def test_scores_are_the_sums_of_the_tables_own_weights(bits, n_clusters, log_counts):
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(size=(1 << 10, n_clusters)).astype(np.float32), rng.normal(size=n_clusters)
    table = WeightTable.of(weights, bits)
    found = np.concatenate([s for s, _ in Scorer(table, bias, TokenRules(), log_counts).blocks(TEXTS)])
    assert found.shape == (len(TEXTS), n_clusters)
    assert np.allclose(found, direct(table.weights(), bias, log_counts), atol=1e-5)


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_no_weight_is_further_off_than_half_a_unit(bits):
    weights = np.random.default_rng(1).normal(size=(64, 7)).astype(np.float32)
    table = WeightTable.of(weights, bits)
    assert np.abs(table.weights() - weights).max() <= (0 if bits == 32 else 0.51 * table.unit)
    assert table.unpadded().shape == (64, 7)


def test_rows_start_on_cache_lines():
    table = WeightTable.of(np.ones((32, 24), np.float32), 16)
    assert table.values.ctypes.data % 64 == 0
    assert table.values.strides == (64, 2)


def test_a_table_of_zeros_has_a_unit():
    table = WeightTable.of(np.zeros((32, 3), np.float32), 16)
    assert table.unit > 0
    assert not table.weights().any()
