"""``recipes/<strategy>`` that are learned, and ``recipe_confirmation/<strategy>``: do they hold at the next size."""

from typing import TYPE_CHECKING

import dagster as dg

from gem_assets.assets.common import GROUP_MIXTURES, OWNERS, audit_links, every_snapshot, picture, refresh, table
from gem_assets.assets.proxies import NOT_OF_THE_SWARM, SWARM_FOLDER, check_same_labels, counts_of
from gem_assets.lineage.artifacts import Draft
from gem_assets.mixing.config import COUNTED_CODE_VERSIONS, LEARNED_CODE_VERSION, MixingConfig
from gem_assets.proxy.config import CODE_VERSION as PROXY_CODE_VERSION
from resources import EngineResource, SettingsResource, Stage, StoreResource

if TYPE_CHECKING:  # the library's mixture modules are loaded where an asset runs
    from gem_assets.mixing.learned import MixtureFrame
    from gem_assets.mixing.recipe import Recipe

COUNTED = {
    "lexical": "Stage 0, a lexical proxy: the mixture at which an n-gram model of the clusters' counts loses least on "
    "the targets, under a divergence from the natural shares and caps. No proxy is trained. Confirm it before use.",
    "entropy": "BiMix's entropy rule, a lexical proxy: shares in proportion to the exponential of each cluster's "
    "conditional bigram entropy. Nothing is trained, nothing predicted.",
}
FITTED = {
    "regmix": "RegMix: boosted trees on the swarm, and the average of the best 128 of 100,000 simulated mixtures.",
    "log_linear": "Log-linear law on the swarm, convex proposal under a divergence from the natural shares (Olmix).",
    "effective_exposure": "Effective-exposure law on the swarm: how much useful text a target sees, whichever cluster "
    "it comes from. The most frugal in proxies.",
    "bimix": "Sum of powers of the shares on the swarm: BiMix's law as it is used for targets outside the mixture.",
    "data_mixing_law": "Data Mixing Law on the swarm: a sum of exponentials for targets of unknown composition.",
    "learned": "The law chosen target by target by cross-validated rank correlation, the n-gram model among them.",
}
CLIMBED = {
    "climb": "CLIMB: two more rounds of proxies, half and a quarter as many as the swarm, each drawn from the best "
    "that boosted trees predict; rows join the swarm's growing table.",
}


def build_counted_recipe(strategy: str) -> dg.AssetsDefinition:
    """Build the asset of a recipe that rests on counts alone."""

    @dg.asset(
        key=["recipes", strategy],
        deps=["domain_inventory", "gis_taxonomy", "proxy_tokens", every_snapshot("cluster_counts")],
        group_name=GROUP_MIXTURES,
        kinds={"json", "scipy"},
        owners=OWNERS,
        tags=refresh("fan_in"),
        code_version=COUNTED_CODE_VERSIONS[strategy],
        description=COUNTED[strategy],
    )
    def recipe(
        context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource
    ) -> dg.MaterializeResult:
        from gem_assets.mixing.grow import lexical_proxy, merge_counts, wanted_targets
        from gem_assets.mixing.learned import publish_entropy_recipe, publish_lexical_recipe

        loaded = settings.load()
        inventory, named = store.input("domain_inventory"), store.input("gis_taxonomy")
        tokens = store.input("proxy_tokens")
        check_same_labels(store, tokens, inventory)
        counted = counts_of(store, tokens)
        stage = Stage(
            store,
            f"recipes/{strategy}",
            config={"mixing": loaded.mixing, "counts": loaded.proxy.counts, "tau": loaded.proxy.tau},
            code_version=COUNTED_CODE_VERSIONS[strategy],
            inputs=[inventory, named, tokens, *counted],
            libraries=("scipy", "numpy"),
        )
        if stage.done is None:
            frame = mixture_frame(store, stage, loaded.mixing)
            counts, data = merge_counts([store.artifact(ref).path for ref in counted]), store.artifact(tokens).path
            with stage.write() as draft:
                if strategy == "lexical":
                    lexical = lexical_proxy(counts, data, loaded.proxy)
                    made = publish_lexical_recipe(lexical, wanted_targets(data), frame, draft.path)
                else:
                    made = publish_entropy_recipe(counts, frame, draft.path)
                note_recipe(draft, made)
        return recipe_result(stage)

    return recipe


