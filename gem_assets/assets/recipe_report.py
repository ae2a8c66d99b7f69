"""``recipe_report``: all recipes that there are, side by side, on one page."""

import dagster as dg

from gem_assets.assets.common import GROUP_MIXTURES, every_partition, page_link, table
from gem_assets.assets.declared import Work, stage_asset
from gem_assets.mixing.config import LEARNED_CODE_VERSION
from gem_assets.orchestration.places import FAMILIES
from gem_assets.orchestration.stage import Making
from gem_assets.stages import CONFIRMATIONS, PROXY_SWARM


@stage_asset(
    group=GROUP_MIXTURES,
    kinds={"html", "matplotlib"},
    code_version=LEARNED_CODE_VERSION,
    description="Every recipe that has been made, with its law, predictions, confirmation and verdict, and which one "
    "to use: what was confirmed at the next model size, else proportional. Recipes that were not made are left out.",
    reads=[PROXY_SWARM, *(every_partition(node) for node in (*FAMILIES, CONFIRMATIONS))],
)
def recipe_report(work: Work) -> Making:
    from gem_assets.mixing.current_recipes import NoRecipesError, gather_recipes
    from gem_assets.storage.store import MissingInputError

    try:
        gathered = gather_recipes(work.store.artifacts)
    except NoRecipesError as error:
        raise MissingInputError(str(error)) from error
    stage = work.stage(config={}, inputs=gathered.inputs)
    yield stage
    if stage.done is None:
        from gem_assets.mixing.pages import RECIPES_PAGE, comparison_page, gains_picture, shares_picture

        with stage.write() as draft:
            (draft.path / RECIPES_PAGE).write_text(
                comparison_page(gathered.comparison, gathered.recipes), encoding="utf-8"
            )
            gains = gains_picture(gathered.comparison)
            if gains is not None:
                (draft.path / "gains.png").write_bytes(gains)
            (draft.path / "shares.png").write_bytes(shares_picture(gathered.recipes))
            draft.counts = {"recipes": len(gathered.recipes), "confirmations": gathered.confirmed}
            draft.metrics = {"recommended": gathered.comparison.recommended, "reason": gathered.comparison.reason}

    from gem_assets.mixing.pages import RECIPES_PAGE
    from gem_assets.report.plots import markdown_image

    folder, manifest = stage.artifact.path, stage.artifact.manifest
    pictures = {
        name: dg.MetadataValue.md(markdown_image((folder / f"{name}.png").read_bytes(), alt))
        for name, alt in (("gains", "Loss of each recipe less that of proportional"), ("shares", "Token shares"))
        if (folder / f"{name}.png").is_file()
    }
    return stage.result(
        {
            **manifest.counts,
            **manifest.metrics,
            "recipes_side_by_side": table(list(gathered.comparison.rows)),
            **pictures,
            "page": page_link(folder, RECIPES_PAGE),
        }
    )
