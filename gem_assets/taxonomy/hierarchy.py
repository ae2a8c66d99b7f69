"""Parents above the clusters: a tree by agglomeration on the sphere, cut once, with ids that survive refits.

A cluster is its resultant, the sum of its unit vectors. Joining two clusters costs what the sum of resultant lengths,
the objective of spherical k-means, loses by it:

    loss(a, b) = ‖r_a‖ + ‖r_b‖ − ‖r_a + r_b‖ ≥ 0

which is Ward's criterion with cosines in the place of squared distances: it joins close clusters first, and small ones
before large ones, so that parents come out of like size. The cheapest pair is joined until one is left. Losses are
never negative, so the tree has no inversions. Cost: O(K³) in the worst case, a second at K = 1000.

A parent keeps the id and name of the earlier parent that shares more than half of their union with it, by documents;
at most one can.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gem_assets.frozen import Frozen

Share = Annotated[float, Field(ge=0, le=1.0001)]


class Merge(Frozen):
    """One step of the agglomeration.

    Attributes
    ----------
    left, right
        Nodes that were joined: below K a cluster, K + i the result of step i.
    lost
        Share of the objective that this step and all before it have cost.
    """

    left: Annotated[int, Field(ge=0)]
    right: Annotated[int, Field(ge=0)]
    lost: Share


class Parent(Frozen):
    """A group of clusters as a person meets it.

    Attributes
    ----------
    id
        Outlives refits: never given to another parent.
    clusters, domains
        Its clusters by number, and by domain id in the same order.
    coherence
        Length of the mean vector of its documents: 1 where all point the same way.
    """

    id: Annotated[int, Field(ge=0)]
    slug: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    name: Annotated[str, Field(min_length=1)]
    named_by: Literal["keywords", "model", "previous"]
    description: str
    clusters: Annotated[tuple[int, ...], Field(min_length=1)]
    domains: Annotated[tuple[int, ...], Field(min_length=1)]
    share: Share
    coherence: Share
    keywords: tuple[str, ...]


class Hierarchy(Frozen):
    """Parents by id, and the whole tree from which they were cut.

    Attributes
    ----------
    merges
        K - 1 steps from clusters to one root.
    next_id
        First parent id that was never used.
    """

    parents: tuple[Parent, ...]
    merges: tuple[Merge, ...]
    next_id: Annotated[int, Field(ge=0)]

    def parent_of(self) -> dict[int, Parent]:
        """Parent of every cluster, by the cluster's number."""
        return {cluster: parent for parent in self.parents for cluster in parent.clusters}


def cluster_resultants(
    vectors: NDArray[np.float32], labels: NDArray[np.int64], mu: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of the vectors of each cluster, shape (K, d); an empty one counts as one document at its mean direction."""
    resultants = np.zeros_like(mu)
    for k in range(len(mu)):
        own = vectors[labels == k]
        resultants[k] = own.sum(axis=0, dtype=np.float64) if len(own) else mu[k]
    return resultants


def agglomerate(resultants: NDArray[np.float64]) -> tuple[Merge, ...]:
    """Join the pair that costs least until one cluster is left; ties go to the lower numbers.

    ``resultants`` are sums of unit vectors, (K, d).

    Raises ValueError if a value is not finite; the message names the cluster.
    """
    finite = np.isfinite(resultants).all(axis=1)
    if not finite.all():
        raise ValueError(f"the resultant of cluster {int(np.argmin(finite))} holds a value that is not finite")
    k = len(resultants)
    gram = resultants @ resultants.T
    lengths = np.sqrt(np.diag(gram))
    whole = float(lengths.sum()) or 1.0
    loss = lengths[:, None] + lengths[None] - np.sqrt(np.maximum(lengths[:, None] ** 2 + lengths**2 + 2 * gram, 0))
    loss[np.tril_indices(k)] = np.inf
    node = list(range(k))
    alive = np.ones(k, np.bool_)
    merges: list[Merge] = []
    lost = 0.0
    for step in range(k - 1):
        i, j = divmod(int(np.argmin(loss)), k)
        lost += max(0.0, float(loss[i, j]))
        merges.append(Merge(left=node[i], right=node[j], lost=min(1.0, lost / whole)))
        node[i] = k + step
        alive[j] = False
        gram[i] += gram[j]
        gram[:, i] += gram[:, j]
        lengths[i] = np.sqrt(max(gram[i, i], 0.0))
        joined = np.sqrt(np.maximum(lengths[i] ** 2 + lengths**2 + 2 * gram[i], 0))
        row = np.where(alive, lengths[i] + lengths - joined, np.inf)
        loss[i, i + 1 :], loss[:i, i] = row[i + 1 :], row[:i]
        loss[j], loss[:, j] = np.inf, np.inf
    return tuple(merges)


def cut(merges: Sequence[Merge], n_groups: int) -> list[tuple[int, ...]]:
    """Groups of cluster numbers when all but the last ``n_groups - 1`` joins are made, by their lowest number.

    Raises ValueError if the tree has fewer leaves than groups are asked for.
    """
    k = len(merges) + 1
    if not 1 <= n_groups <= k:
        raise ValueError(f"{n_groups} groups of {k} clusters, expected 1 to {k}")
    members: dict[int, tuple[int, ...]] = {i: (i,) for i in range(k)}
    for step, merge in enumerate(merges[: k - n_groups]):
        members[k + step] = tuple(sorted(members.pop(merge.left) + members.pop(merge.right)))
    return sorted(members.values())


def default_parents(n_clusters: int) -> int:
    """About the square root of 2K, 7 at K = 24: half as many clusters in a parent as there are parents; 0 if K < 4."""
    return round(float(np.sqrt(2 * n_clusters))) if n_clusters >= 4 else 0


def continued_parents(
    groups: Sequence[tuple[int, ...]],
    shares: NDArray[np.float64],
    domains: Sequence[int],
    previous: Hierarchy | None,
) -> list[Parent | None]:
    """The earlier parent that each group continues, or None.

    Parameters
    ----------
    groups
        Clusters of each new parent.
    shares
        Share of the documents in each cluster, shape (K,).
    """
    if previous is None:
        return [None] * len(groups)
    # an empty cluster still decides between parents that are otherwise alike
    weight = {domain: float(share) + 1e-9 for domain, share in zip(domains, shares, strict=True)}
    found: list[Parent | None] = []
    for group in groups:
        own = {domains[c] for c in group}
        heir = None
        for parent in previous.parents:
            known = {d for d in parent.domains if d in weight}
            both = sum(weight[d] for d in own & known)
            if both > 0.5 * sum(weight[d] for d in own | known):
                heir = parent
        found.append(heir)
    return found
