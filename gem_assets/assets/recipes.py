"""``recipes/<strategy>``: training mixtures."""

import dagster as dg

from gem_assets.assets.common import GROUP_MIXTURES, OWNERS, audit_links, picture, refresh, table
from gem_assets.mixing.config import CODE_VERSION
from resources import SettingsResource, Stage, StoreResource

DESCRIPTIONS = {
    "proportional": "Token shares as the text comes. What every other mixture has to beat.",
    "uniform": "The same number of tokens from every cluster, within the repetition cap.",
    "temperature": "Token counts to the power `mixing.temperature`: between proportional (1) and uniform (0).",
    "unimax": "As uniform as an epoch cap allows (UniMax): small clusters are never repeated past it.",
    "balanced": "The GEM mixture: every cluster weighs the same in documents, so what is left of imbalance after "
    "hard labels and new snapshots is weighted out, and long documents keep their length.",
}


def build_recipe(strategy: str) -> dg.AssetsDefinition:
    """Build the asset of one strategy that needs no proxy models."""

    @dg.asset(
        key=["recipes", strategy],
        deps=["domain_inventory", "gis_taxonomy"],
        group_name=GROUP_MIXTURES,
        kinds={"json", "parquet"},
        owners=OWNERS,
        tags=refresh("fan_in"),
        code_version=CODE_VERSION,
        description=DESCRIPTIONS[strategy],
    )
    def recipe(
        context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource
    ) -> dg.MaterializeResult:

        conf = settings.load().mixing
        inventory, named = store.input("domain_inventory"), store.input("gis_taxonomy")
        stage = Stage(
            store,
            f"recipes/{strategy}",
            config=conf,
            code_version=CODE_VERSION,
            inputs=[inventory, named],
            seed=conf.seed,
        )
        if stage.done is None:
            from gem_assets.mixing.publish import publish_recipe
            from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy

            supply = store.artifact(inventory)
            with stage.write() as draft:
                found = publish_recipe(
                    strategy,
                    supply.path,
                    Taxonomy.read(store.artifact(named).path / TAXONOMY_NAME),
                    conf,
                    str(supply.manifest.metrics["tokenizer"]),
                    draft.path,
                )
                draft.counts = {"token_budget": found.token_budget, "clusters": len(found.entries)}
                draft.metrics = {"recipe_identity": found.identity, "tokenizer": found.tokenizer}

        from gem_assets.mixing.publish import describe_recipe

        folder = stage.artifact.path
        found = describe_recipe(folder)
        return stage.result(
            {
                **stage.artifact.manifest.counts,
                **stage.artifact.manifest.metrics,
                **found.figures,
                **audit_links(strategy),
                "mixture": table(found.rows),
                "bars": picture(folder, "mixture.png", "Token shares beside the proportional mixture"),
            }
        )

    return recipe


recipes = [build_recipe(strategy) for strategy in DESCRIPTIONS]
