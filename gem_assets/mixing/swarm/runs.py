"""From trained proxies to the swarm table that laws are fitted to, and to what is known of its noise."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gem_assets.mixing.swarm.table import SwarmError, SwarmTable

if TYPE_CHECKING:  # the rows' module imports torch
    from gem_assets.mixing.supply import ClusterSupply
    from gem_assets.proxy.repetition import Repetition
    from gem_assets.proxy.swarm import SwarmRows


@dataclass(frozen=True)
class TrainedSwarm:
    """A swarm table with what a table of runs does not hold.

    Attributes
    ----------
    table
        One run per mixture, all of one seed; repeats with other seeds are left out.
    in_domain
        Targets that are held-out text of a cluster.
    other
        The other targets: what the user wants mixtures for.
    repetition
        The run whose repetition of each cluster the proxies matched; None where they matched none.
    """

    table: SwarmTable
    labels: tuple[str, ...]
    in_domain: tuple[str, ...]
    other: tuple[str, ...]
    repetition: "Repetition | None" = None

    @property
    def wanted(self) -> dict[str, float]:
        """Importance of the targets: the user's equally, or without any those of the clusters."""
        return dict.fromkeys(self.other or self.in_domain, 1.0)

    def other_budget(self, budget: int, supply: "ClusterSupply") -> str | None:
        """Say that the proxies speak for another run than one of ``budget`` tokens; None where they speak for it."""
        if self.repetition is None:
            return "its proxies were trained as if no cluster were repeated, so they speak for no budget"
        tokens = supply.tokens[np.argsort(supply.clusters)]
        if not self.repetition.differs(budget, tokens):
            return None
        return (
            f"its proxies repeat clusters as a run of {self.repetition.budget:,} tokens over "
            f"{sum(self.repetition.tokens):,} would, and this mixture is for {budget:,} over {supply.total_tokens:,}"
        )


def trained_swarm(rows: "SwarmRows", repetition: "Repetition | None" = None) -> TrainedSwarm:
    """Turn finished proxies into a swarm table; the seed that most of them share is the table's.

    Raises SwarmError when there is no finished proxy.
    """
    if len(rows) == 0:
        raise SwarmError("no proxy of this swarm has finished; materialize proxy_swarm first")
    seeds = rows.seeds
    base = Counter(seeds.tolist()).most_common(1)[0][0]
    chosen = np.flatnonzero(seeds == base)
    keys, labels = rows.table.column("key").to_pylist(), rows.labels
    # labels first, so that the order of runs is that of the design and not of the keys
    chosen = chosen[np.argsort([labels[i] for i in chosen], kind="stable")]
    counts = Counter(labels[i] for i in chosen)
    names = tuple(labels[i] if counts[labels[i]] == 1 else f"{labels[i]} {keys[i][:8]}" for i in chosen)
    in_domain = rows.in_domain
    table = SwarmTable(names, rows.domains, rows.targets, rows.mixtures[chosen], rows.losses[chosen])
    return TrainedSwarm(
        table=table,
        labels=tuple(labels[i] for i in chosen),
        in_domain=tuple(t for t, inside in zip(rows.targets, in_domain, strict=True) if inside),
        other=tuple(t for t, inside in zip(rows.targets, in_domain, strict=True) if not inside),
        repetition=repetition,
    )
