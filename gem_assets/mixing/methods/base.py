"""What a mixture method declares of itself, and what it is handed when it makes a recipe.

A module of this package defines ``METHOD`` (or ``METHODS``, where one file makes several). Assets, command line,
documentation and tests derive from these declarations; see :mod:`~gem_assets.mixing.methods.registry`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from gem_assets.mixing.config import LEARNED_CODE_VERSION
from gem_assets.proxy.config import CODE_VERSION as PROXY_CODE_VERSION
from gem_assets.proxy.config import ProxyConfig
from gem_assets.stages import (
    CLUSTER_COUNTS,
    DOMAIN_INVENTORY,
    GIS_TAXONOMY,
    PROXY_SWARM,
    PROXY_TOKENS,
    TEACHER_CLUSTERS,
)

if TYPE_CHECKING:  # what a recipe is made with is loaded when one is made
    from gem_assets.mixing.recipe import Recipe
    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.parallel.shard_map import ShardMap
    from gem_assets.proxy.counts import DomainCounts
    from gem_assets.proxy.swarm import SwarmSpec
    from gem_assets.settings import Settings
    from gem_assets.storage.artifacts import Artifact

Family = Literal["rules", "counts", "learned", "lab"]
#: ``rules`` need the inventory alone, ``counts`` n-gram counts, ``learned`` methods continue from the swarm, and those
#: of the ``lab`` train proxies in their own way or are not meant for a fresh model.
FAMILIES: tuple[Family, ...] = ("rules", "counts", "learned", "lab")

INVENTORY, TAXONOMY, TOKENS, COUNTS = DOMAIN_INVENTORY, GIS_TAXONOMY, PROXY_TOKENS, CLUSTER_COUNTS
SWARM, TEACHER = PROXY_SWARM, TEACHER_CLUSTERS
#: Code version of recipes that train proxies of their own.
TRAINED_CODE_VERSION = f"{LEARNED_CODE_VERSION}.{PROXY_CODE_VERSION}"


class MissingSettingError(ValueError):
    """A setting that a method cannot do without, or that names a file that is not there; a plan lists it as missing."""


@dataclass(frozen=True)
class MethodWork:
    """What a method is handed to make a recipe from.

    Attributes
    ----------
    frame
        Inventory, taxonomy and caps.
    counted
        Folders of the pinned counts, one per snapshot.
    cache
        From a name to a local folder that outlives artifacts.
    """

    settings: "Settings"
    frame: "MixtureFrame"
    out: Path
    inputs: Mapping[str, "Artifact"]
    recipes: Mapping[str, "Artifact"]
    counted: Sequence[Path]
    cache: Callable[[str], Path]
    map_shards: "ShardMap"
    report: Callable[..., None]

    def folder(self, asset: str) -> Path:
        """Folder of a pinned input."""
        return self.inputs[asset].path

    def recipe(self, strategy: str) -> "Recipe":
        """Read a pinned recipe."""
        from gem_assets.mixing.recipe import RECIPE_NAME, Recipe

        return Recipe.read(self.recipes[strategy].path / RECIPE_NAME)

    def counts(self) -> "DomainCounts":
        """Add up the counts of the pinned snapshots."""
        from gem_assets.mixing.swarm.growth import merge_counts

        return merge_counts(list(self.counted))

    def swarm_spec(self, config: ProxyConfig) -> "SwarmSpec":
        """Describe proxies of the pinned tokens and clusters, which stand for the same run as those of the swarm."""
        from gem_assets.mixing.swarm.growth import read_trained, swarm_spec

        data = self.inputs[TOKENS]
        clusters = int(data.manifest.counts["clusters"])
        repetition = read_trained(self.folder(SWARM)).repetition
        return swarm_spec(config, data.path, self.inputs[TEACHER].identity, clusters, repetition)

    def trainer(self, spec: "SwarmSpec") -> Callable[[Any, str], Any]:
        """Return the function from mixtures ``(m, K)`` and a label to losses ``(m, J)``, rows kept with the swarm's."""
        from gem_assets.mixing.swarm.growth import evaluate_round

        def train(mixtures: Any, label: str) -> Any:
            return evaluate_round(
                mixtures, label, spec, self.cache(SWARM), map_shards=self.map_shards,
                progress=lambda done, total, left: self.proxies(done, total, left, f"{label}: "),
            )  # fmt: skip

        return train

    def proxies(self, done: int, total: int, left: float | None, label: str = "") -> None:
        """Report how many proxies are trained."""
        self.report(f"{label}{done} of {total} proxies" + ("" if left is None else f", about {left:.0f} s left"))

    def steps(self, done: int, total: int) -> None:
        """Report steps of a training run."""
        self.report(f"step {done} of {total}")


def mixing_settings(settings: "Settings") -> BaseModel:
    """Settings of a recipe that depends on no section but ``mixing``."""
    return settings.mixing


def proxy_settings(settings: "Settings") -> dict[str, Any]:
    """Settings of a recipe that trains proxies, as they name its result."""
    return {"mixing": settings.mixing, "proxy": settings.proxy.of_the_swarm()}


def proxy_seed(settings: "Settings") -> int:
    """Seed of the proxies."""
    return settings.proxy.seed


def _mixing_seed(settings: "Settings") -> int | None:
    return settings.mixing.seed


@dataclass(frozen=True)
class Method:
    """A mixture method: one strategy of the graph.

    Attributes
    ----------
    name, family
        Name of the strategy, and which kind of method it is.
    summary
        What the UI, the command line and the documentation say of it.
    make
        Writes the recipe into ``work.out`` and returns it; imports what it needs when it runs.
    cost, use
        What it costs, and when to use it; both for the documentation.
    source
        Publication that it is from; empty for a method of this project.
    needs
        Assets that are pinned beside inventory and taxonomy.
    recipes
        Strategies whose recipes are pinned, too.
    counts
        Whether the counts of every snapshot are pinned, too.
    trains
        Whether proxies are trained: such recipes wait for each other.
    unconfirmed
        Why no confirmation run can put it to the test; empty when one can.
    libraries, seed, code_version
        What else names the result: distributions whose version can change it, the seed, and the version of the code.
    """

    name: str
    family: Family
    summary: str
    make: Callable[[MethodWork], "Recipe"]
    config: Callable[["Settings"], BaseModel | Mapping[str, Any]]
    cost: str
    use: str
    source: str = ""
    needs: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    counts: bool = False
    trains: bool = False
    unconfirmed: str = ""
    libraries: tuple[str, ...] = ()
    seed: Callable[["Settings"], int | None] = _mixing_seed
    code_version: str = LEARNED_CODE_VERSION
    policy: str = "by_hand"
    module: str = ""

    @property
    def confirmable(self) -> bool:
        """Whether a confirmation run can put its recipe to the test."""
        return not self.unconfirmed
