"""What a tokenizer was trained on: infer the mixture of categories from its merge list (Hayase et al. 2024).

A BPE trainer merges the most frequent pair at every step. So at step ``t``, after the first ``t`` merges, the next
merge ``m_t`` was at least as frequent in the training mixture as any other pair ``p``; with ``c_i`` the pair counts per
byte of category ``i`` and ``α`` the byte shares,

    Σ_i α_i (c_i,m_t - c_i,p) + v_t + v_p ≥ 0          for every step and competitor

Sampled text never meets all of these exactly, so each step and each pair has a slack and their sum is minimised: a
linear program, solved by HiGHS. Words are counted once and merges update only the words that they touch.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array

from gem_assets.types import Floats

Pair = tuple[bytes, bytes]

COMPETITORS = 60


@dataclass(frozen=True)
class MixtureEstimate:
    """Inferred byte shares and how well they explain the merges.

    Attributes
    ----------
    shares
        ``(K,)``, sum 1.
    violation
        Sum of the slacks per step, in pair counts per byte; 0 when every merge is explained.
    """

    shares: Floats
    violation: float
    steps: int


class PairCounts:
    """Pair counts of several categories under a growing list of merges.

    ``words`` are word counts per category; a word is the unit that no merge crosses.
    """

    def __init__(self, words: Sequence[Counter[bytes]]) -> None:
        self.bytes = np.array([sum(len(w) * c for w, c in counts.items()) for counts in words], np.float64)
        if np.any(self.bytes == 0):
            raise ValueError(f"category {int(np.argmin(self.bytes))} holds no text")
        vocabulary = sorted(set().union(*words))
        self._pieces = [[w[i : i + 1] for i in range(len(w))] for w in vocabulary]
        # counts per byte, so that a mixture's counts are the shares times these
        self._weight = np.array([[counts.get(w, 0) for counts in words] for w in vocabulary], np.float64) / self.bytes
        self._slot: dict[Pair, int] = {}
        self.pairs: list[Pair] = []
        self._table = np.zeros((1024, len(words)))
        self._where: defaultdict[Pair, set[int]] = defaultdict(set)
        for number, pieces in enumerate(self._pieces):
            self._add(number, pieces, 1.0)

    @property
    def table(self) -> Floats:
        """Count per byte of every pair seen so far in every category, ``(pairs, K)``."""
        return self._table[: len(self.pairs)]

    def slot(self, pair: Pair) -> int:
        """Row of a pair in :attr:`table`; a pair that never occurred gets a row of zeros."""
        if pair not in self._slot:
            self._slot[pair] = len(self.pairs)
            self.pairs.append(pair)
            if len(self.pairs) > len(self._table):
                self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        return self._slot[pair]

    def merge(self, pair: Pair) -> None:
        """Join every occurrence of a pair, left to right."""
        left, right = pair
        for number in sorted(self._where.get(pair, ())):
            pieces = self._pieces[number]
            joined: list[bytes] = []
            i = 0
            while i < len(pieces):
                if i + 1 < len(pieces) and pieces[i] == left and pieces[i + 1] == right:
                    joined.append(left + right)
                    i += 2
                else:
                    joined.append(pieces[i])
                    i += 1
            if len(joined) != len(pieces):
                self._add(number, pieces, -1.0)
                self._pieces[number] = joined
                self._add(number, joined, 1.0)
        self._where.pop(pair, None)
        # sums of differences leave rounding behind where nothing is left
        self._table[self.slot(pair)] = 0.0

    def _add(self, number: int, pieces: Sequence[bytes], sign: float) -> None:
        weight = sign * self._weight[number]
        for pair in pairwise(pieces):
            row = self.slot(pair)
            self._table[row] += weight
            if sign > 0:
                self._where[pair].add(number)


def count_words(text: str) -> Counter[bytes]:
    """Words of a text as bytes, each with the space before it, as byte-level BPE splits them."""
    return Counter((" " + word).encode() for word in text.split())


def train_bpe(words: Sequence[Counter[bytes]], shares: Floats, merges: int) -> list[Pair]:
    """Learn merges on a mixture of categories; ties go to the pair that comes first in byte order."""
    counts = PairCounts(words)
    learned: list[Pair] = []
    for _ in range(merges):
        mixed = counts.table @ shares
        if len(mixed) == 0 or mixed.max() <= 1e-15:
            break
        best = np.flatnonzero(mixed >= mixed.max() * (1 - 1e-12))
        pair = min(counts.pairs[i] for i in best)
        learned.append(pair)
        counts.merge(pair)
    return learned


def infer_mixture(
    words: Sequence[Counter[bytes]], merges: Sequence[Pair], *, competitors: int = COMPETITORS
) -> MixtureEstimate:
    """Infer the byte shares of the categories from a tokenizer's merges.

    Raises ValueError if there are no merges, or the program has no solution (it always has one; then HiGHS failed).

    Parameters
    ----------
    words
        Word counts of a sample of each category.
    merges
        The merge list, in order.
    competitors
        Constraints per step: the pairs most frequent in any category or in their even mixture.
    """
    if not merges:
        raise ValueError("no merges to infer from")
    counts = PairCounts(words)
    categories = len(words)
    rows: list[Floats] = []
    steps: list[int] = []
    rivals: list[int] = []
    for step, pair in enumerate(merges):
        own = counts.slot(pair)
        table = counts.table
        strength = np.maximum(table.max(axis=1), table.sum(axis=1))
        wanted = min(competitors + 1, len(strength))
        for rival in np.sort(np.argpartition(-strength, wanted - 1)[:wanted]):
            if rival != own and strength[rival] > 0:
                rows.append(table[own] - table[rival])
                steps.append(step)
                rivals.append(int(rival))
        counts.merge(pair)
    return _solve(np.array(rows).reshape(-1, categories), np.array(steps), np.array(rivals), len(merges))


def _solve(advantage: Floats, steps: NDArray[np.int64], rivals: NDArray[np.int64], n_steps: int) -> MixtureEstimate:
    categories = advantage.shape[1]
    names, rival_slot = np.unique(rivals, return_inverse=True)
    # counts per byte are about 1e-4; in units of their size HiGHS' tolerances mean something
    unit = float(np.abs(advantage).max()) or 1.0
    n = len(advantage)
    width = categories + n_steps + len(names)
    line = np.arange(n)
    body = csr_array(
        (
            np.concatenate([-(advantage / unit).ravel(), -np.ones(2 * n)]),
            (
                np.concatenate([np.repeat(line, categories), line, line]),
                np.concatenate(
                    [np.tile(np.arange(categories), n), categories + steps, categories + n_steps + rival_slot]
                ),
            ),
        ),
        shape=(n, width),
    )
    cost = np.concatenate([np.zeros(categories), np.ones(n_steps + len(names))])
    total = csr_array((np.ones(categories), (np.zeros(categories, np.int64), np.arange(categories))), shape=(1, width))
    found = linprog(
        cost,
        A_ub=body,
        b_ub=np.zeros(n),
        A_eq=total,
        b_eq=np.ones(1),
        bounds=(0, None),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.x is None:
        raise ValueError(f"the linear program was not solved: {found.message}")
    shares = np.maximum(found.x[:categories], 0.0)
    return MixtureEstimate(shares / shares.sum(), float(found.fun) * unit / n_steps, n_steps)
