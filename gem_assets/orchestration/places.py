"""How Dagster shows what the store keeps: a strategy is a partition there, and part of a name here.

The store keeps ``recipes/balanced`` and ``training_order/balanced``, and everything that speaks of results does so by
these names. Dagster shows one node for each family of recipes and one for all orders, with a partition for each
strategy. This is the only module that knows both.
"""

from collections.abc import Mapping

import dagster as dg

from gem_assets.mixing.methods.base import FAMILIES as REGISTERED
from gem_assets.mixing.methods.registry import strategies
from gem_assets.orchestration.reconcile import Place
from gem_assets.stages import AUDITS, CONFIRMATIONS, ORDERS, RECIPES, result_of

BY_STRATEGY = frozenset({ORDERS, AUDITS, CONFIRMATIONS})
"""Nodes with a partition for each strategy that carry the name of their folder in the store."""
FAMILIES: Mapping[str, tuple[str, ...]] = {f"recipe_{family}": strategies(family) for family in REGISTERED}
"""Strategies by the node of their recipes."""
NODE_OF = {strategy: node for node, names in FAMILIES.items() for strategy in names}


def shown(place: Place) -> tuple[dg.AssetKey, str | None]:
    """Return the node and the partition under which Dagster shows a place of the store."""
    asset, partition = place
    folder, _, strategy = asset.partition("/")
    if folder == RECIPES and strategy in NODE_OF:
        return dg.AssetKey(NODE_OF[strategy]), strategy
    if folder in BY_STRATEGY and strategy:
        return dg.AssetKey(folder), strategy
    return dg.AssetKey(asset.split("/")), partition


def place_of(key: dg.AssetKey, partition: str | None) -> Place:
    """Return the place in the store of a partition of a node."""
    name = key.to_user_string()
    if partition is not None and name in FAMILIES:
        return result_of(RECIPES, partition), None
    if partition is not None and name in BY_STRATEGY:
        return result_of(name, partition), None
    return name, partition
