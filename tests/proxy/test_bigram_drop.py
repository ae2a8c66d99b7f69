import numpy as np
import pytest

from gem_assets.proxy.bigram_drop import BigramDrop
from gem_assets.proxy.counts import ngram_codes
from gem_assets.proxy.tokens import EncodedDocuments


def encoded(documents: list[list[int]]) -> EncodedDocuments:
    tokens = np.concatenate([np.array([*d, 0], np.uint16) for d in documents])
    return EncodedDocuments(tokens, np.cumsum([0, *(len(d) + 1 for d in documents)]))


def two_languages(n: int = 400, seed: int = 0) -> tuple[EncodedDocuments, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return encoded([list(rng.integers(1, 11, 30) + 10 * label) for label in labels]), labels


def test_labels_that_split_the_vocabulary_save_what_they_tell() -> None:
    documents, labels = two_languages()
    drop = BigramDrop(documents, 21, np.arange(400) % 4 == 0)
    told = drop(labels, 2)
    # the history tells the language already, but not at a document's start
    assert 0.02 < told < np.log(2)
    assert abs(drop(np.zeros(400, int), 2)) < 1e-12
    assert drop(np.random.default_rng(1).integers(0, 2, 400), 2) < told / 2


def test_probabilities_sum_to_one_over_the_vocabulary() -> None:
    documents, labels = two_languages(60)
    held_out = np.arange(60) >= 59
    # one held-out document of a single token, whatever that token is
    total = 0.0
    for token in range(1, 21):
        probe = encoded([*[list(documents.document(i)[:-1]) for i in range(59)], [token]])
        loss = BigramDrop(probe, 21, held_out).loss(labels, 2)
        end = _end_loss(probe, labels, held_out, token)
        total += np.exp(-(2 * loss - end))
    nothing = encoded([*[list(documents.document(i)[:-1]) for i in range(59)], []])
    total += np.exp(-BigramDrop(nothing, 21, held_out).loss(labels, 2))
    assert total == pytest.approx(1, abs=1e-9)


def _end_loss(probe: EncodedDocuments, labels: np.ndarray, held_out: np.ndarray, token: int) -> float:
    """Loss of the end mark after ``token``, by the formula of the module with plain dictionaries."""
    own = int(labels[-1])
    pairs: list[tuple[int, int, int]] = []
    for i in np.flatnonzero(~held_out):
        ids = probe.document(int(i))
        codes = ngram_codes(ids, 21, 2)[1]
        pairs += [(int(labels[i]), int(c) // 21, int(c) % 21) for c in codes]
    b = 5.0
    n, mine = len(pairs), [p for p in pairs if p[0] == own]
    flat = (sum(p[2] == 0 for p in pairs) + 1) / (n + 21)
    low = (sum(p[2] == 0 for p in mine) + b * flat) / (len(mine) + b)
    after, mine_after = [p for p in pairs if p[1] == token], [p for p in mine if p[1] == token]
    middle = (sum(p[2] == 0 for p in after) + b * low) / (len(after) + b)
    top = (sum(p[2] == 0 for p in mine_after) + b * middle) / (len(mine_after) + b)
    return -float(np.log(top))


def test_texts_are_read_and_wrong_sizes_refused() -> None:
    rng = np.random.default_rng(0)
    sea, law = ["harbour", "vessel", "anchor", "sailor"], ["statute", "tenant", "verdict", "appeal"]
    texts = [" ".join(rng.choice(words, 12)) for words in (sea, law) for _ in range(40)]
    labels = np.repeat([0, 1], 40)
    drop = BigramDrop.of(texts, vocab=300, seed=1)
    assert drop(labels, 2) > drop(np.tile([0, 1], 40), 2)
    with pytest.raises(ValueError, match="3 labels for 80 documents"):
        drop.loss(labels[:3], 2)
    with pytest.raises(ValueError, match="hold out"):
        BigramDrop(drop.documents, drop.vocab, np.zeros(80, bool)).loss(labels, 2)
