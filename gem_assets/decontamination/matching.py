"""Kernels of the search: n-grams of documents that items hold, and scores of items.

Numba caches a function by the file that it is in: whoever changes ``words_of`` or ``ngrams_of`` has to touch this file.
"""

import numpy as np
from numpy.typing import NDArray

from gem_assets.corpus.text.characters import Characters
from gem_assets.corpus.text.features import jit
from gem_assets.decontamination.index import Grams
from gem_assets.decontamination.words import ngrams_of, words_of

Int32s = NDArray[np.int32]


@jit
def _grown(values: Int32s) -> Int32s:
    more = np.empty((values.shape[0], 2 * values.shape[1]), np.int32)
    more[:, : values.shape[1]] = values
    return more


@jit
def find_hits(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], tables: Characters, grams: Grams, ngram: int
) -> tuple[Int32s, Int32s, Int32s, Int32s, Int32s]:
    """Find n-grams of the index in texts.

    Returns
    -------
    tuple of int32 arrays
        For each place where one is: number of the text, of the n-gram, first word, first character and end, in the
        order of the texts.
    """
    known, buckets, shift = grams.known, grams.buckets, np.uint64(grams.shift)
    longest = np.int64(1)
    for d in range(offsets.shape[0] - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    hashes, keys = np.empty(longest, np.uint64), np.empty(longest, np.uint64)
    starts, ends = np.empty(longest, np.int32), np.empty(longest, np.int32)
    found = np.empty((5, 1024), np.int32)
    n = 0
    for d in range(offsets.shape[0] - 1):
        words = words_of(data, offsets[d], offsets[d + 1], tables, hashes, starts, ends)
        for w in range(ngrams_of(hashes, words, ngram, keys)):
            key = keys[w]
            bucket = np.int64(key >> shift)
            for g in range(buckets[bucket], buckets[bucket + 1]):
                if known[g] == key:
                    if n == found.shape[1]:
                        found = _grown(found)
                    found[0, n], found[1, n], found[2, n] = d, g, w
                    found[3, n], found[4, n] = starts[w], ends[w + ngram - 1]
                    n += 1
                    break
    return found[0, :n].copy(), found[1, :n].copy(), found[2, :n].copy(), found[3, :n].copy(), found[4, :n].copy()


@jit
def weigh_words(
    item_starts: NDArray[np.int64], item_grams: Int32s, rare: NDArray[np.float32], ngram: int
) -> NDArray[np.float32]:
    """Return for each word of each item the mean weight of the n-grams over it; 0 where there is none."""
    out = np.zeros(item_grams.shape[0], np.float32)
    for item in range(item_starts.shape[0] - 1):
        begin, end = item_starts[item], item_starts[item + 1]
        for place in range(begin, end):
            total, n = np.float32(0), 0
            for at in range(max(begin, place - ngram + 1), min(place, end - ngram) + 1):
                n += 1
                if item_grams[at] >= 0:
                    total += rare[item_grams[at]]
            if n:
                out[place] = total / np.float32(n)
    return out


@jit
def _mark(cover: Int32s, weights: NDArray[np.float32], place: int, ngram: int) -> float:
    """Cover the words of an n-gram once more; return the weight of those that were not covered."""
    gained = 0.0
    for at in range(place, place + ngram):
        if cover[at] == 0:
            gained += weights[at]
        cover[at] += 1
    return gained


@jit
def _alone(cover: Int32s, weights: NDArray[np.float32], place: int, ngram: int) -> float:
    """Return the weight of the words that this n-gram alone covers."""
    lost = 0.0
    for at in range(place, place + ngram):
        if cover[at] == 1:
            lost += weights[at]
    return lost


@jit
def _unmark(cover: Int32s, place: int, ngram: int) -> None:
    for at in range(place, place + ngram):
        cover[at] -= 1


@jit
def _best_stretch(
    words: Int32s, places: Int32s, cover: Int32s, weights: NDArray[np.float32], ngram: int, widest: int
) -> tuple[float, int, int]:
    """Return the most weight that matches within ``widest`` words hold, and the first and last of them."""
    best, first, last = 0.0, 0, 0
    weight = 0.0
    low = 0
    for high in range(words.shape[0]):
        weight += _mark(cover, weights, places[high], ngram)
        while low < high:
            lost = _alone(cover, weights, places[low], ngram)
            if lost > 0 and words[high] + ngram - words[low] <= widest:
                break
            _unmark(cover, places[low], ngram)
            weight -= lost
            low += 1
        if weight > best + 1e-6:
            best, first, last = weight, low, high
    return best, first, last


@jit
def score_items(
    bounds: NDArray[np.int64],
    gram: Int32s,
    word: Int32s,
    start: Int32s,
    end: Int32s,
    posting_starts: Int32s,
    postings: Int32s,
    item_starts: NDArray[np.int64],
    weights: NDArray[np.float32],
    ngram: int,
    threshold: float,
    spread: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Score each item that a document holds something of.

    Parameters
    ----------
    bounds
        Hits of document d are those from ``bounds[d]`` to ``bounds[d + 1]``, in the order of its words.
    gram, word, start, end
        Of each hit, from :func:`find_hits`.
    spread
        Widest stretch of a document, in lengths of the item.

    Returns
    -------
    tuple of arrays
        Document, item, score, first character and end of each pair that reaches the threshold.
    """
    pairs = np.empty((4, 256), np.int64)
    scores = np.empty(256, np.float64)
    found = 0
    for d in range(bounds.shape[0] - 1):
        begin, stop = bounds[d], bounds[d + 1]
        total = 0
        for h in range(begin, stop):
            total += posting_starts[gram[h] + 1] - posting_starts[gram[h]]
        items, places, hits = np.empty(total, np.int64), np.empty(total, np.int32), np.empty(total, np.int32)
        n = 0
        for h in range(begin, stop):
            for p in range(posting_starts[gram[h]], posting_starts[gram[h] + 1]):
                items[n] = np.searchsorted(item_starts, np.int64(postings[p]), side="right") - 1
                places[n], hits[n] = postings[p] - item_starts[items[n]], h
                n += 1
        order = np.argsort(items, kind="mergesort")
        at = 0
        while at < total:
            item = items[order[at]]
            until = at
            while until < total and items[order[until]] == item:
                until += 1
            own = order[at:until]
            at = until
            own_weights = weights[item_starts[item] : item_starts[item + 1]]
            whole = 0.0
            for i in range(own_weights.shape[0]):
                whole += own_weights[i]
            if whole <= 0:
                continue
            cover = np.zeros(own_weights.shape[0], np.int32)
            # what all matches hold together bounds what a stretch of them can hold
            most = 0.0
            for i in range(own.shape[0]):
                most += _mark(cover, own_weights, int(places[own[i]]), ngram)
            if most < threshold * whole * (1 - 1e-6):
                continue
            cover[:] = 0
            chosen = hits[own]
            widest = spread * own_weights.shape[0] + ngram
            best, first, last = _best_stretch(word[chosen], places[own], cover, own_weights, ngram, widest)
            if best < threshold * whole * (1 - 1e-6):
                continue
            if found == scores.shape[0]:
                more, larger = np.empty((4, 2 * found), np.int64), np.empty(2 * found, np.float64)
                more[:, :found], larger[:found] = pairs, scores
                pairs, scores = more, larger
            pairs[0, found], pairs[1, found] = d, item
            pairs[2, found], pairs[3, found] = start[chosen[first]], end[chosen[last]]
            scores[found] = min(best / whole, 1.0)
            found += 1
    return pairs[0, :found], pairs[1, :found], scores[:found], pairs[2, :found], pairs[3, :found]
