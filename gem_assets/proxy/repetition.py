"""Simulated epoching: proxies repeat each cluster as often as the run that they stand for will.

A run of D tokens reads a cluster of N_k tokens p_k D / N_k times at a share p_k. A proxy of d tokens that has
N_k d / D tokens of the cluster reads it as often, whatever the share is. Without that a proxy hardly repeats anything,
so it recommends small clusters that the run would read many times: at a sixteenth of the tokens the share of the best
mixture was off by .75, and by .05 with it (arXiv 2606.07597).
"""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from gem_assets.proxy.pool import TokenPool
from gem_assets.types import Floats

TOLERANCE: Final = 0.2
"""Relative difference in the epochs of a cluster from which two budgets are told apart."""


@dataclass(frozen=True)
class Repetition:
    """The run that proxies stand for.

    Attributes
    ----------
    budget
        Tokens of the run, D.
    tokens
        Tokens that there are of each cluster, N_k, counted as the budget is.
    """

    budget: int
    tokens: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.budget < 1 or not self.tokens or min(self.tokens) < 0:
            raise ValueError(f"a budget of {self.budget} tokens over {self.tokens} tokens by cluster is not a run")

    @classmethod
    def read(cls, stored: dict[str, Any] | None) -> Self | None:
        """Return what :meth:`stored` wrote."""
        return None if stored is None else cls(int(stored["budget"]), tuple(int(n) for n in stored["tokens"]))

    def stored(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"budget": self.budget, "tokens": list(self.tokens)}

    def sizes(self, proxy_tokens: int, context: int) -> NDArray[np.int64]:
        """Tokens of each cluster that a proxy of ``proxy_tokens`` tokens may read, ``(K,)``.

        A cluster that has any text keeps one context at least: within a window nothing may repeat.
        """
        exact = np.array(self.tokens, np.float64) * (proxy_tokens / self.budget)
        return np.where(exact > 0, np.maximum(np.round(exact), context), 0).astype(np.int64)

    def cut(self, pool: TokenPool, proxy_tokens: int, context: int) -> TokenPool:
        """Return the beginning of every cluster's stream, as long as :meth:`sizes` says or as the stream is.

        Documents lie in the stream in the order of a hash of their ids, so its beginning is a sample.
        """
        if len(self.tokens) != pool.domains:
            raise ValueError(f"{len(self.tokens)} clusters have tokens, the pool has {pool.domains}")
        sizes = np.minimum(self.sizes(proxy_tokens, context), pool.sizes)
        parts = [pool.domain(k)[: sizes[k]] for k in range(pool.domains)]
        tokens = np.concatenate([np.zeros(0, np.uint16), *parts])
        bounds = np.concatenate([[0], np.cumsum(sizes)])
        return TokenPool(tokens, bounds, pool.vocab, pool.tokenizer, pool.digest)

    def unmatched(self, pool: TokenPool, proxy_tokens: int, context: int) -> list[int]:
        """Clusters that such a proxy repeats more or less often than the run, by a fifth at least.

        More, as the pool holds too little of them (``proxy.pool.domain_tokens``); less, as one context is more than
        their part.
        """
        exact = np.array(self.tokens, np.float64) * (proxy_tokens / self.budget)
        given = np.minimum(self.sizes(proxy_tokens, context), pool.sizes)
        return [int(k) for k in np.flatnonzero(np.abs(given - exact) > TOLERANCE * exact)]

    def epochs(self, shares: Floats) -> Floats:
        """How often the run reads each cluster at these shares, ``(K,)``; infinite where there is no text."""
        available = np.array(self.tokens, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(shares > 0, shares * self.budget / available, 0.0)

    def differs(self, budget: int, tokens: Floats | NDArray[np.int64]) -> bool:
        """Whether another run repeats some cluster more or less often by a fifth, at equal shares."""
        mine = np.array(self.tokens, np.float64) / self.budget
        other = np.asarray(tokens, np.float64) / budget
        return bool((np.abs(mine - other) > TOLERANCE * np.maximum(mine, other)).any())
