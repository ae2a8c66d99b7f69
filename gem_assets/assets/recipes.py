"""The nodes of the recipes: one for each family of the registry, with a partition for each of its methods."""

from typing import TYPE_CHECKING

import dagster as dg

from gem_assets.assets.common import (
    GROUP_MIXTURES,
    audit_links,
    every_partition,
    picture,
    policy_tags,
    recipe_of,
    table,
)
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.assets.partitions import of_strategies
from gem_assets.assets.proxies import check_same_labels
from gem_assets.mixing.methods.base import (
    COUNTS,
    INVENTORY,
    SWARM,
    TAXONOMY,
    TOKENS,
    Method,
    MethodWork,
    MissingSettingError,
)
from gem_assets.mixing.methods.registry import methods
from gem_assets.orchestration.places import FAMILIES
from gem_assets.orchestration.purpose import expensive
from gem_assets.orchestration.stage import Making, Stage
from gem_assets.proxy.counted import counts_of
from gem_assets.stages import RECIPES, result_of
from gem_assets.storage.artifacts import Draft

if TYPE_CHECKING:  # the library's mixture modules are loaded where an asset runs
    from gem_assets.mixing.recipe import Recipe


WHAT = {
    "recipe_rules": "Mixtures by a rule on the counts of the clusters. Nothing is trained.",
    "recipe_counts": "Mixtures from n-gram counts of the clusters. Nothing is trained; confirm them before use.",
    "recipe_learned": "Expensive where proxies are trained ({trained}), and those are only made when asked for: laws "
    "that are fitted on the swarm, and searches that continue from it.",
    "recipe_lab": "Expensive, and only made when asked for: methods that train models of their own ({trained}), or are "
    "meant for more than a fresh model on two cores.",
}


def build_recipes(node: str) -> dg.AssetsDefinition:
    """Build the node of one family of methods, with a partition for each."""
    family = [methods()[strategy] for strategy in FAMILIES[node]]
    trained = [method.name for method in family if method.trains]
    needs = {name: None for method in family for name in method.needs}
    made_from = {method.name: method.recipes for method in family if method.recipes}
    own = {method.name: method.policy for method in family if method.policy != family[0].policy}
    what = WHAT.get(node, "Mixtures of one family of methods.").format(trained=", ".join(trained))

    @stage_asset(
        name=node,
        partitions=of_strategies(FAMILIES[node]),
        reads=[
            *recipe_of(made_from),
            *(dg.AssetKey(name) for name in (*needs, INVENTORY, TAXONOMY)),
            *([every_partition(COUNTS)] if any(method.counts for method in family) else []),
        ],
        group=GROUP_MIXTURES,
        kinds={"json", "pytorch"} if trained else {"json", "parquet"},
        tags=policy_tags(family[0].policy, own),
        code_version="+".join(sorted({method.code_version for method in family})),
        pool=SWARM if trained else None,
        description="\n".join([what, "", *(f"- **{method.name}**: {method.summary}" for method in family)]),
        costly=expensive(of=trained.__contains__),
    )
    def recipe(work: Work) -> Making:
        return (yield from _make(methods()[work.partition], work))

    return recipe


def _make(method: Method, work: Work) -> Making:
    from gem_assets.storage.store import MissingInputError

    loaded, store = work.settings, work.store
    bases = {strategy: store.input(result_of(RECIPES, strategy)) for strategy in method.recipes}
    pinned = {name: store.input(name) for name in (*method.needs, INVENTORY, TAXONOMY)}
    if TOKENS in pinned:
        check_same_labels(store, pinned[TOKENS], pinned[INVENTORY])
    counted = counts_of(store, pinned[TOKENS]) if method.counts else []
    try:
        config = method.config(loaded)
    except MissingSettingError as error:
        # a plan lists what is missing, and continues
        raise MissingInputError(str(error)) from error
    stage = Stage(
        store,
        result_of(RECIPES, method.name),
        config=config,
        code_version=method.code_version,
        inputs=[*bases.values(), *pinned.values(), *counted],
        libraries=method.libraries,
        seed=method.seed(loaded),
    )
    yield stage
    if stage.done is None:
        from gem_assets.mixing.recipe_artifact import MixtureFrame

        inputs = {name: store.artifact(ref) for name, ref in pinned.items()}
        frame = MixtureFrame.read(inputs[INVENTORY], inputs[TAXONOMY], loaded.mixing)
        with stage.write() as draft:
            made = MethodWork(
                settings=loaded,
                frame=frame,
                out=draft.path,
                inputs=inputs,
                recipes={strategy: store.artifact(ref) for strategy, ref in bases.items()},
                counted=[store.artifact(ref).path for ref in counted],
                cache=store.cache,
                map_shards=work.engine.shard_map(RECIPES),
                report=stage.progress(work.context),
            )
            _note(draft, method.make(made))
    return _result(stage)


def _note(draft: Draft, recipe: "Recipe") -> None:
    draft.counts = {"token_budget": recipe.token_budget, "clusters": len(recipe.entries)}
    draft.metrics = {"recipe_identity": recipe.identity, "tokenizer": recipe.tokenizer}
    if recipe.evidence is not None:
        draft.metrics |= {"verdict": recipe.evidence.verdict}


def _result(stage: Stage) -> dg.MaterializeResult:
    """Report a recipe with its evidence and pictures."""
    from gem_assets.mixing.recipe_artifact import LAW_PICTURE, describe_evidence, describe_recipe

    folder, manifest = stage.artifact.path, stage.artifact.manifest
    found = describe_recipe(folder)
    evidence = found.recipe.evidence
    told = evidence.model_dump(mode="json", exclude_none=True) if evidence is not None else {}
    shown = {"evidence": table([{"what": name, "value": value} for name, value in told.items()])} if told else {}
    drawn = {"law": picture(folder, LAW_PICTURE, "Held-out predictions")} if (folder / LAW_PICTURE).is_file() else {}
    return stage.result(
        {
            **manifest.counts,
            **manifest.metrics,
            **found.figures,
            **audit_links(found.recipe.strategy),
            **shown,
            **{name: table(rows) for name, rows in describe_evidence(folder).items()},
            "mixture": table(found.rows),
            "bars": picture(folder, "mixture.png", "Token shares beside the proportional mixture"),
            **drawn,
        }
    )


recipe_nodes = [build_recipes(node) for node in FAMILIES]
