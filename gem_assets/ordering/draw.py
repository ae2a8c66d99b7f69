"""Draw a mixture's documents: which ones, and how often each, so that every cluster meets its token target.

Copy k of document d arrives at time ``(k + v) / w``: v is uniform in [0, 1) from a digest of (doc_id, seed, k), w the
document's weight (1, or a rehydration weight). A cluster takes its copies in the order of arrival until its tokens
are spent. With equal weights that is whole passes over the cluster and then a random part of one more; with weights
it is w times as many copies of the document. The last document is in or out, whichever is nearer, so a total misses
its target by at most half of one document.

The cut is found without sorting: its range is known from the sums to within one copy of everything, a histogram of
4096 bins finds the bin, and only that bin's documents are sorted. Three linear passes over staged rows; memory is one
batch, 32 KiB per cluster, and about n/2000 pairs of numbers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gem_assets.ordering.hashing import KeyArray, document_keys, seeded, unit_interval
from gem_assets.types import Floats, Ints

BINS = 4096


@dataclass(frozen=True)
class Candidates:
    """Documents that may be drawn, as columns of equal length."""

    cluster: Ints
    """(n,) position of the document's cluster among the K that are drawn from."""
    n_tokens: Ints
    """(n,) above zero."""
    weight: Floats
    """(n,) above zero."""
    key: KeyArray
    """(n,) digest of the id."""


Replay = Callable[[], Iterator[Candidates]]


@dataclass(frozen=True)
class Supply:
    """Sums over the candidates, per cluster."""

    documents: Ints
    tokens: Ints
    weighted_tokens: Floats


def supply_of(replay: Replay, k: int) -> Supply:
    """Sum the candidates of each of the k clusters."""
    documents, tokens = np.zeros(k, dtype=np.int64), np.zeros(k)
    weighted = np.zeros(k)
    for part in replay():
        documents += np.bincount(part.cluster, minlength=k)
        # float64 sums of whole numbers are exact to 2**53
        tokens += np.bincount(part.cluster, weights=part.n_tokens, minlength=k)
        weighted += np.bincount(part.cluster, weights=part.n_tokens * part.weight, minlength=k)
    return Supply(documents=documents, tokens=tokens.astype(np.int64), weighted_tokens=weighted)


def arrival(part: Candidates, copy: Ints, seed: int) -> Floats:
    """When copy `copy` (n,) of each document arrives."""
    return (copy + unit_interval(seeded(part.key, seed, copy))) / part.weight


def cut_times(replay: Replay, supply: Supply, targets: Floats, seed: int) -> Floats:
    """Find, for each cluster, the arrival time of the last copy that is drawn.

    Parameters
    ----------
    replay
        Gives the candidates, any number of times, in any order.
    supply
        Their sums.
    targets
        (K,) tokens wanted of each cluster.
    seed
        Seed of the draw.

    Returns
    -------
    (K,) times; a copy is drawn when it arrives at or before its cluster's time.

    Raises
    ------
    ValueError
        If a cluster is wanted that has no tokens.
    """
    empty = np.flatnonzero((targets > 0) & (supply.tokens == 0))
    if len(empty):
        raise ValueError(f"no tokens in clusters at positions {empty.tolist()}, which have a target above zero")
    k = len(targets)
    scale = np.where(supply.weighted_tokens > 0, supply.weighted_tokens, 1.0)
    # a document has between floor and ceiling of (time x weight) copies
    low = np.maximum((targets - supply.tokens) / scale, 0.0) * (1 - 1e-9)
    high = (targets + supply.tokens) / scale * (1 + 1e-9) + 1e-9
    before, bins = np.zeros(k), np.zeros(k * BINS)
    for part in replay():
        before += np.bincount(part.cluster, weights=_copies(part, low, seed) * part.n_tokens, minlength=k)
        for rows, place, _ in _events(part, low, high, seed):
            flat = part.cluster[rows] * BINS + place
            bins += np.bincount(flat, weights=part.n_tokens[rows], minlength=k * BINS)
    filled = before[:, None] + np.cumsum(bins.reshape(k, BINS), axis=1)
    crossing = np.minimum((filled < targets[:, None]).sum(axis=1), BINS - 1)
    below = np.where(crossing > 0, filled[np.arange(k), crossing - 1], before)
    return _cut_inside(replay, low, high, crossing, below, targets, seed)


def _copies(part: Candidates, time: Floats, seed: int) -> Ints:
    """How many copies of each document arrive before its cluster's time."""
    reach = time[part.cluster] * part.weight
    whole = np.floor(reach).astype(np.int64)
    return whole + (unit_interval(seeded(part.key, seed, whole)) < reach - whole)


