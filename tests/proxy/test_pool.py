import json

import numpy as np
import pytest

from gem_assets.proxy.config import PoolConfig, TokenizerConfig
from gem_assets.proxy.pool import EvaluationSet, PoolError, TokenPool, build_pool, target_windows
from gem_assets.proxy.tokens import END, EncodedDocuments, ProxyTokenizer

CONTEXT = 16


@pytest.fixture(scope="module")
def tokenizer():
    return ProxyTokenizer.train(["a few words of text, again and again"] * 4, TokenizerConfig(vocab=270))


@pytest.fixture(scope="module")
def labelled(tokenizer):
    texts = [f"document {i} " + "of words " * (5 + i % 7) for i in range(120)]
    return tokenizer.encode(texts), np.arange(120) % 3, np.random.default_rng(0).permutation(120).astype(np.uint64)


def build(labelled, tokenizer, names=("x", "y", "z"), **changes):
    split = build_pool(*labelled, tokenizer, names, PoolConfig(windows=3, **changes), context=CONTEXT)
    return split.pool, split.evaluation


def test_held_out_documents_are_not_trained_on(labelled, tokenizer):
    split = build_pool(*labelled, tokenizer, "xyz", PoolConfig(windows=3), context=CONTEXT)
    pool, evaluation = split.pool, split.evaluation
    encoded, domain_of, _ = labelled
    for k, name in enumerate("xyz"):
        stream = pool.domain(k)
        trained = np.split(stream, np.flatnonzero(stream == END) + 1)[:-1]
        kept = {tuple(document) for document in trained}
        held = [
            tuple(encoded.document(i)) for i in np.flatnonzero(domain_of == k) if tuple(encoded.document(i)) not in kept
        ]
        assert held
        windows = evaluation.of(name)
        assert windows.shape == (3, CONTEXT + 1)
        joined = np.concatenate([np.array(document) for document in held])
        assert set(windows.ravel()) <= set(joined)
        assert {tuple(encoded.document(i)) for i in split.held_out if domain_of[i] == k} == set(held)


def test_the_order_of_documents_does_not_matter(labelled, tokenizer):
    encoded, domain_of, ranks = labelled
    order = np.random.default_rng(1).permutation(len(encoded))
    shuffled = encoded.take(order), domain_of[order], ranks[order]
    pool, evaluation = build(labelled, tokenizer)
    again, evaluation_again = build(shuffled, tokenizer)
    assert (pool.digest, evaluation.digest) == (again.digest, evaluation_again.digest)


def test_streams_are_bounded_and_unlabelled_documents_left_out(labelled, tokenizer):
    encoded, domain_of, ranks = labelled
    everything = build_pool(encoded, domain_of, ranks, tokenizer, "xyz", PoolConfig(windows=3), context=CONTEXT)
    less = build_pool(
        encoded,
        np.where(domain_of == 1, -1, domain_of),
        ranks,
        tokenizer,
        "xyz",
        PoolConfig(windows=3),
        context=CONTEXT,
    )
    assert less.pool.sizes[1] == 0
    np.testing.assert_array_equal(less.pool.domain(2), everything.pool.domain(2))
    big = EncodedDocuments(
        np.tile(encoded.tokens, 3), np.concatenate([[0], np.cumsum(np.tile(np.diff(encoded.offsets), 3))])
    )
    labels, order = np.tile(domain_of, 3), np.arange(360).astype(np.uint64)
    capped = build_pool(big, labels, order, tokenizer, "xyz", PoolConfig(domain_tokens=1024), context=CONTEXT)
    assert (capped.pool.sizes == 1024).all()


def test_a_tiny_domain_has_no_target_but_is_trained_on(tokenizer):
    encoded = tokenizer.encode(["tiny"] + ["long enough for a window of its own " * 4] * 20)
    split = build_pool(
        encoded,
        np.array([0] + [1] * 20),
        np.arange(21).astype(np.uint64),
        tokenizer,
        ("tiny", "long"),
        PoolConfig(),
        context=CONTEXT,
    )
    assert split.evaluation is not None
    assert split.evaluation.names == ("long",)
    assert split.pool.sizes[0] > 0
    assert 0 not in split.held_out


def test_saved_and_loaded_are_equal(labelled, tokenizer, tmp_path):
    pool, evaluation = build(labelled, tokenizer)
    pool.save(tmp_path)
    evaluation.save(tmp_path)
    loaded = TokenPool.load(tmp_path)
    assert isinstance(loaded.tokens, np.memmap)
    np.testing.assert_array_equal(loaded.domain(1), pool.domain(1))
    assert (loaded.digest, loaded.vocab, loaded.tokenizer) == (pool.digest, tokenizer.vocab, tokenizer.digest)
    again = EvaluationSet.load(tmp_path)
    assert (again.names, again.digest) == (evaluation.names, evaluation.digest)


def test_damage_is_named(labelled, tokenizer, tmp_path):
    pool, evaluation = build(labelled, tokenizer)
    with pytest.raises(PoolError, match=tmp_path.name):
        TokenPool.load(tmp_path)
    pool.save(tmp_path)
    np.save(tmp_path / "tokens.npy", pool.tokens[:-1])
    with pytest.raises(PoolError, match=tmp_path.name):
        TokenPool.load(tmp_path)
    evaluation.save(tmp_path)
    meta = json.loads((tmp_path / "evaluation.json").read_text())
    meta["names"][0] = "other"
    (tmp_path / "evaluation.json").write_text(json.dumps(meta))
    with pytest.raises(PoolError, match="not those"):
        EvaluationSet.load(tmp_path)


def test_bits_per_byte_use_the_bytes_of_the_predicted_tokens(tokenizer):
    text = "words of plain text without marks " * 40
    evaluation = target_windows("t", tokenizer.encode([text]), tokenizer, context=CONTEXT, windows=4)
    n_bytes = sum(len(tokenizer.decode(window[1:])) for window in evaluation.windows)
    assert evaluation.n_bytes[0] == n_bytes
    per_token = np.array([2.0])
    assert evaluation.bits_per_byte(per_token)[0] == pytest.approx(2.0 * 4 * CONTEXT / n_bytes / np.log(2))


def test_targets_are_joined_and_checked(tokenizer):
    a, b = (
        target_windows(n, tokenizer.encode(["some words " * 30]), tokenizer, context=CONTEXT, windows=2) for n in "ab"
    )
    both = EvaluationSet.concatenate([a, b])
    assert both.names == ("a", "b")
    np.testing.assert_array_equal(both.n_tokens, [2 * CONTEXT, 2 * CONTEXT])
    with pytest.raises(PoolError, match="repeat"):
        EvaluationSet.concatenate([a, a])
    with pytest.raises(PoolError, match="'short'"):
        target_windows("short", tokenizer.encode(["x"]), tokenizer, context=CONTEXT, windows=2)
