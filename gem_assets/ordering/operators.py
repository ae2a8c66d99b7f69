"""The published data orderings as pure functions from scores to an index array.

``order[k]`` is the index of the sample trained k-th. Every operator is a permutation of the stably sorted
sample list, so the core here is :func:`arrange`: the ranks in training order, without any score. Dai et al.,
"Demystifying Data Organization for Enhanced LLM Training" (arXiv 2605.30334); behaviour of the public
reference at 2250d2a, ties and random streams included.

Cost: one stable sort, O(n), and 8 bytes per sample for the result.
"""

import random
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from gem_assets.ordering.config import CurveConfig
from gem_assets.ordering.shuffle import python_shuffle
from gem_assets.types import Ints


def order(scores: npt.ArrayLike, config: CurveConfig) -> Ints:
    """Return the training order of samples with these scores.

    Parameters
    ----------
    scores
        (n,) finite numbers, one per sample.
    config
        Strategy and its parameters.

    Returns
    -------
    (n,) int64; element k is the index of the sample trained k-th.

    Raises
    ------
    ValueError
        If scores are not one-dimensional or not finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"scores must be one-dimensional, got shape {values.shape}")
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        first = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"{bad} of {len(values)} scores are not finite, the first at index {first}")
    ranks = arrange(len(values), config)
    if config.strategy == "random":
        return ranks
    return sort_stably(values, reads_ascending(config))[ranks]


def reads_ascending(config: CurveConfig) -> bool:
    """Whether ranks count from the lowest score (`segment` names its tails itself and always does)."""
    return config.ascending or config.strategy == "segment"


def sort_stably(values: npt.NDArray[np.float64], ascending: bool = True) -> Ints:
    """Argsort whose ties keep the input order in both directions."""
    # negation keeps ties in input order; reversing an ascending sort would not
    return np.argsort(values if ascending else -values, kind="stable").astype(np.int64, copy=False)


def arrange(n: int, config: CurveConfig) -> Ints:
    """Ranks in training order for n samples already sorted by score.

    For ``random`` the sorted list plays no part: the result indexes the input itself.
    """
    blocks = list(rank_blocks(n, config))
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.int64)


def rank_blocks(n: int, config: CurveConfig, size: int = 1 << 20) -> Iterator[Ints]:
    """Ranks in training order, block by block.

    Folding, zigzag, stair, saw and the plain curriculum need one block (and one jitter window) of memory, however
    large n is; random, segment and the Gumbel jitter hold 8 to 16 bytes per sample.
    """
    if n < 0:
        raise ValueError(f"number of samples must not be negative, got {n}")
    if config.strategy == "random":
        return _slices(python_shuffle(np.arange(n, dtype=np.int64), config.seed), size)
    if config.strategy == "segment":
        return _slices(_segment(n, config), size)
    if config.strategy == "curriculum" and config.temperature:
        blocks = _slices(_gumbel_ranks(n, config.temperature, config.seed), size)
    else:
        blocks = _ranges(_pieces(n, config), size)
    return _jittered(blocks, config.window, config.seed, size) if config.window > 1 else blocks


def _pieces(n: int, config: CurveConfig) -> Iterator[range]:
    """The curve as strided runs of ranks."""
    match config.strategy:
        case "folding":
            yield from _layers(0, n, config.layers, alternate=False)
        case "zigzag":
            yield from _layers(0, n, config.layers, alternate=True)
        case "stair" | "saw":
            cursor = 0
            for a, b in folded_regions(n, config.sections, config.folding_ratio):
                yield range(cursor, a)
                yield from _layers(a, b, config.layers, alternate=config.strategy == "saw")
                cursor = b
            yield range(cursor, n)
        case _:
            yield range(n)


def _layers(a: int, b: int, layers: int, *, alternate: bool) -> Iterator[range]:
    """``x[0::L], x[1::L], ...`` of the ranks a to b, every second layer reversed for zigzag."""
    # layers past the region's length are empty
    for layer in range(min(layers, b - a)):
        run = range(a + layer, b, layers)
        yield run[::-1] if alternate and layer % 2 else run


def folded_regions(n: int, sections: int, ratio: float) -> Iterator[tuple[int, int]]:
    """Half-open rank ranges that STR and SAW fold; a region starts no earlier than the last one ended."""
    if n == 0 or sections == 1 or ratio == 0:
        return
    # round() halves to even, on purpose: the reference does
    radius = round(n * ratio)
    cursor = 0
    for k in range(1, sections):
        split = round(n * k / sections)
        a, b = max(cursor, split - radius), min(n, split + radius)
        yield a, b
        cursor = b


def _ranges(pieces: Iterable[range], size: int) -> Iterator[Ints]:
    for piece in pieces:
        for start in range(0, len(piece), size):
            part = piece[start : start + size]
            yield np.arange(part.start, part.stop, part.step, dtype=np.int64)


def _slices(ranks: Ints, size: int) -> Iterator[Ints]:
    for start in range(0, len(ranks), size):
        yield ranks[start : start + size]


def _jittered(blocks: Iterable[Ints], window: int, seed: int, size: int) -> Iterator[Ints]:
    """Shuffle contiguous windows with one generator threaded through them (JIT)."""
    rng = np.random.default_rng(seed)
    size = max(1, size // window) * window
    waiting: list[Ints] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        if count >= size:
            whole = np.concatenate(waiting)
            ready = count // window * window
            waiting, count = [whole[ready:]], count - ready
            yield _shuffle_windows(whole[:ready], window, rng)
    if count:
        yield _shuffle_windows(np.concatenate(waiting), window, rng)


def _shuffle_windows(ranks: Ints, window: int, rng: np.random.Generator) -> Ints:
    for start in range(0, len(ranks), window):
        rng.shuffle(ranks[start : start + window])
    return ranks


def _gumbel_ranks(n: int, temperature: float, seed: int) -> Ints:
    """Ranks sorted by ``i + temperature * Gumbel``: a curriculum with soft order (CL)."""
    keys = np.random.default_rng(seed).gumbel(size=n)
    keys *= temperature
    keys += np.arange(n)
    return sort_stably(keys)


def _segment(n: int, config: CurveConfig) -> Ints:
    """SEG: a front and a back drawn from the score's tails, all three parts shuffled."""
    n_front, n_back = segment_sizes(n, config.front_percent, config.back_percent)
    rng = random.Random(config.seed)
    rest = np.arange(n, dtype=np.int64)
    if config.front_is_high == config.back_is_high:
        tail, rest = _take(rest, n_front + n_back, config.front_is_high)
        tail = python_shuffle(tail, rng)
        front, back = tail[:n_front], tail[n_front:]
    else:
        front, rest = _take(rest, n_front, config.front_is_high)
        back, rest = _take(rest, n_back, config.back_is_high)
    parts = [python_shuffle(part, rng) for part in (front, rest, back)]
    return np.concatenate(parts)


def segment_sizes(n: int, front_percent: float, back_percent: float) -> tuple[int, int]:
    """Documents in SEG's front and back; both shrink in proportion where they would overlap."""
    n_front, n_back = int(n * front_percent // 100), int(n * back_percent // 100)
    if n_front + n_back > n:
        n_front = int(n_front * (n / (n_front + n_back)))
        n_back = n - n_front
    return n_front, n_back


def _take(ranks: Ints, k: int, high: bool) -> tuple[Ints, Ints]:
    if k == 0:
        return ranks[:0], ranks
    return (ranks[-k:], ranks[:-k]) if high else (ranks[:k], ranks[k:])
