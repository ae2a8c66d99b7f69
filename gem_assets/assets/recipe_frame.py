"""The frame of every learned ``recipes/<strategy>``: what is pinned, what names the result, and what its page shows.

A recipe is described by a :class:`RecipeKind`; what makes it is a function of :class:`RecipeWork`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import BaseModel

from gem_assets.assets.common import GROUP_MIXTURES, OWNERS, audit_links, every_snapshot, picture, refresh, table
from gem_assets.assets.proxies import NOT_OF_THE_SWARM, SWARM_FOLDER, check_same_labels, counts_of
from gem_assets.mixing.config import LEARNED_CODE_VERSION, MixingConfig
from gem_assets.parallel.shard_map import ShardMap
from gem_assets.proxy.config import CODE_VERSION as PROXY_CODE_VERSION
from gem_assets.settings import Settings
from gem_assets.storage.artifacts import Draft
from gem_assets.storage.manifest import InputRef
from resources import EngineResource, SettingsResource, Stage, StoreResource

if TYPE_CHECKING:  # the library's mixture modules are loaded where an asset runs
    from gem_assets.mixing.recipe import Recipe
    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.proxy.config import ProxyConfig
    from gem_assets.proxy.counts import DomainCounts
    from gem_assets.proxy.swarm import SwarmSpec

INVENTORY, TAXONOMY, TOKENS, COUNTS = "domain_inventory", "gis_taxonomy", "proxy_tokens", "cluster_counts"
SWARM, TEACHER = "proxy_swarm", "teacher_clusters"
#: Code version of recipes that train proxies of their own.
TRAINED_CODE_VERSION = f"{LEARNED_CODE_VERSION}.{PROXY_CODE_VERSION}"


@dataclass(frozen=True)
class RecipeWork:
    """What the maker of a recipe is handed.

    Attributes
    ----------
    settings
        Of the data root.
    frame
        Inventory, taxonomy and caps.
    out
        Where the recipe is written.
    report
        Logs a line of progress.
    map_shards
        Where proxies are trained.
    """

    settings: Settings
    frame: "MixtureFrame"
    out: Path
    report: Callable[..., None]
    map_shards: ShardMap
    store: StoreResource
    stage: Stage

    def ref(self, asset: str) -> InputRef:
        """Return the pinned input of an asset without snapshots."""
        return next(ref for ref in self.stage.inputs if ref.asset == asset and ref.partition is None)

    def folder(self, asset: str) -> Path:
        """Folder of a pinned input."""
        return self.store.artifact(self.ref(asset)).path

    def counts(self) -> "DomainCounts":
        """Add up the counts of the pinned snapshots."""
        from gem_assets.mixing.swarm.growth import merge_counts

        return merge_counts([self.store.artifact(ref).path for ref in self.stage.inputs if ref.asset == COUNTS])

    def swarm_spec(self, config: "ProxyConfig") -> "SwarmSpec":
        """Describe proxies of the pinned tokens and clusters."""
        from gem_assets.mixing.swarm.growth import swarm_spec

        data = self.store.artifact(self.ref(TOKENS))
        clusters = int(data.manifest.counts["clusters"])
        return swarm_spec(config, data.path, str(self.ref(TEACHER).identity), clusters)

    def trainer(self, spec: "SwarmSpec") -> Callable[..., Any]:
        """Return the function from mixtures ``(m, K)`` and a label to losses ``(m, J)``, rows kept with the swarm's."""
        from gem_assets.mixing.swarm.growth import evaluate_round

        def train(mixtures: Any, label: str) -> Any:
            return evaluate_round(
                mixtures, label, spec, self.store.cache(SWARM_FOLDER), map_shards=self.map_shards,
                progress=lambda done, total, left: self.report(
                    f"{label}: {done} of {total} proxies" + ("" if left is None else f", about {left:.0f} s left")
                ),
            )  # fmt: skip

        return train

    def steps(self, done: int, total: int) -> None:
        """Report steps of a training run."""
        self.report(f"step {done} of {total}")


@dataclass(frozen=True)
class RecipeKind:
    """What sets the asset of one recipe apart.

    Attributes
    ----------
    strategy, description
        Name and what the UI says.
    make
        Writes the recipe and returns it; imports what it needs when it runs.
    config
        Settings that count.
    needs
        Assets that are pinned beside inventory and taxonomy.
    counts
        Whether the counts of every snapshot are, too.
    trains
        Whether proxies are trained: such recipes wait for each other.
    libraries, seed, code_version
        See :class:`~resources.Stage`; the code version is that of all learned recipes when None.
    policy
        When it is made again by itself.
    """

    strategy: str
    description: str
    make: Callable[[RecipeWork], "Recipe"]
    config: Callable[[Settings], BaseModel | Mapping[str, Any]]
    needs: tuple[str, ...] = ()
    counts: bool = False
    trains: bool = False
    kinds: frozenset[str] = frozenset({"json", "scipy"})
    libraries: tuple[str, ...] = ()
    seed: Callable[[Settings], int | None] = lambda settings: settings.mixing.seed
    policy: str = "by_hand"
    code_version: str | None = None


