"""``recipes/<strategy>`` of the methods that are neither heuristics nor laws on the swarm; all by hand."""

import dagster as dg

from gem_assets.assets.common import GROUP_MIXTURES, OWNERS, refresh
from gem_assets.assets.learned_recipes import build_confirmation, mixture_frame, note_recipe, recipe_result
from gem_assets.assets.proxies import NOT_OF_THE_SWARM
from gem_assets.mixing.config import LEARNED_CODE_VERSION
from gem_assets.proxy.config import CODE_VERSION as PROXY_CODE_VERSION
from resources import SettingsResource, Stage, StoreResource

BY_HAND = " By hand: one run on one core, of toy size with the default settings; meant for larger models."
METHODS = {
    "doremi": "DoReMi: weight to the clusters in which a proxy still lags a reference trained on the natural shares."
    + BY_HAND,
    "aioli": "Aioli: measures during training how each cluster moves every target, and follows that." + BY_HAND,
    "skillit": "Skill-It: a graph of which cluster helps which target, from short branches, and then the losses."
    + BY_HAND,
    "doge": "DoGE: weight to the clusters whose gradients agree with those of the targets." + BY_HAND,
    "dga": "Dynamic gradient alignment: mirror steps along the agreement of gradients." + BY_HAND,
    "tikmix": "TiKMiX-D: at the end of each stage the mixture of largest group influence on the targets." + BY_HAND,
    "mixmin": "MixMin: one proxy a cluster; the mixture of their predictions that explains the targets best. By hand: "
    "about half a proxy's training for each cluster.",
}
END_UPSAMPLING = "end_upsampling"
METHOD_STRATEGIES = (*METHODS, END_UPSAMPLING)


def build_method_recipe(strategy: str) -> dg.AssetsDefinition:
    """Build the asset of a method that trains its own proxies on the prepared tokens."""

    @dg.asset(
        key=["recipes", strategy],
        deps=["proxy_tokens", "domain_inventory", "gis_taxonomy"],
        group_name=GROUP_MIXTURES,
        kinds={"json", "pytorch"},
        owners=OWNERS,
        tags=refresh("by_hand"),
        code_version=f"{LEARNED_CODE_VERSION}.{PROXY_CODE_VERSION}",
        pool="proxy_swarm",
        description=METHODS[strategy],
    )
    def recipe(
        context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource
    ) -> dg.MaterializeResult:
        from gem_assets.mixing.grow import wanted_targets
        from gem_assets.mixing.methods.recipes import publish_method_recipe

        loaded = settings.load()
        tokens = store.input("proxy_tokens")
        inventory, named = store.input("domain_inventory"), store.input("gis_taxonomy")
        stage = Stage(
            store,
            f"recipes/{strategy}",
            config={"mixing": loaded.mixing, "proxy": loaded.proxy.model_dump(mode="json", exclude=NOT_OF_THE_SWARM)},
            code_version=f"{LEARNED_CODE_VERSION}.{PROXY_CODE_VERSION}",
            inputs=[tokens, inventory, named],
            libraries=("torch", "scipy", "numpy"),
            seed=loaded.proxy.seed,
        )
        if stage.done is None:
            frame = mixture_frame(store, stage, loaded.mixing)
            data, report = store.artifact(tokens).path, stage.progress(context)
            with stage.write() as draft:
                made = publish_method_recipe(
                    strategy,
                    data,
                    wanted_targets(data),
                    frame,
                    loaded.proxy,
                    draft.path,
                    progress=lambda done, total: report(f"step {done} of {total}"),
                )
                note_recipe(draft, made)
        return recipe_result(stage)

    return recipe


@dg.asset(
    key=["recipes", END_UPSAMPLING],
    deps=[
        dg.AssetKey(["recipes", "proportional"]),
        dg.AssetKey(["recipes", "lexical"]),
        "domain_inventory",
        "gis_taxonomy",
    ],
    group_name=GROUP_MIXTURES,
    kinds={"json"},
    owners=OWNERS,
    tags=refresh("by_hand"),
    code_version=LEARNED_CODE_VERSION,
    description="End-of-training upsampling: the natural shares for most of the tokens, the lexical recipe for the "
    "last 15 %. A recipe of two phases; repetition counts over both.",
)
def end_upsampling_recipe(
    context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource
) -> dg.MaterializeResult:
    from gem_assets.mixing.methods.recipes import publish_end_upsampling
    from gem_assets.mixing.recipe import RECIPE_NAME, Recipe

    conf = settings.load().mixing
    base, final = store.input("recipes/proportional"), store.input("recipes/lexical")
    inventory, named = store.input("domain_inventory"), store.input("gis_taxonomy")
    stage = Stage(
        store,
        f"recipes/{END_UPSAMPLING}",
        config=conf,
        code_version=LEARNED_CODE_VERSION,
        inputs=[base, final, inventory, named],
        libraries=(),
        seed=conf.seed,
    )
    if stage.done is None:
        frame = mixture_frame(store, stage, conf)
        with stage.write() as draft:
            first, last = (Recipe.read(store.artifact(ref).path / RECIPE_NAME) for ref in (base, final))
            note_recipe(draft, publish_end_upsampling(first, last, frame, draft.path))
    return recipe_result(stage)


method_recipes = [*(build_method_recipe(strategy) for strategy in METHODS), end_upsampling_recipe]
method_confirmations = [build_confirmation(strategy) for strategy in METHODS]