def build_fitted_recipe(strategy: str) -> dg.AssetsDefinition:
    """Build the asset of a recipe that the swarm table is enough for (and the counts, for the n-gram law)."""
    counts_too = [dg.AssetDep("proxy_tokens"), every_snapshot("cluster_counts")] if strategy == "learned" else []

    @dg.asset(
        key=["recipes", strategy],
        deps=[dg.AssetDep("proxy_swarm"), dg.AssetDep("domain_inventory"), dg.AssetDep("gis_taxonomy"), *counts_too],
        group_name=GROUP_MIXTURES,
        kinds={"json", "scipy"},
        owners=OWNERS,
        tags=refresh("by_hand"),
        code_version=LEARNED_CODE_VERSION,
        description=FITTED[strategy],
    )
    def recipe(
        context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource
    ) -> dg.MaterializeResult:
        from gem_assets.mixing.grow import lexical_proxy, merge_counts, read_trained
        from gem_assets.mixing.learned import publish_law_recipe

        loaded = settings.load()
        swarm = store.input("proxy_swarm")
        inventory, named = store.input("domain_inventory"), store.input("gis_taxonomy")
        tokens = store.input("proxy_tokens") if counts_too else None
        counted = counts_of(store, tokens) if tokens is not None else []
        stage = Stage(
            store,
            f"recipes/{strategy}",
            config={"mixing": loaded.mixing, "counts": loaded.proxy.counts if counts_too else None},
            code_version=LEARNED_CODE_VERSION,
            inputs=[swarm, inventory, named, *([tokens] if tokens is not None else []), *counted],
            libraries=("scipy", "numpy", "lightgbm"),
            seed=loaded.mixing.seed,
        )
        if stage.done is None:
            frame = mixture_frame(store, stage, loaded.mixing)
            lexical = None
            if tokens is not None:
                counts = merge_counts([store.artifact(ref).path for ref in counted])
                lexical = lexical_proxy(counts, store.artifact(tokens).path, loaded.proxy)
            with stage.write() as draft:
                trained = read_trained(store.artifact(swarm).path)
                note_recipe(draft, publish_law_recipe(strategy, trained, frame, draft.path, lexical=lexical))
        return recipe_result(stage)

    return recipe


