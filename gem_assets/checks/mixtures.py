"""Checks of ``domain_inventory`` and of every recipe."""

import dagster as dg

from gem_assets.assets.partitions import of_strategies
from gem_assets.checks.validation import validate_frame
from gem_assets.orchestration.places import FAMILIES, place_of
from gem_assets.stages import DOMAIN_INVENTORY, RAW_SHARDS, STUDENT_LABELS
from resources import StoreResource


@dg.asset_check(
    asset=DOMAIN_INVENTORY,
    blocking=True,
    description="Documents and tokens per cluster add up to those of the labelled snapshots.",
)
def inventory_adds_up(store: StoreResource) -> dg.AssetCheckResult:
    import great_expectations.expectations as gxe
    import pandas as pd

    inventory = store.artifact(store.input(DOMAIN_INVENTORY))
    labelled = [ref for ref in inventory.manifest.inputs if ref.asset == STUDENT_LABELS]
    corpus = [store.artifact(store.ancestor(ref, RAW_SHARDS)).manifest.counts for ref in labelled]
    frame = pd.DataFrame(
        {
            "quantity": ["documents", "tokens", "bytes"],
            "inventory": [inventory.manifest.counts[q] for q in ("documents", "tokens", "bytes")],
            "corpus": [sum(c[q] for c in corpus) for q in ("kept", "tokens", "bytes")],
        }
    )
    frame["left_out"] = [inventory.manifest.counts[f"superseded_{q}"] for q in ("documents", "tokens", "bytes")]
    frame["difference"] = frame["inventory"] + frame["left_out"] - frame["corpus"]
    return validate_frame(
        frame,
        [
            gxe.ExpectTableRowCountToEqual(value=3, description="The inventory lacks one of its totals"),
            gxe.ExpectColumnValuesToBeInSet(
                column="difference", value_set=[0], description="The clusters do not add up to the labelled snapshots"
            ),
            gxe.ExpectColumnValuesToBeBetween(column="inventory", min_value=1, description="The inventory is empty"),
        ],
        DOMAIN_INVENTORY,
        {"snapshots": len(corpus)},
    )


def build_recipe_check(node: str) -> dg.AssetChecksDefinition:
    """Build the check of the recipes of one family."""

    @dg.asset_check(
        asset=node,
        partitions_def=of_strategies(FAMILIES[node]),
        name="mixture_is_feasible",
        blocking=True,
        description="Token shares sum to one, none is negative, and no cluster is repeated past its cap.",
    )
    def mixture_is_feasible(context: dg.AssetCheckExecutionContext, store: StoreResource) -> dg.AssetCheckResult:
        import great_expectations.expectations as gxe

        from gem_assets.mixing.recipe import RECIPE_NAME, Recipe

        asset, _ = place_of(dg.AssetKey(node), context.partition_key)
        recipe = Recipe.read(store.artifact(store.input(asset)).path / RECIPE_NAME)
        frame = recipe.to_table().to_pandas()
        frame["over_cap"] = frame["implied_epochs"] > frame["cap"] * (1 + 1e-9)
        return validate_frame(
            frame,
            [
                gxe.ExpectTableRowCountToBeBetween(min_value=1, description="The mixture has no cluster"),
                gxe.ExpectColumnSumToBeBetween(
                    column="token_share",
                    min_value=1 - 1e-9,
                    max_value=1 + 1e-9,
                    description="The token shares do not sum to one",
                ),
                gxe.ExpectColumnValuesToBeBetween(
                    column="token_share",
                    min_value=0,
                    max_value=1,
                    description="A token share is not between zero and one",
                ),
                gxe.ExpectColumnValuesToBeInSet(
                    column="over_cap", value_set=[False], description="A cluster is repeated past its cap"
                ),
                gxe.ExpectColumnMaxToBeBetween(
                    column="token_share",
                    max_value=0.5,
                    severity="warning",
                    description="One cluster takes more than half of the tokens",
                ),
            ],
            asset,
        )

    return mixture_is_feasible


recipe_checks = [build_recipe_check(node) for node in FAMILIES]
