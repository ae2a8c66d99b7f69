"""What a recipe is made from, and the artifact that it becomes.

Writes ``recipe.json``, ``recipe.parquet`` and ``mixture.png``; with evidence ``evidence.json`` (tables by name,
whatever the method has to show), and where predictions were held out ``law.png``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from gem_assets.mixing.caps import budget_of, caps_of
from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.inventory import read_supply
from gem_assets.mixing.laws.proposal import divergence
from gem_assets.mixing.recipe import RECIPE_NAME, Recipe, RecipeEvidence
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.report.plots import mixture_bars
from gem_assets.report.swarm_plots import law_fit
from gem_assets.report.tables import effective_number
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.identity import finite
from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy
from gem_assets.types import Floats

Tables = Mapping[str, Sequence[Mapping[str, Any]]]

EVIDENCE_NAME = "evidence.json"
LAW_PICTURE = "law.png"


@dataclass(frozen=True)
class RecipeDescription:
    """A recipe as a page shows it: one row per cluster, and its figures."""

    recipe: Recipe
    rows: list[dict[str, Any]]
    figures: dict[str, float]


@dataclass(frozen=True)
class MixtureFrame:
    """What every recipe of one inventory and taxonomy shares."""

    supply: ClusterSupply
    names: Mapping[int, str]
    taxonomy_version: str
    tokenizer: str
    config: MixingConfig

    @classmethod
    def read(cls, inventory: Artifact, taxonomy: Artifact, config: MixingConfig) -> "MixtureFrame":
        """Read the frame from the artifacts of an inventory and of the taxonomy that its clusters are named by."""
        named = Taxonomy.read(taxonomy.path / TAXONOMY_NAME)
        return cls(
            supply=read_supply(inventory.path, len(named.clusters)),
            names=named.names,
            taxonomy_version=named.version,
            tokenizer=str(inventory.manifest.metrics["tokenizer"]),
            config=config,
        )

    @property
    def budget(self) -> int:
        """Tokens to train on."""
        return budget_of(self.supply, self.config)

    def for_budget(self, tokens: int | None) -> "MixtureFrame":
        """Return the frame of another token budget, which caps shares otherwise; None leaves it as it is."""
        if tokens is None:
            return self
        return replace(self, config=self.config.model_copy(update={"token_budget": tokens}))

    @property
    def caps(self) -> Floats:
        """Largest share of each cluster, ``(K,)``."""
        return caps_of(self.supply, self.config)

    def recipe(
        self,
        strategy: str,
        shares: Floats,
        evidence: RecipeEvidence | None = None,
        phases: Sequence[tuple[float, Sequence[float]]] | None = None,
    ) -> Recipe:
        """Freeze shares ``(K,)`` with their evidence; ``phases`` are parts of the tokens and their shares."""
        return Recipe.create(
            strategy,
            shares,
            self.supply,
            names=self.names,
            taxonomy_version=self.taxonomy_version,
            tokenizer=self.tokenizer,
            repetition_cap=self.config.repetition_cap,
            token_budget=self.budget,
            phases=phases,
            evidence=evidence,
            seed=self.config.seed,
        )

    def write(self, recipe: Recipe, out: Path, tables: Tables) -> None:
        """Write a recipe into a folder, with the tables of its evidence."""
        write_recipe(recipe, self.supply, out)
        told = {name: finite(rows) for name, rows in tables.items()}
        (out / EVIDENCE_NAME).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")


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
    return RecipeDescription(
        recipe=recipe,
        rows=rows,
        figures={
            "kl_to_proportional": divergence(shares, prior),
            "effective_clusters": effective_number(shares),
            "most_epochs": max(e.implied_epochs for e in recipe.entries),
        },
    )


def draw_law(recipe: Recipe, held_out: Floats, observed: Floats, law: str, out: Path) -> None:
    """Draw held-out predictions ``(n,)`` against what was observed, under the correlation of the recipe's evidence."""
    correlation = recipe.evidence.cv_spearman if recipe.evidence is not None else None
    told = correlation if correlation is not None else float("nan")
    (out / LAW_PICTURE).write_bytes(law_fit(held_out, observed, law, told))


def describe_evidence(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read ``evidence.json`` back: tables by name, empty when there were none."""
    path = folder / EVIDENCE_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
