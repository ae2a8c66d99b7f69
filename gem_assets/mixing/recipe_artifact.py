"""What all recipes of one inventory and taxonomy share, and how a recipe is written with its evidence.

Writes what every recipe writes (``publish``), ``evidence.json`` (tables by name, whatever the method has to show) and,
where predictions were held out, ``law.png``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gem_assets.mixing.caps import share_caps
from gem_assets.mixing.config import MixingConfig
from gem_assets.mixing.inventory import read_supply
from gem_assets.mixing.publish import write_recipe
from gem_assets.mixing.recipe import Recipe, RecipeEvidence
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.report.swarm_plots import law_fit
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.identity import finite
from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy

Floats = NDArray[np.float64]
Tables = Mapping[str, Sequence[Mapping[str, Any]]]

EVIDENCE_NAME = "evidence.json"
LAW_PICTURE = "law.png"


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
        return self.config.token_budget if self.config.token_budget is not None else self.supply.total_tokens

    @property
    def caps(self) -> Floats:
        """Largest share of each cluster, ``(K,)``."""
        return share_caps(self.supply.tokens, self.budget, self.config.repetition_cap)

    def recipe(
        self,
        strategy: str,
        shares: Floats,
        evidence: RecipeEvidence,
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


def draw_law(recipe: Recipe, held_out: Floats, observed: Floats, law: str, out: Path) -> None:
    """Draw held-out predictions ``(n,)`` against what was observed, under the correlation of the recipe's evidence."""
    correlation = recipe.evidence.cv_spearman if recipe.evidence is not None else None
    told = correlation if correlation is not None else float("nan")
    (out / LAW_PICTURE).write_bytes(law_fit(held_out, observed, law, told))


def describe_evidence(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read ``evidence.json`` back: tables by name, empty when there were none."""
    path = folder / EVIDENCE_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
