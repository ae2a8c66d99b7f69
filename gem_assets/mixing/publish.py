"""A recipe as an artifact: the checked JSON, its table, and a picture beside the proportional mixture.

Writes ``recipe.json``, ``recipe.parquet`` and ``mixture.png``. Cost: microseconds for the strategies that need no
proxies.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.inventory import read_supply
from gem_assets.mixing.methods.rules import make_recipe
from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.report.plots import mixture_bars
from gem_assets.taxonomy.taxonomy import Taxonomy

__all__ = ["RECIPE_NAME", "RecipeDescription", "describe_recipe", "publish_recipe"]


@dataclass(frozen=True)
class RecipeDescription:
    """A recipe as a page shows it: one row a cluster, and its figures."""

    recipe: Recipe
    rows: list[dict[str, Any]]
    figures: dict[str, float]


def publish_recipe(
    strategy: str, inventory: Path, taxonomy: Taxonomy, config: MixingConfig, tokenizer: str, out: Path
) -> Recipe:
    """Make the recipe of one strategy from an inventory artifact and write it into ``out``.

    Raises
    ------
    ValueError
        When the inventory is empty, or the budget cannot be met within the repetition caps.
    """
    supply = read_supply(inventory, len(taxonomy.clusters))
    recipe = make_recipe(strategy, supply, taxonomy.names, taxonomy.version, config, tokenizer)
    write_recipe(recipe, supply, out)
    return recipe


def write_recipe(recipe: Recipe, supply: ClusterSupply, out: Path) -> None:
    """Write a recipe, its table and its picture into ``out``."""
    recipe.write(out / RECIPE_NAME)
    pq.write_table(recipe.to_table(), out / "recipe.parquet", compression="zstd")
    mixtures = {"proportional": supply.token_shares}
    if recipe.strategy != "proportional":
        mixtures[recipe.strategy] = recipe.shares
    (out / "mixture.png").write_bytes(mixture_bars(mixtures, [e.name for e in recipe.entries]))


def describe_recipe(folder: Path) -> RecipeDescription:
    """Read a recipe artifact back, largest share first.

    The figures are the divergence from the proportional mixture (KL, nats), the effective number of clusters and the
    most epochs that any cluster is repeated.
    """
    recipe = Recipe.read(folder / RECIPE_NAME)
    rows = sorted(recipe.to_table().to_pylist(), key=lambda row: (-row["token_share"], row["cluster"]))
    shares = recipe.shares
    prior = np.array([e.tokens_available for e in recipe.entries], np.float64)
    prior /= prior.sum()
    used = shares > 0
    return RecipeDescription(
        recipe=recipe,
        rows=rows,
        figures={
            "kl_to_proportional": float((shares[used] * np.log(shares[used] / prior[used])).sum()),
            "effective_clusters": float(np.exp(-(shares[used] * np.log(shares[used])).sum())),
            "most_epochs": max(e.implied_epochs for e in recipe.entries),
        },
    )
