"""Train the student: a linear softmax over hashed words, fitted in torch on bags of table rows.

Cross-entropy to the teacher's labels, or to its responsibilities softened by a temperature; AdamW with a linearly
falling step; a share of each document's words hidden in each step, so that no label hangs on one word. Only rows that
occur in the sample are trained, which keeps a step small. Afterwards, on documents that the weights never saw, one
temperature makes the confidences honest (Guo et al. 2017) and the bias is shifted until the student's cluster shares
are the teacher's. About ten seconds for 20,000 documents on one core.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax
from torch.nn import functional

from gem_assets.corpus.text.features import Texts, TokenRules
from gem_assets.embedding.counts import count_texts
from gem_assets.student.config import StudentConfig
from gem_assets.student.kernel import MAX_COUNT, log_weights

_SMALLEST_BATCH: Final = 16


@dataclass(frozen=True)
class Bags:
    """Weighted table rows of documents, CSR: those of document i are ``rows[indptr[i]:indptr[i + 1]]``."""

    rows: NDArray[np.int32]
    weights: NDArray[np.float32]
    indptr: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def take(self, documents: NDArray[np.int64]) -> "Bags":
        """Those documents, in that order."""
        starts, lengths = self.indptr[documents], np.diff(self.indptr)[documents]
        indptr = np.concatenate([np.zeros(1, np.int64), lengths.cumsum()])
        flat = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
        return Bags(self.rows[flat], self.weights[flat], indptr)


@dataclass(frozen=True)
class LinearModel:
    """Weight rows for the buckets seen in training, and the bias."""

    rows: NDArray[np.int64]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]


def rules_of(config: StudentConfig) -> TokenRules:
    """What the student reads from a document."""
    return TokenRules(config.max_chars, config.bigrams)


def read_bags(texts: Texts, config: StudentConfig) -> Bags:
    """Rows and weights of each document, scaled as the scoring kernel scales them."""
    found = count_texts(texts, rules_of(config), config.hash_bits)
    weights = squares = found.counts.astype(np.float64)
    if config.term_frequency == "log":
        weights = log_weights()[np.minimum(found.counts, MAX_COUNT)].astype(np.float64)
        squares = weights**2
    documents = found.documents()
    norms = np.sqrt(np.bincount(documents, squares, minlength=len(found)))
    return Bags(found.buckets, (weights / norms[documents]).astype(np.float32), found.indptr)


def train(
    bags: Bags, targets: NDArray[np.float32], config: StudentConfig, progress: Callable[[str], None] | None = None
) -> LinearModel:
    """Fit weights and bias, in one thread: the steps are too small to share, and the sums keep their order.

    Parameters
    ----------
    bags : Bags
        Training documents.
    targets : float32 array, shape (n, K)
        Rows that sum to one.
    config : StudentConfig
        Steps and dropout.
    progress : callable or None
        Receives one line an epoch.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _train(bags, targets, config, progress)
    finally:
        torch.set_num_threads(threads)


def _train(
    bags: Bags, targets: NDArray[np.float32], config: StudentConfig, progress: Callable[[str], None] | None
) -> LinearModel:
    seen, compact = np.unique(bags.rows, return_inverse=True)
    compact_bags = Bags(compact.astype(np.int32), bags.weights, bags.indptr)
    n_clusters = targets.shape[1]
    weight = torch.zeros(max(len(seen), 1), n_clusters, requires_grad=True)
    shares = np.maximum(targets.mean(axis=0), 1e-6)
    bias = torch.tensor(np.log(shares), dtype=torch.float32, requires_grad=True)
    optimiser = torch.optim.AdamW(
        [weight, bias], lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98), fused=True
    )
    batch_size = min(config.batch_size, max(_SMALLEST_BATCH, len(bags) * config.epochs // config.min_steps))
    steps = config.epochs * -(-len(bags) // batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, total_iters=steps)
    rng = np.random.default_rng(config.seed)
    keep = 1 - config.feature_dropout
    for epoch in range(config.epochs):
        order = rng.permutation(len(bags))
        total = 0.0
        for lo in range(0, len(bags), batch_size):
            chosen = order[lo : lo + batch_size]
            batch = compact_bags.take(chosen)
            scale = batch.weights * ((rng.random(len(batch.rows), np.float32) < keep) / np.float32(keep))
            scores = bias + functional.embedding_bag(
                torch.from_numpy(batch.rows.astype(np.int64)),
                weight,
                torch.from_numpy(batch.indptr[:-1]),
                mode="sum",
                per_sample_weights=torch.from_numpy(scale.astype(np.float32)),
            )
            loss = functional.cross_entropy(scores, torch.from_numpy(targets[chosen]))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        if progress is not None:
            progress(f"epoch {epoch + 1}/{config.epochs}: loss {total / len(bags):.3f}")
    return LinearModel(seen.astype(np.int64), weight.detach().numpy(), bias.detach().numpy())


def best_temperature(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Temperature in [1/20, 20] that minimises the negative log-likelihood of the labels."""

    def loss(log_t: float) -> float:
        z = scores.astype(np.float64) / np.exp(log_t)
        return float((np.asarray(logsumexp(z, axis=1)) - z[np.arange(len(z)), labels]).mean())

    found: Any = minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def share_matching_bias(scores: NDArray[np.float32], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift b of the scores, with mean zero, such that the mean of softmax(scores + b) is ``shares``.

    The minimiser of the convex mean logsumexp(scores + b) - <b, shares>, by damped Newton steps.
    """
    z = scores.astype(np.float64)
    shift = np.zeros(z.shape[1])
    ridge = 1e-6

    def objective(b: NDArray[np.float64]) -> float:
        return float(np.asarray(logsumexp(z + b, axis=1)).mean() - b @ shares + 0.5 * ridge * b @ b)

    value = objective(shift)
    for _ in range(50):
        p = np.asarray(softmax(z + shift, axis=1))
        gradient = p.mean(axis=0) - shares + ridge * shift
        if np.abs(gradient).max() < 1e-7:
            break
        hessian = np.diag(p.mean(axis=0) + ridge) - p.T @ p / len(p)
        step = np.linalg.solve(hessian, gradient)
        size = min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))
        while size > 1e-6 and objective(shift - size * step) > value:
            size /= 2
        shift = shift - size * step
        value = objective(shift)
    return shift - shift.mean()
