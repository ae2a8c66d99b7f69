"""Cluster-aware orders: each cluster follows the curve, and any window of the run holds the recipe's shares.

A document that covers a cluster's tokens from a to b is due when the run reaches the middle, (a + b) / 2, of that
cluster's tokens; documents are trained in the order in which they are due. For any stretch of the run each cluster's
tokens are then within one document of its share of the stretch (half a document at each end), whatever the lengths of
documents, which no sampling by probability achieves. Ties go to the lower cluster id. One sort, exact, no randomness.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from gem_assets.ordering import operators
from gem_assets.ordering.config import CurveConfig
from gem_assets.ordering.plan import RunPlan
from gem_assets.types import Floats, Ints

TokenArray = npt.NDArray[np.integer]


def cluster_curve(config: CurveConfig, group: tuple[int, ...], n: int, total: int) -> CurveConfig:
    """The curve of one group of n documents out of a run of `total`.

    Jitter is stated in documents of the run: a group takes its part of the window, so that jitter stays inside the
    group and the shares of every window survive it. Seeds differ between groups, or groups of equal size would move
    in step.
    """
    part = n / total if total else 0.0
    seed = int(np.random.SeedSequence([config.seed, *group]).generate_state(1)[0])
    return config.model_copy(
        update={
            "seed": seed,
            "window": round(config.window * part),
            "temperature": config.temperature * part,
        }
    )


def due_progress(blocks: Iterable[Ints], tokens: TokenArray, out: Floats, before: float, total: float) -> float:
    """Write when each document of a group is due, as a fraction of its cluster's tokens.

    Parameters
    ----------
    blocks
        Ranks in the order of the curve.
    tokens
        (n,) tokens by rank.
    out
        (n,) receives the result by rank.
    before, total
        Tokens of the cluster that earlier groups took, and all its tokens.

    Returns
    -------
    Tokens taken after this group.
    """
    for ranks in blocks:
        lengths = tokens[ranks].astype(np.float64)
        ends = before + np.cumsum(lengths)
        out[ranks] = (ends - lengths / 2) / total
        before = float(ends[-1])
    return before


def interleave(
    scores: npt.ArrayLike,
    clusters: npt.ArrayLike,
    tokens: npt.ArrayLike,
    config: CurveConfig,
    plan: RunPlan | None = None,
) -> Ints:
    """Order the documents of a mixture that fits in memory.

    Parameters
    ----------
    scores, clusters, tokens
        (n,) score, cluster id and token count (above zero) of each document.
    config
        Curve that every cluster follows.
    plan
        Run with phases; without one the clusters' shares are those of the tokens given, throughout.

    Returns
    -------
    (n,) int64; element k is the index of the document trained k-th.

    Raises
    ------
    ValueError
        If lengths differ, a token count is not above zero, or a cluster is not in the plan.
    """
    score, cluster = np.asarray(scores, dtype=np.float64), np.asarray(clusters, dtype=np.int64)
    length = np.asarray(tokens, dtype=np.int64)
    if not len(score) == len(cluster) == len(length):
        raise ValueError(f"{len(score)} scores, {len(cluster)} clusters and {len(length)} token counts")
    if len(length) and length.min() <= 0:
        raise ValueError(f"document {int(length.argmin())} has {int(length.min())} tokens; drop empty documents")
    due = np.empty(len(score))
    for c in np.unique(cluster):
        members = np.flatnonzero(cluster == c)
        curve = cluster_curve(config, (int(c),), len(members), len(score))
        within = operators.order(score[members], curve)
        progress = np.empty(len(members))
        due_progress([within], length[members], progress, 0.0, float(length[members].sum()))
        if plan is not None:
            progress = plan.run_time(position_of(plan, int(c)), progress)
        due[members] = progress
    return np.lexsort((cluster, due)).astype(np.int64, copy=False)


def position_of(plan: RunPlan, cluster: int) -> int:
    """Position of a cluster in the plan."""
    at = int(np.searchsorted(plan.clusters, cluster))
    if at == len(plan.clusters) or plan.clusters[at] != cluster:
        raise ValueError(f"cluster {cluster} has no share in the plan; it has {plan.clusters.tolist()}")
    return at
