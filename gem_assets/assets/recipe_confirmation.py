"""``recipe_confirmation``, one partition per strategy: does a learned recipe hold at the next model size?"""

import dagster as dg

from gem_assets.assets.common import GROUP_EVIDENCE, OWNERS, each_recipe, picture, refresh, table
from gem_assets.assets.partitions import of_strategies
from gem_assets.assets.proxies import check_same_labels
from gem_assets.mixing.methods.registry import confirmable
from gem_assets.orchestration.purpose import expensive
from gem_assets.orchestration.stage import Making, Stage, staged
from gem_assets.proxy.config import CODE_VERSION as PROXY_CODE_VERSION
from gem_assets.stages import CONFIRMATIONS, DOMAIN_INVENTORY, PROXY_SWARM, PROXY_TOKENS, TEACHER_CLUSTERS
from resources import EngineResource, SettingsResource, StoreResource


@dg.asset(
    partitions_def=of_strategies(confirmable()),
    deps=[*each_recipe(confirmable()), PROXY_TOKENS, DOMAIN_INVENTORY, TEACHER_CLUSTERS],
    group_name=GROUP_EVIDENCE,
    kinds={"pytorch", "json"},
    owners=OWNERS,
    tags=refresh(CONFIRMATIONS),
    code_version=PROXY_CODE_VERSION,
    pool=PROXY_SWARM,
    output_required=False,
    description="Expensive, and only made when asked for: about a minute per model on one core.\n\n"
    "Shows whether a recipe holds: models of `proxy.confirmation` (three times the proxies' size and tokens) are "
    "trained on it, on proportional and on uniform, paired over seeds. A recipe is confirmed if it beats both in every "
    "seed; otherwise proportional is recommended.",
)
@expensive()
@staged
def recipe_confirmation(
    context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource, engine: EngineResource
) -> Making:
    strategy, loaded = context.partition_key, settings.load()
    recipe, tokens = store.input(f"recipes/{strategy}"), store.input(PROXY_TOKENS)
    inventory, teacher = store.input(DOMAIN_INVENTORY), store.input(TEACHER_CLUSTERS)
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
    yield stage
    if stage.done is None:
        from gem_assets.mixing.confirmation import publish_confirmation
        from gem_assets.mixing.inventory import read_supply
        from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
        from gem_assets.mixing.swarm.growth import swarm_spec

        data = store.artifact(tokens)
        k = int(data.manifest.counts["clusters"])
        report = stage.progress(context)
        with stage.keeping("every finished model is kept"), stage.write() as draft:
            found = publish_confirmation(
                Recipe.read(store.artifact(recipe).path / RECIPE_NAME),
                read_supply(store.artifact(inventory).path, k),
                loaded.mixing,
                swarm_spec(larger, data.path, str(teacher.identity), k),
                store.cache(PROXY_SWARM),
                draft.path,
                map_shards=engine.shard_map(CONFIRMATIONS),
                progress=lambda done, total, left: report(
                    f"{done} of {total} models" + ("" if left is None else f", about {left:.0f} s left")
                ),
            )
            draft.counts = {"wins": found.wins(strategy), "seeds": len(found.seeds)}
            draft.metrics = {"confirmed": found.confirmed(strategy), "verdict": found.verdict(strategy)}

    from gem_assets.mixing.confirmation import PICTURE, describe_confirmation

    folder, manifest = stage.artifact.path, stage.artifact.manifest
    return stage.result(
        {
            **manifest.counts,
            **manifest.metrics,
            "losses": table(describe_confirmation(folder).rows()),
            "arms": picture(folder, PICTURE, "Target loss of the arms against proportional"),
        }
    )