@dg.asset(
    key=["recipes", "climb"],
    deps=["proxy_swarm", "proxy_tokens", "domain_inventory", "gis_taxonomy", "teacher_clusters"],
    group_name=GROUP_MIXTURES,
    kinds={"json", "pytorch"},
    owners=OWNERS,
    tags=refresh("by_hand"),
    code_version=LEARNED_CODE_VERSION,
    pool="proxy_swarm",
    description=CLIMBED["climb"],
)
def climb_recipe(
    context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource, engine: EngineResource
) -> dg.MaterializeResult:
    from gem_assets.mixing.climb import ClimbRound, climb
    from gem_assets.mixing.grow import evaluate_round, read_trained, swarm_spec
    from gem_assets.mixing.learned import climb_objective, publish_climb_recipe

    loaded = settings.load()
    swarm, tokens = store.input("proxy_swarm"), store.input("proxy_tokens")
    inventory, named = store.input("domain_inventory"), store.input("gis_taxonomy")
    teacher = store.input("teacher_clusters")
    check_same_labels(store, tokens, inventory)
    stage = Stage(
        store,
        "recipes/climb",
        config={
            "mixing": loaded.mixing,
            "proxy": loaded.proxy.model_dump(mode="json", exclude=NOT_OF_THE_SWARM),
        },
        code_version=f"{LEARNED_CODE_VERSION}.{PROXY_CODE_VERSION}",
        inputs=[swarm, tokens, inventory, named, teacher],
        libraries=("lightgbm", "torch", "numpy"),
        seed=loaded.mixing.seed,
    )
    if stage.done is None:
        frame = mixture_frame(store, stage, loaded.mixing)
        trained = read_trained(store.artifact(swarm).path)
        data = store.artifact(tokens)
        spec = swarm_spec(loaded.proxy, data.path, str(teacher.identity), int(data.manifest.counts["clusters"]))
        objective, report = climb_objective(trained), stage.progress(context)
        size = len(trained.labels)
        found = climb(
            ClimbRound(trained.table.mixtures, objective(trained.table.losses)),
            lambda mixtures, number: objective(
                evaluate_round(
                    mixtures,
                    number,
                    spec,
                    store.cache(SWARM_FOLDER),
                    map_shards=engine.shard_map,
                    progress=lambda done, total, _: report(f"round {number}: {done} of {total} proxies"),
                )
            ),
            frame.supply.token_shares,
            frame.caps,
            sizes=(max(1, size // 2), max(1, size // 4)),
            seed=loaded.mixing.seed,
        )
        with stage.write() as draft:
            note_recipe(draft, publish_climb_recipe(found, trained, frame, draft.path))
    return recipe_result(stage)


def build_confirmation(strategy: str) -> dg.AssetsDefinition:
    """Build the asset that trains one recipe against proportional and uniform at the next model size."""

    @dg.asset(
        key=["recipe_confirmation", strategy],
        deps=[dg.AssetKey(["recipes", strategy]), "proxy_tokens", "domain_inventory", "teacher_clusters"],
        group_name=GROUP_MIXTURES,
        kinds={"pytorch", "json"},
        owners=OWNERS,
        tags=refresh("by_hand"),
        code_version=PROXY_CODE_VERSION,
        pool="proxy_swarm",
        description=f"Whether the {strategy} recipe holds: models of `proxy.confirmation` (three times the proxies' "
        "size and tokens) trained on it, on proportional and on uniform, paired over seeds. Confirmed is what beats "
        "both in every seed; otherwise proportional is recommended. By hand: about a minute a model on one core.",
    )
    def recipe_confirmation(
        context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        from gem_assets.mixing.confirm import PICTURE, describe_confirmation, publish_confirmation
        from gem_assets.mixing.grow import swarm_spec
        from gem_assets.mixing.inventory import read_supply
        from gem_assets.mixing.recipe import RECIPE_NAME, Recipe

        loaded = settings.load()
        recipe, tokens = store.input(f"recipes/{strategy}"), store.input("proxy_tokens")
        inventory, teacher = store.input("domain_inventory"), store.input("teacher_clusters")
        check_same_labels(store, tokens, inventory)
        larger = loaded.proxy.at_next_size()
        stage = Stage(
            store,
            f"recipe_confirmation/{strategy}",
            config={"confirmation": larger.confirmation, "head": larger.head, "mixing": loaded.mixing},
            code_version=PROXY_CODE_VERSION,
            inputs=[recipe, tokens, inventory, teacher],
            libraries=("torch", "numpy"),
            seed=larger.seed,
        )
        if stage.done is None:
            data = store.artifact(tokens)
            k = int(data.manifest.counts["clusters"])
            report = stage.progress(context)
            with stage.write() as draft:
                found = publish_confirmation(
                    Recipe.read(store.artifact(recipe).path / RECIPE_NAME),
                    read_supply(store.artifact(inventory).path, k),
                    loaded.mixing,
                    swarm_spec(larger, data.path, str(teacher.identity), k),
                    store.cache(SWARM_FOLDER),
                    draft.path,
                    map_shards=engine.shard_map,
                    progress=lambda done, total, left: report(
                        f"{done} of {total} models" + ("" if left is None else f", about {left:.0f} s left")
                    ),
                )
                draft.counts = {"wins": found.wins(strategy), "seeds": len(found.seeds)}
                draft.metrics = {"confirmed": found.confirmed(strategy), "verdict": found.verdict(strategy)}
        folder, manifest = stage.artifact.path, stage.artifact.manifest
        return stage.result(
            {
                **manifest.counts,
                **manifest.metrics,
                "losses": table(describe_confirmation(folder).rows()),
                "arms": picture(folder, PICTURE, "Target loss of the arms against proportional"),
            }
        )

    return recipe_confirmation


def mixture_frame(store: StoreResource, stage: Stage, config: MixingConfig) -> "MixtureFrame":
    """Read what recipes share from a stage's pinned inputs."""
    from gem_assets.mixing.inventory import read_supply
    from gem_assets.mixing.learned import MixtureFrame
    from gem_assets.taxonomy.publish import TAXONOMY_NAME
    from gem_assets.taxonomy.taxonomy import Taxonomy

    by_name = {ref.asset: ref for ref in stage.inputs if ref.partition is None}
    inventory = store.artifact(by_name["domain_inventory"])
    taxonomy = Taxonomy.read(store.artifact(by_name["gis_taxonomy"]).path / TAXONOMY_NAME)
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
    from gem_assets.mixing.learned import LAW_PICTURE, describe_evidence
    from gem_assets.mixing.publish import describe_recipe

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
            **audit_links(folder, found.recipe.strategy),
            "evidence": table([{"what": name, "value": value} for name, value in told.items()]),
            **{name: table(rows) for name, rows in tables.items()},
            "mixture": table(found.rows),
            "bars": picture(folder, "mixture.png", "Token shares beside the proportional mixture"),
            **pictures,
        }
    )


LEARNED = (*COUNTED, *FITTED, *CLIMBED)

counted_recipes = [build_counted_recipe(strategy) for strategy in COUNTED]
fitted_recipes = [build_fitted_recipe(strategy) for strategy in FITTED]
learned_recipes = [*counted_recipes, *fitted_recipes, climb_recipe]
recipe_confirmations = [build_confirmation(strategy) for strategy in LEARNED]
