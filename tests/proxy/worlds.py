"""Small worlds of tokens: domains with their own words, and documents drawn from them."""

import numpy as np

from gem_assets.proxy.pool import EvaluationSet, TokenPool
from gem_assets.proxy.tokens import END, EncodedDocuments


def documents(lengths, vocab, seed=0, skew=1.0):
    """Documents of given lengths, ids 1..vocab-1 with Zipf-like frequencies, each closed by the mark."""
    rng = np.random.default_rng(seed)
    weight = 1.0 / np.arange(1, vocab) ** skew
    parts = []
    for n in lengths:
        parts += [rng.choice(np.arange(1, vocab), n, p=weight / weight.sum()), [END]]
    tokens = np.concatenate([np.zeros(0, np.uint16), *parts]).astype(np.uint16)
    return EncodedDocuments(tokens, np.concatenate([[0], np.cumsum(np.asarray(lengths) + 1)]).astype(np.int64))


def markov_stream(n, vocab, seed, sharpness=3.0, shift=0):
    """A stream from a random first-order chain over its own part of the vocabulary, with marks now and then."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(vocab, vocab)) * sharpness
    logits[:, np.roll(np.arange(vocab), shift)[: vocab // 3]] += 2 * sharpness
    p = np.exp(logits - logits.max(1, keepdims=True))
    cumulative = np.cumsum(p / p.sum(1, keepdims=True), axis=1)
    out, u, current = np.empty(n, np.uint16), rng.random(n), 1
    for i in range(n):
        current = min(int(np.searchsorted(cumulative[current], u[i])), vocab - 1)
        out[i] = current
    out[::97] = END
    return out


def markov_world(domains=3, tokens=6000, vocab=48, context=16, windows=6):
    """A pool of distinct Markov domains and held-out windows of each."""
    streams = [markov_stream(tokens, vocab, seed=10 + k, shift=k * vocab // domains) for k in range(domains)]
    held = windows * (context + 1)
    pool = TokenPool.of([stream[held:] for stream in streams], vocab)
    evaluation = EvaluationSet(
        tuple(f"domain-{k}" for k in range(domains)),
        np.concatenate([stream[:held].reshape(windows, context + 1) for stream in streams]),
        np.repeat(np.arange(domains), windows),
        np.full(domains, 100),
        np.ones(domains, bool),
    )
    return pool, evaluation