def build_recipe_asset(kind: RecipeKind) -> dg.AssetsDefinition:
    """Build ``recipes/<strategy>``."""
    code_version = kind.code_version or (TRAINED_CODE_VERSION if kind.trains else LEARNED_CODE_VERSION)

    @dg.asset(
        key=["recipes", kind.strategy],
        deps=[
            *(dg.AssetDep(dg.AssetKey(name.split("/"))) for name in (*kind.needs, INVENTORY, TAXONOMY)),
            *([every_snapshot(COUNTS)] if kind.counts else []),
        ],
        group_name=GROUP_MIXTURES,
        kinds=set(kind.kinds),
        owners=OWNERS,
        tags=refresh(kind.policy),
        code_version=code_version,
        pool=SWARM if kind.trains else None,
        description=kind.description,
    )
    def recipe(
        context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        loaded = settings.load()
        pinned = {name: store.input(name) for name in (*kind.needs, INVENTORY, TAXONOMY)}
        if TOKENS in pinned:
            check_same_labels(store, pinned[TOKENS], pinned[INVENTORY])
        counted = counts_of(store, pinned[TOKENS]) if kind.counts else []
        stage = Stage(
            store,
            f"recipes/{kind.strategy}",
            config=kind.config(loaded),
            code_version=code_version,
            inputs=[*pinned.values(), *counted],
            libraries=kind.libraries,
            seed=kind.seed(loaded),
        )
        if stage.done is None:
            frame = mixture_frame(store, stage, loaded.mixing)
            with stage.write() as draft:
                work = RecipeWork(
                    loaded, frame, draft.path, stage.progress(context), engine.shard_map, store, stage
                )  # fmt: skip
                note_recipe(draft, kind.make(work))
        return recipe_result(stage)

    return recipe


def proxy_settings(settings: Settings) -> dict[str, Any]:
    """Settings of a recipe that trains proxies, as they name its result."""
    return {
        "mixing": settings.mixing,
        "proxy": settings.proxy.model_dump(mode="json", exclude=NOT_OF_THE_SWARM),
    }


def mixture_frame(store: StoreResource, stage: Stage, config: MixingConfig) -> "MixtureFrame":
    """Read what recipes share from a stage's pinned inputs."""
    from gem_assets.mixing.inventory import read_supply
    from gem_assets.mixing.recipe_artifact import MixtureFrame
    from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy

    by_name = {ref.asset: ref for ref in stage.inputs if ref.partition is None}
    inventory = store.artifact(by_name[INVENTORY])
    taxonomy = Taxonomy.read(store.artifact(by_name[TAXONOMY]).path / TAXONOMY_NAME)
    return MixtureFrame(
        supply=read_supply(inventory.path, len(taxonomy.clusters)),
        names=taxonomy.names,
        taxonomy_version=taxonomy.version,
        tokenizer=str(inventory.manifest.metrics["tokenizer"]),
        config=config,
    )


def note_recipe(draft: Draft, recipe: "Recipe") -> None:
    """Put a recipe's figures into its draft."""
    draft.counts = {"token_budget": recipe.token_budget, "clusters": len(recipe.entries)}
    draft.metrics = {"recipe_identity": recipe.identity, "tokenizer": recipe.tokenizer}
    if recipe.evidence is not None:
        draft.metrics |= {"verdict": recipe.evidence.verdict}


def recipe_result(stage: Stage) -> dg.MaterializeResult:
    """Report a recipe with its evidence and pictures."""
    from gem_assets.mixing.publish import describe_recipe
    from gem_assets.mixing.recipe_artifact import LAW_PICTURE, describe_evidence

    folder, manifest = stage.artifact.path, stage.artifact.manifest
    found = describe_recipe(folder)
    evidence = found.recipe.evidence
    told = evidence.model_dump(mode="json", exclude_none=True) if evidence is not None else {}
    tables = describe_evidence(folder)
    pictures = {"law": picture(folder, LAW_PICTURE, "Held-out predictions")} if (folder / LAW_PICTURE).is_file() else {}
    return stage.result(
        {
            **manifest.counts,
            **manifest.metrics,
            **found.figures,
            **audit_links(found.recipe.strategy),
            "evidence": table([{"what": name, "value": value} for name, value in told.items()]),
            **{name: table(rows) for name, rows in tables.items()},
            "mixture": table(found.rows),
            "bars": picture(folder, "mixture.png", "Token shares beside the proportional mixture"),
            **pictures,
        }
    )