def _events(part: Candidates, low: Floats, high: Floats, seed: int) -> Iterator[tuple[Ints, Ints, Floats]]:
    """Copies that arrive in [low, high): rows of the part, bin numbers, arrival times."""
    rows = np.arange(len(part.cluster))
    copy = _copies(part, low, seed)
    width = (high - low) / BINS
    while len(rows):
        chosen = Candidates(part.cluster[rows], part.n_tokens[rows], part.weight[rows], part.key[rows])
        time = arrival(chosen, copy, seed)
        inside = time < high[chosen.cluster]
        rows, copy, time = rows[inside], copy[inside], time[inside]
        at = part.cluster[rows]
        place = np.clip(((time - low[at]) / width[at]).astype(np.int64), 0, BINS - 1)
        yield rows, place, time
        copy = copy + 1


def _cut_inside(
    replay: Replay,
    low: Floats,
    high: Floats,
    crossing: Ints,
    below: Floats,
    targets: Floats,
    seed: int,
) -> Floats:
    """Sort the copies of each cluster's crossing bin and cut where the target is nearest."""
    found: list[tuple[Ints, Floats, Ints]] = []
    for part in replay():
        for rows, place, time in _events(part, low, high, seed):
            hit = place == crossing[part.cluster[rows]]
            at = rows[hit]
            found.append((part.cluster[at], time[hit], part.n_tokens[at]))
    cluster = np.concatenate([f[0] for f in found])
    time = np.concatenate([f[1] for f in found])
    tokens = np.concatenate([f[2] for f in found])
    by = np.lexsort((time, cluster))
    cluster, time, tokens = cluster[by], time[by], tokens[by]
    cuts = np.full(len(targets), -1.0)
    edges = np.searchsorted(cluster, np.arange(len(targets) + 1))
    for c, target in enumerate(targets):
        if target <= 0:
            continue
        times = time[edges[c] : edges[c + 1]]
        total = below[c] + np.cumsum(tokens[edges[c] : edges[c + 1]])
        last = min(int(np.searchsorted(total, target)), len(total) - 1)
        previous = total[last - 1] if last else below[c]
        take = total[last] - target <= target - previous
        cuts[c] = times[last] if take else np.nextafter(times[last], -1.0)
    return cuts


def drawn_copies(part: Candidates, cuts: Floats, seed: int) -> Iterator[tuple[Ints, Ints]]:
    """Rows of the part and epoch numbers of the copies that are drawn, epoch by epoch."""
    rows, epoch = np.arange(len(part.cluster)), 0
    while len(rows):
        chosen = Candidates(part.cluster[rows], part.n_tokens[rows], part.weight[rows], part.key[rows])
        copy = np.full(len(rows), epoch, dtype=np.int64)
        rows = rows[arrival(chosen, copy, seed) <= cuts[chosen.cluster]]
        if len(rows):
            yield rows, copy[: len(rows)]
        epoch += 1


def draw(documents: pa.Table, targets: dict[int, float], seed: int = 0) -> pa.Table:
    """Draw from a table that fits in memory.

    Parameters
    ----------
    documents
        Columns doc_id, cluster, n_tokens, and optionally weight.
    targets
        Tokens wanted of each cluster; documents of other clusters are not drawn.
    seed
        Seed of the draw.

    Returns
    -------
    The table's rows, each as often as it is drawn, with a column ``epoch`` (0 for the first copy).

    Raises
    ------
    ValueError
        If a wanted cluster has no tokens.
    """
    clusters = np.array(sorted(targets), dtype=np.int64)
    cluster = documents.column("cluster").to_numpy()
    kept = np.flatnonzero(np.isin(cluster, clusters) & (documents.column("n_tokens").to_numpy() > 0))
    documents = documents.take(pa.array(kept))
    weight = documents.column("weight").to_numpy() if "weight" in documents.column_names else np.ones(len(kept))
    part = Candidates(
        cluster=np.searchsorted(clusters, cluster[kept]),
        n_tokens=documents.column("n_tokens").to_numpy().astype(np.int64),
        weight=weight.astype(np.float64),
        key=document_keys(documents.column("doc_id").combine_chunks()),
    )

    def replay() -> Iterator[Candidates]:
        yield part

    wanted = np.array([targets[int(c)] for c in clusters], dtype=np.float64)
    supply = supply_of(replay, len(clusters))
    missing = [int(c) for c, t, s in zip(clusters, wanted, supply.tokens, strict=True) if t > 0 and s == 0]
    if missing:
        raise ValueError(f"clusters {missing} have a token target and no tokens; land text or drop their share")
    cuts = cut_times(replay, supply, wanted, seed)
    copies = list(drawn_copies(part, cuts, seed))
    rows = np.concatenate([c[0] for c in copies]) if copies else np.zeros(0, dtype=np.int64)
    epochs = np.concatenate([c[1] for c in copies]) if copies else np.zeros(0, dtype=np.int64)
    return documents.take(pa.array(rows)).append_column("epoch", pa.array(epochs.astype(np.int32)))
