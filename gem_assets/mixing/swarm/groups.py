"""Groups of clusters, for a swarm that draws shares of groups first and shares within each group after.

Both groupings come from the taxonomy: ``source`` is the most frequent source among the documents of a cluster that the
taxonomy looked at (a collection, or the host of crawled pages), ``parent`` the group under which the cluster is listed.
"""

import numpy as np
from numpy.typing import NDArray

from gem_assets.proxy.config import Grouping
from gem_assets.taxonomy.taxonomy import Taxonomy


class GroupError(ValueError):
    """Clusters that make no groups; the message says what to set instead."""


def cluster_groups(taxonomy: Taxonomy, by: Grouping) -> NDArray[np.int64]:
    """Number of the group of each cluster, ``(K,)``: groups are numbered from 0 as they first occur.

    Raises GroupError when there is a single group, or the taxonomy has no parents.
    """
    if by == "parent":
        if taxonomy.hierarchy is None:
            raise GroupError(
                "the taxonomy has no parents; set taxonomy.parents, or draw with proxy.groups = 'source' or another "
                "proxy.sampler"
            )
        above = taxonomy.hierarchy.parent_of()
        names = [str(above[cluster.id].id) for cluster in taxonomy.clusters]
    else:
        names = [cluster.sources[0].value if cluster.sources else "unknown" for cluster in taxonomy.clusters]
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    if len(order) < 2:
        other = "source" if by == "parent" else "parent"
        raise GroupError(
            f"all clusters have the {by} {names[0]!r}, and proxy.sampler = 'hierarchical' needs groups; set "
            f"proxy.groups = '{other}' or another proxy.sampler"
        )
    return np.array([order[name] for name in names], np.int64)
