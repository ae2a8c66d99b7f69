"""Recipes and swarm tables of the taxonomy before a refit, in terms of the clusters after it, and marked as carried.

Documents say where a cluster's mass went; token shares go with them (Crosswalk.carry_shares). What was measured on the
old clusters stays what it was: a carried recipe keeps its evidence and names the recipe that it comes from, a carried
swarm keeps its losses, each run under the name ``carried:<run>``. Both are approximations: documents that went to
another cluster change what a share of it means, and the losses were not measured on the new clusters. ``kept``, the
share of documents whose cluster continues, says how good they are.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.caps import apply_caps, share_caps
from gem_assets.mixing.inventory import read_supply
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.mixing.swarm.table import SwarmTable
from gem_assets.teacher.crosswalk import Crosswalk

CARRIED = "carried:"
SWARM_FILE = "swarm.parquet"
_TINY = 1e-12


def carry_recipe(
    recipe: Recipe, walk: Crosswalk, supply: ClusterSupply, *, names: Mapping[int, str], taxonomy_version: str
) -> Recipe:
    """Say a recipe of the old clusters in the new ones.

    Shares that the text of a new cluster cannot bear within the recipe's repetition cap are cut, and the others scaled.

    The entries of ``recipe`` stand in the order of the old clusters' indices.

    Raises ValueError when the recipe is not over the crosswalk's old clusters, or the caps leave no mixture.
    """
    k_old = walk.mass.shape[0]
    if [e.cluster for e in recipe.entries] != list(range(k_old)):
        raise ValueError(f"recipe {recipe.strategy} has {len(recipe.entries)} clusters, the crosswalk has {k_old} old")
    cap = recipe.entries[0].cap
    caps = share_caps(supply.tokens, recipe.token_budget, cap)

    def carried(shares: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = walk.carry_shares(shares)
        moved[(moved < _TINY) | (supply.tokens == 0)] = 0.0
        moved /= moved.sum()
        return apply_caps(moved, caps) if np.any(moved > caps) else moved

    phases = [(phase.fraction, carried(np.asarray(phase.shares))) for phase in recipe.phases]
    average = np.sum([fraction * shares for fraction, shares in phases], axis=0)
    before = recipe.evidence or RecipeEvidence(method=recipe.strategy)
    note = f"carried from taxonomy {recipe.taxonomy_version[:12]}: {walk.kept:.1%} of the documents kept their cluster"
    return Recipe.create(
        recipe.strategy,
        average / average.sum(),
        supply,
        names=names,
        taxonomy_version=taxonomy_version,
        tokenizer=recipe.tokenizer,
        repetition_cap=cap,
        token_budget=recipe.token_budget,
        phases=[(fraction, [float(s) for s in shares]) for fraction, shares in phases],
        evidence=before.model_copy(update={"carried_from": recipe.identity, "notes": (*before.notes, note)}),
        seed=recipe.seed,
    )


def carry_swarm(table: SwarmTable, walk: Crosswalk, domains: Iterable[str]) -> SwarmTable:
    """Say the mixtures of a swarm in the new clusters; losses stay, runs are named ``carried:<run>``.

    Targets that are named after an old cluster keep that name: they were measured on its held-out text.

    Raises ValueError when the table's domains are not the crosswalk's old clusters, or names are not one for each new
    one.
    """
    k_old, k_new = walk.mass.shape
    now = tuple(domains)
    if len(table.domains) != k_old or len(now) != k_new:
        raise ValueError(
            f"a swarm over {len(table.domains)} domains and {len(now)} names do not fit a crosswalk of {k_old} to "
            f"{k_new}; carry it through the crosswalk of the teacher that it was trained on"
        )
    return SwarmTable(
        runs=tuple(run if run.startswith(CARRIED) else CARRIED + run for run in table.runs),
        domains=now,
        targets=table.targets,
        mixtures=table.mixtures @ walk.forward(),
        losses=table.losses,
    )


def publish_carried(
    recipes: Mapping[str, Path],
    swarm: Path | None,
    walk: Crosswalk,
    inventory: Path,
    names: Mapping[int, str],
    taxonomy_version: str,
    out: Path,
) -> dict[str, int]:
    """Carry what there is and write ``<strategy>.json`` and ``swarm.parquet`` into ``out``.

    ``swarm`` is the ``swarm.parquet`` on the clusters before, where there is one.
    """
    supply = read_supply(inventory, len(names))
    for strategy, path in sorted(recipes.items()):
        recipe = carry_recipe(Recipe.read(path), walk, supply, names=names, taxonomy_version=taxonomy_version)
        recipe.write(out / f"{strategy}.json")
    runs = 0
    if swarm is not None:
        table = carry_swarm(SwarmTable.read(swarm), walk, map(str, range(len(names))))
        table.write(out / SWARM_FILE)
        runs = len(table.runs)
    return {"recipes": len(recipes), "swarm_runs": runs}
