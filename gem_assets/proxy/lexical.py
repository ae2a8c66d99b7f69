"""Stage 0, the lexical proxy: an n-gram model's loss on each target for any mixture, without training.

The counts of a mixture are the share-weighted sum of the domains' relative counts, so the loss of an interpolated
n-gram model is a closed form of the shares p. With c_k(.) / N_k the relative counts of domain k, tau a pseudo token
budget and beta the weight of the next lower order::

    P1(w)    = (tau sum_k p_k c_k(w) / N_k         + b1 / V)       / (tau + b1)
    P2(w|h)  = (tau sum_k p_k c_k(h w) / N_k       + b2 P1(w))     / (tau sum_k p_k c_k(h) / N_k + b2)
    P3(w|gh) = (tau sum_k p_k c_k(g h w) / N_k     + b3 P2(w|h))   / (tau sum_k p_k c_k(g h) / N_k + b3)

The K-vectors of every n-gram of the windows are looked up once; a mixture then costs two matrix-vector products per
order, well below a millisecond for 20 targets, and its gradient in p is exact.

What it is: a statement about vocabulary and short phrases, at the scale of tiny models. It ranks 0.3M transformers
well; it cannot see structure beyond its order, instruction format, quality at equal vocabulary, or repetition. Its
results are labelled :data:`LABEL` wherever they are shown, and a small swarm has to confirm them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gem_assets.proxy.config import CountConfig
from gem_assets.proxy.counts import CountsError, DomainCounts, ngram_codes
from gem_assets.proxy.pool import EvaluationSet
from gem_assets.types import Floats, Ints

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LABEL = "lexical proxy"


@dataclass(frozen=True)
class _Order:
    """Distinct n-grams of one order in the windows.

    ``joint`` (r, K) holds c_k(n-gram) / N_k; ``history`` (h, K) holds c_k(history) / N_k, one row for each distinct
    history, of which n-gram i has row ``history_of[i]``; ``lower[i]`` is the n-gram less its oldest id, one order down;
    ``entry`` is the n-gram at each entry of the windows.
    """

    joint: Floats
    history: Floats
    history_of: Ints
    lower: Ints
    entry: Ints


@dataclass(frozen=True)
class LexicalProxy:
    """Loss of every target as a function of the shares. Build one with :meth:`of`.

    ``tau`` is the pseudo token budget and ``beta`` the interpolation weights; see the module.
    """

    targets: tuple[str, ...]
    domains: int
    vocab: int
    tau: float
    beta: tuple[float, float, float]
    orders: tuple[_Order, ...]
    weight: Floats
    target_bounds: Ints

    @classmethod
    def of(cls, counts: DomainCounts, evaluation: EvaluationSet, config: CountConfig, tau: float) -> "LexicalProxy":
        """Look up the n-grams of the windows.

        A window's first predicted token has one token of history; longer histories reach to the window's start, as a
        transformer's do.

        Raises CountsError when the counts stop below ``config.order``, or a window has an id beyond their vocabulary.
        """
        if config.order > counts.order:
            raise CountsError(f"counts reach order {counts.order}, {config.order} is asked for; count again")
        if evaluation.windows.max() >= counts.vocab:
            raise CountsError(
                f"token {evaluation.windows.max()} of a window is unknown to the counts: other tokenizer?"
            )
        codes = _window_codes(evaluation.windows, counts.vocab, config.order)
        target = np.repeat(evaluation.target, evaluation.context)
        entries, first, weight = _entries(codes[-1], target, len(evaluation.names))
        orders: list[_Order] = []
        below = np.zeros(0, np.uint64)
        for n in range(1, config.order + 1):
            distinct, entry = np.unique(codes[n - 1][first], return_inverse=True)
            histories, history_of = np.unique(distinct // np.uint64(counts.vocab), return_inverse=True)
            lower = np.searchsorted(below, distinct % np.uint64(counts.vocab ** (n - 1))) if n > 1 else entry[:0]
            history = counts.relative_history(n, histories) if n > 1 else np.ones((1, counts.domains))
            orders.append(_Order(counts.relative(n, distinct), history, history_of, lower, entry))
            below = distinct
        bounds = np.searchsorted(entries, np.arange(len(evaluation.names) + 1))
        return cls(evaluation.names, counts.domains, counts.vocab, tau, config.beta, tuple(orders), weight, bounds)

    def with_tau(self, tau: float) -> "LexicalProxy":
        """Return the same tables read with another pseudo token budget."""
        return replace(self, tau=tau)

    def losses(self, mixtures: Floats | Sequence[float]) -> Floats:
        """Return nats per token.

        ``mixtures`` are shares (K,) or (M, K), non-negative. Nothing is normalised, so that derivatives are those of
        the formula; a domain without tokens contributes nothing, whatever its share.

        Returns shape (J,) or (M, J).
        """
        p = self._check(mixtures)
        many = np.atleast_2d(p)
        out = np.empty((len(many), len(self.targets)))
        for start in range(0, len(many), 64):
            block = many[start : start + 64]
            log_p = np.log(self._probabilities(block.T)[-1][0])[self.orders[-1].entry]
            out[start : start + 64] = -np.add.reduceat(self.weight[:, None] * log_p, self.target_bounds[:-1], axis=0).T
        return out if p.ndim == 2 else out[0]

    def losses_and_jacobian(self, shares: Floats | Sequence[float]) -> tuple[Floats, Floats]:
        """Return the losses (J,) of one mixture and their exact derivatives in its shares, (J, K)."""
        p = self._check(shares)
        if p.ndim != 1:
            raise ValueError(f"one mixture of {self.domains} shares at a time, got shape {p.shape}")
        levels = [(prob[:, 0], denominator[:, 0]) for prob, denominator in self._probabilities(p[:, None])]
        prob = levels[-1][0][self.orders[-1].entry]
        losses = -np.add.reduceat(self.weight * np.log(prob), self.target_bounds[:-1])
        jacobian = np.zeros((len(self.targets), self.domains))
        pull = -self.weight / prob
        for n in range(len(self.orders), 0, -1):
            order, (probability, denominator) = self.orders[n - 1], levels[n - 1]
            numerator = pull / denominator[order.entry]
            jacobian += self.tau * (self._sparse(numerator, order.entry, len(order.joint)) @ order.joint)
            if n > 1:
                slope = -numerator * probability[order.entry]
                rows = order.history_of[order.entry]
                jacobian += self.tau * (self._sparse(slope, rows, len(order.history)) @ order.history)
                pull = self.beta[n - 1] * numerator
        return losses, jacobian

    def _probabilities(self, p: Floats) -> list[tuple[Floats, Floats]]:
        """Probability and denominator of the n-grams of each order, both (r, M), for shares (K, M)."""
        levels: list[tuple[Floats, Floats]] = []
        for n, order in enumerate(self.orders, start=1):
            joint = self.tau * (order.joint @ p)
            if n == 1:
                denominator = np.full_like(joint, self.tau + self.beta[0])
                lower = 1.0 / self.vocab
            else:
                denominator = (self.tau * (order.history @ p) + self.beta[n - 1])[order.history_of]
                lower = levels[-1][0][order.lower]
            levels.append(((joint + self.beta[n - 1] * lower) / denominator, denominator))
        return levels

    def _sparse(self, values: Floats, columns: Ints, width: int) -> "csr_array":
        from scipy.sparse import csr_array

        return csr_array((values, columns, self.target_bounds), shape=(len(self.targets), width))

    def _check(self, shares: Floats | Sequence[float]) -> Floats:
        p = np.asarray(shares, np.float64)
        if p.ndim not in (1, 2) or p.shape[-1] != self.domains:
            raise ValueError(f"a mixture has {self.domains} shares here, got an array of shape {p.shape}")
        if not np.isfinite(p).all() or p.min(initial=0.0) < 0:
            raise ValueError("shares must be finite and not negative")
        return p


def mean_spearman(predicted: Floats, observed: Floats) -> float:
    """Mean over columns of Spearman's rank correlation; a constant column counts as 0."""
    from scipy.stats import rankdata  # most of a second, which a command that reads recipes does not pay

    ranks = [rankdata(x, axis=0) - (len(x) + 1) / 2 for x in (predicted, observed)]
    norms = np.sqrt((ranks[0] ** 2).sum(0) * (ranks[1] ** 2).sum(0))
    return float(np.where(norms > 0, (ranks[0] * ranks[1]).sum(0) / np.where(norms > 0, norms, 1.0), 0.0).mean())


def _window_codes(windows: NDArray[np.uint16], vocab: int, order: int) -> list[NDArray[np.uint64]]:
    """Codes of the predicted tokens of all windows, one array an order."""
    per_window = [ngram_codes(window, vocab, order) for window in windows]
    return [np.concatenate([codes[n][1:] for codes in per_window]) for n in range(order)]


def _entries(codes: NDArray[np.uint64], target: Ints, targets: int) -> tuple[Ints, Ints, Floats]:
    """Distinct (target, n-gram) pairs: their target, one position of each, and their share of the target's tokens."""
    order = np.lexsort((codes, target))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(codes[order]) != 0) | (np.diff(target[order]) != 0)
    starts = np.flatnonzero(new)
    repeats = np.diff(np.concatenate([starts, [len(order)]]))
    of = target[order][starts]
    return of, order[starts], repeats / np.bincount(target, minlength=targets)[of]
