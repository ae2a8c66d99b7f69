"""``recipe_confirmation``, one partition per strategy: does a learned recipe hold at the next model size?"""

from gem_assets.assets.common import GROUP_EVIDENCE, picture, table
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.assets.partitions import of_strategies
from gem_assets.assets.proxies import check_same_labels
from gem_assets.mixing.methods.registry import confirmable
from gem_assets.orchestration.purpose import expensive
from gem_assets.orchestration.stage import Making
from gem_assets.proxy.config import CODE_VERSION as PROXY_CODE_VERSION
from gem_assets.stages import CONFIRMATIONS, PROXY_SWARM
from gem_assets.storage.manifest import InputRef


@stage_asset(
    partitions=of_strategies(confirmable()),
    group=GROUP_EVIDENCE,
    kinds={"pytorch", "json"},
    code_version=PROXY_CODE_VERSION,
    pool=PROXY_SWARM,
    libraries=("torch", "numpy"),
    description="Expensive, and only made when asked for: about a minute per model on one core.\n\n"
    "Shows whether a recipe holds: models of `proxy.confirmation` (three times the proxies' size and tokens) are "
    "trained on it, on proportional and on uniform, paired over seeds. A recipe is confirmed if it beats both in every "
    "seed; otherwise proportional is recommended.",
    costly=expensive(),
)
def recipe_confirmation(
    work: Work, recipes: InputRef, proxy_tokens: InputRef, domain_inventory: InputRef, teacher_clusters: InputRef
) -> Making:
    strategy, store, mixing = work.partition, work.store, work.settings.mixing
    check_same_labels(store, proxy_tokens, domain_inventory)
    larger = work.settings.proxy.at_next_size()
    config = {
        "confirmation": larger.confirmation,
        "head": larger.head,
        "mixing": mixing,
        "repetition": larger.repetition,
    }
    stage = work.stage(config=config, seed=larger.seed)
    yield stage
    if stage.done is None:
        from gem_assets.mixing.confirmation import publish_confirmation
        from gem_assets.mixing.inventory import read_supply
        from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
        from gem_assets.mixing.swarm.growth import swarm_spec
        from gem_assets.proxy.repetition import Repetition

        data = store.artifact(proxy_tokens)
        k = int(data.manifest.counts["clusters"])
        made = Recipe.read(store.artifact(recipes).path / RECIPE_NAME)
        supply = read_supply(store.artifact(domain_inventory).path, k)
        matched = larger.repetition == "matched"
        repetition = Repetition(made.token_budget, tuple(int(n) for n in supply.tokens)) if matched else None
        report = stage.progress(work.context)
        with stage.keeping("every finished model is kept"), stage.write() as draft:
            found = publish_confirmation(
                made,
                supply,
                mixing,
                swarm_spec(larger, data.path, str(teacher_clusters.identity), k, repetition),
                store.cache(PROXY_SWARM),
                draft.path,
                map_shards=work.engine.shard_map(CONFIRMATIONS),
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
