"""``recipes/<strategy>``: one training mixture for each method of the registry."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from gem_assets.assets.common import GROUP_MIXTURES, OWNERS, audit_links, every_snapshot, picture, refresh, table
from gem_assets.assets.proxies import check_same_labels, counts_of
from gem_assets.assets.recipe_confirmation import build_confirmation
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
from gem_assets.orchestration.stage import Stage
from gem_assets.storage.artifacts import Draft
from gem_assets.storage.manifest import InputRef
from resources import EngineResource, SettingsResource, StoreResource

if TYPE_CHECKING:  # the library's mixture modules are loaded where an asset runs
    from gem_assets.mixing.recipe import Recipe


def build_recipe(method: Method) -> dg.AssetsDefinition:
    """Build ``recipes/<strategy>``."""

    @dg.asset(
        key=["recipes", method.name],
        deps=[
            *(dg.AssetKey(["recipes", strategy]) for strategy in method.recipes),
            *(dg.AssetKey(name) for name in (*method.needs, INVENTORY, TAXONOMY)),
            *([every_snapshot(COUNTS)] if method.counts else []),
        ],
        group_name=GROUP_MIXTURES,
        kinds=set(method.kinds),
        owners=OWNERS,
        tags=refresh(method.policy),
        code_version=method.code_version,
        pool=SWARM if method.trains else None,
        description=method.summary,
    )
    def recipe(
        context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource, engine: EngineResource
    ) -> dg.MaterializeResult:
        from gem_assets.storage.store import MissingInputError

        loaded = settings.load()
        bases = {strategy: store.input(f"recipes/{strategy}") for strategy in method.recipes}
        pinned = {name: store.input(name) for name in (*method.needs, INVENTORY, TAXONOMY)}
        if TOKENS in pinned:
            check_same_labels(store, pinned[TOKENS], pinned[INVENTORY])
        counted = counts_of(store, pinned[TOKENS]) if method.counts else []
        try:
            config = method.config(loaded)
        except MissingSettingError as error:
            # a plan lists what is missing, and goes on
            raise MissingInputError(str(error)) from error
        stage = Stage(
            store,
            f"recipes/{method.name}",
            config=config,
            code_version=method.code_version,
            inputs=[*bases.values(), *pinned.values(), *counted],
            libraries=method.libraries,
            seed=method.seed(loaded),
        )
        if stage.done is None:
            from gem_assets.mixing.recipe_artifact import MixtureFrame

            inputs = {name: store.artifact(ref) for name, ref in pinned.items()}
            frame = MixtureFrame.read(inputs[INVENTORY], inputs[TAXONOMY], loaded.mixing)
            with stage.write() as draft:
                work = MethodWork(
                    settings=loaded,
                    frame=frame,
                    out=draft.path,
                    inputs=inputs,
                    recipes={strategy: store.artifact(ref) for strategy, ref in bases.items()},
                    counted=_folders(store, counted),
                    cache=store.cache,
                    map_shards=engine.shard_map,
                    report=stage.progress(context),
                )
                _note(draft, method.make(work))
        return _result(stage)

    return recipe


def _folders(store: StoreResource, refs: Sequence[InputRef]) -> list[Path]:
    return [store.artifact(ref).path for ref in refs]


def _note(draft: Draft, recipe: "Recipe") -> None:
    draft.counts = {"token_budget": recipe.token_budget, "clusters": len(recipe.entries)}
    draft.metrics = {"recipe_identity": recipe.identity, "tokenizer": recipe.tokenizer}
    if recipe.evidence is not None:
        draft.metrics |= {"verdict": recipe.evidence.verdict}


def _result(stage: Stage) -> dg.MaterializeResult:
    """Report a recipe with its evidence and pictures."""
    from gem_assets.mixing.publish import describe_recipe
    from gem_assets.mixing.recipe_artifact import LAW_PICTURE, describe_evidence

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


recipes = [build_recipe(method) for method in methods().values()]
recipe_confirmations = [build_confirmation(method.name) for method in methods().values() if method.confirmable]
