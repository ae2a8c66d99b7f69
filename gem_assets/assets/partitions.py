"""The partitions of the graph: a landed crawl snapshot, or the strategy of a mixture."""

from collections.abc import Sequence

import dagster as dg

snapshots = dg.DynamicPartitionsDefinition(name="snapshot")


def of_strategies(names: Sequence[str]) -> dg.StaticPartitionsDefinition:
    """One partition for each strategy."""
    return dg.StaticPartitionsDefinition(list(names))
