"""The n-gram law: what the lexical proxy says, put on the scale of trained proxies by a line per target.

    L_j(p) = a_j + b_j · S_j(p),   b_j ≥ 0

``S_j`` is the loss of target j under the interpolated n-gram model of the mixture (``proxy.lexical``), which needs no
trained proxy; slope and intercept are fitted to those there are. With b = 1 and a = 0 it is stage 0 itself
(:class:`LexicalLaw` unfitted). Its rank correlation does not depend on the line, so it works from a handful of runs.
The gradient in ``p`` is exact; the law is not convex in general, and descent finds a local optimum.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from gem_assets.mixing.laws.base import LawEntry, checked_runs, normalised_rows
from gem_assets.types import Floats

if TYPE_CHECKING:
    from gem_assets.proxy.lexical import LexicalProxy

NAME = "ngram_affine"
LEAST_RUNS = 4
_REMEMBERED = 64


class LexicalLosses:
    """Losses of all targets of a lexical proxy, remembered for the mixtures asked for last.

    The laws of J targets ask for the same mixtures one after the other; each is worked out once.

    Domains of the ``proxy`` are the clusters in the order of the shares.
    """

    def __init__(self, proxy: "LexicalProxy") -> None:
        self.proxy = proxy
        self._losses: dict[bytes, Floats] = {}
        self._jacobians: dict[bytes, Floats] = {}

    def losses(self, mixtures: Floats) -> Floats:
        """Nats per token ``(m, J)`` of mixtures ``(m, K)``."""
        return _remembered(self._losses, mixtures, self.proxy.losses)

    def jacobian(self, mixture: Floats) -> Floats:
        """Derivatives ``(J, K)`` at one mixture ``(K,)``."""
        return _remembered(self._jacobians, mixture, lambda p: self.proxy.losses_and_jacobian(p)[1])


class LexicalLaw:
    """The n-gram loss of some targets, weighted, on the scale ``intercept_ + slope_ · S``; unfitted it is S itself.

    ``targets`` are the weights of its targets, ``(J,)``; they are scaled to sum 1.

    The slope is never negative.
    """

    intercept_: float
    slope_: float

    def __init__(self, losses: LexicalLosses, targets: Floats) -> None:
        weights = np.asarray(targets, np.float64)
        if weights.shape != (len(losses.proxy.targets),) or weights.min() < 0 or not weights.sum() > 0:
            raise ValueError(
                f"{len(losses.proxy.targets)} targets need as many non-negative weights, one of them above 0"
            )
        self._source, self._weights = losses, weights / weights.sum()
        self.intercept_, self.slope_ = 0.0, 1.0

    def fit(self, mixtures: Floats, losses: Floats) -> Self:
        """Fit the line by least squares; see :class:`~gem_assets.mixing.laws.base.Law`."""
        shares, values = checked_runs(mixtures, losses, LEAST_RUNS)
        scores = self._scores(shares)
        spread = scores - scores.mean()
        norm = float(spread @ spread)
        # without spread in the scores there is no line: the mean is all that can be said
        self.slope_ = max(0.0, float(spread @ values) / norm) if norm > 0 else 0.0
        self.intercept_ = float(values.mean() - self.slope_ * scores.mean())
        return self

    def predict(self, mixtures: Floats) -> Floats:
        """Predict the losses of mixtures ``(m, K)``."""
        return self.intercept_ + self.slope_ * self._scores(normalised_rows(mixtures))

    def gradient(self, mixture: Floats) -> Floats:
        """Gradient in the shares ``(K,)``."""
        return self.slope_ * (self._weights @ self._source.jacobian(np.asarray(mixture, np.float64)))

    def _scores(self, shares: Floats) -> Floats:
        return self._source.losses(shares) @ self._weights


def ngram_laws(proxy: "LexicalProxy", targets: Sequence[str]) -> dict[str, LawEntry]:
    """Return the n-gram law of each named target, as ``choose_laws`` takes laws that know their target.

    Raises ValueError when a name is not among the proxy's targets.
    """
    source = LexicalLosses(proxy)

    def entry(target: str) -> LawEntry:
        if target not in proxy.targets:
            raise ValueError(f"no target {target!r} in the lexical proxy; there are {', '.join(proxy.targets)}")
        weights = np.zeros(len(proxy.targets))
        weights[proxy.targets.index(target)] = 1.0
        return LawEntry(lambda _: LexicalLaw(source, weights), lambda _: LEAST_RUNS)

    return {target: entry(target) for target in targets}


def _remembered(store: dict[bytes, Floats], argument: Floats, compute: Callable[[Floats], Floats]) -> Floats:
    key = np.ascontiguousarray(argument).tobytes()
    if key not in store:
        if len(store) >= _REMEMBERED:
            store.pop(next(iter(store)))
        store[key] = compute(argument)
    return store[key]
