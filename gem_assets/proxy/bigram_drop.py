"""The drop in bigram loss: what knowing a document's cluster is worth to a language model.

A bigram model in which each cluster's counts back off to those of all documents,

    P_k(w | h) = (c_k(h w) + b Q_k(w | h)) / (c_k(h) + b)      Q_k(w | h) = (c(h w) + b U_k(w)) / (c(h) + b)
    U_k(w)     = (c_k(w) + b U(w)) / (N_k + b)                  U(w)       = (c(w) + 1) / (N + V)

is counted on some documents and read on others, once with their clusters and once with all documents in one cluster.
The difference, in nats per token, is how much more predictable text becomes inside the clusters: a criterion of a
clustering that no vector enters. It rises with the number of clusters while there is enough text to count.

Cost: one sort of the bigrams per labelling, about a second for five million tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gem_assets.proxy.config import TokenizerConfig
from gem_assets.proxy.counts import DomainCounts, count_documents, ngram_codes
from gem_assets.proxy.tokens import EncodedDocuments, ProxyTokenizer
from gem_assets.types import Floats, Ints

BACK_OFF = 5.0


@dataclass(frozen=True)
class BigramDrop:
    """Documents split in two parts, ready to be asked about any labelling of theirs.

    ``held_out`` are the documents on which the loss is read; the others are counted.
    """

    documents: EncodedDocuments
    vocab: int
    held_out: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        *,
        vocab: int = 2048,
        max_chars: int = 2000,
        held_out_share: float = 0.2,
        seed: int = 0,
    ) -> "BigramDrop":
        """Learn a tokenizer of ``vocab`` ids from the texts, encode them, and draw the part to be held out."""
        cut = [text[:max_chars] for text in texts]
        tokenizer = ProxyTokenizer.train(cut, TokenizerConfig(vocab=vocab))
        held_out = np.random.default_rng(seed).random(len(cut)) < held_out_share
        return cls(tokenizer.encode(cut), tokenizer.vocab, held_out)

    def loss(self, labels: NDArray[np.integer], k: int) -> float:
        """Nats per token of the held-out documents when clusters 0..K-1 are known.

        Raises ValueError if there is not one label per document, or no document on one of the two sides.
        """
        if len(labels) != len(self.documents):
            raise ValueError(f"{len(labels)} labels for {len(self.documents)} documents")
        if self.held_out.all() or not self.held_out.any():
            raise ValueError("a bigram loss needs documents to count and documents to hold out")
        counted = np.flatnonzero(~self.held_out)
        rows = np.asarray(labels, np.int64)
        own = self._count(counted, rows[counted], k)
        everything = self._count(counted, np.zeros(len(counted), np.int64), 1)
        read = np.flatnonzero(self.held_out)
        part = self.documents.take(read)
        unigram, bigram = ngram_codes(part.tokens, self.vocab, 2)
        cluster = np.repeat(rows[read], np.diff(part.offsets)).astype(np.uint64)
        history = bigram // np.uint64(self.vocab)
        nothing = np.zeros(len(cluster), np.uint64)
        flat = (_occurrences(everything, 1, nothing, unigram) + 1) / (int(everything.tokens[0]) + self.vocab)
        low = (_occurrences(own, 1, cluster, unigram) + BACK_OFF * flat) / (own.tokens[cluster] + BACK_OFF)
        middle = (_occurrences(everything, 2, nothing, bigram) + BACK_OFF * low) / (
            _continuations(everything, nothing, history) + BACK_OFF
        )
        top = (_occurrences(own, 2, cluster, bigram) + BACK_OFF * middle) / (
            _continuations(own, cluster, history) + BACK_OFF
        )
        return float(-np.log(top).mean())

    def __call__(self, labels: NDArray[np.integer], k: int) -> float:
        """Nats per token by which knowing the cluster lowers the loss; about 0 for labels that say nothing."""
        return self.loss(np.zeros(len(labels), np.int64), 1) - self.loss(labels, k)

    def _count(self, rows: Ints, labels: Ints, k: int) -> DomainCounts:
        return count_documents(self.documents.take(rows), labels, vocab=self.vocab, domains=k, order=2)


def _occurrences(counts: DomainCounts, order: int, domain: NDArray[np.uint64], codes: NDArray[np.uint64]) -> Floats:
    keys, found = counts.keys[order - 1], counts.counts[order - 1]
    wanted = domain * np.uint64(counts.vocab**order) + codes
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, found[at], 0).astype(np.float64)


def _continuations(counts: DomainCounts, domain: NDArray[np.uint64], history: NDArray[np.uint64]) -> Floats:
    keys, totals = counts.keys[1], np.concatenate([[0], np.cumsum(counts.counts[1])])
    first = domain * np.uint64(counts.vocab**2) + history * np.uint64(counts.vocab)
    low, high = np.searchsorted(keys, first), np.searchsorted(keys, first + np.uint64(counts.vocab))
    return (totals[high] - totals[low]).astype(np.float64)
