"""The declaration of a stage: an asset's name, what it reads and its code version stand once, and all else follows.

    @stage_asset(group="clusters", kinds={"python"}, code_version=CODE_VERSION, libraries=("numpy",), description="…")
    def teacher_clusters(work: Work, embedding_space: InputRef, embeddings: list[InputRef]) -> Making:
        conf = work.settings.teacher
        stage = work.stage(config=conf, seed=conf.seed)
        yield stage
        …

The function's name is the asset's. Its parameters name the assets that it reads: Dagster's dependencies come from them,
and the call gets their results, pinned.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import dagster as dg
from pydantic import BaseModel

from gem_assets.assets.common import OWNERS, each_recipe, every_partition, refresh
from gem_assets.assets.partitions import snapshots
from gem_assets.orchestration.stage import Making, Stage, staged
from gem_assets.settings import Settings
from gem_assets.stages import (
    EMBEDDING_SPACE,
    EMBEDDINGS,
    ORDERS,
    RECIPES,
    SNAPSHOT_WISE,
    STUDENT_LABELS,
    STUDENT_MODEL,
    result_of,
)
from gem_assets.storage.manifest import InputRef
from gem_assets.storage.store import Store
from resources import EngineResource, SettingsResource, StoreResource

Costly = Callable[[Callable[..., dg.MaterializeResult]], Callable[..., Any]]


@dataclass(frozen=True)
class Work:
    """What one call of a stage works with.

    ``partition`` is the snapshot or strategy, and empty for an asset without partitions.
    """

    asset: str
    code_version: str
    libraries: tuple[str, ...]
    context: dg.AssetExecutionContext
    partition: str
    loader: SettingsResource
    store: StoreResource
    engine: EngineResource
    inputs: list[InputRef] = field(default_factory=list[InputRef])

    @cached_property
    def settings(self) -> Settings:
        """The settings of the data root."""
        return self.loader.load()

    def stage(
        self,
        *,
        config: BaseModel | Mapping[str, Any],
        inputs: Sequence[InputRef] | None = None,
        also: Sequence[InputRef] = (),
        seed: int | None = None,
    ) -> Stage:
        """Return the stage.

        Parameters
        ----------
        config, seed
            See :class:`gem_assets.orchestration.stage.Stage`.
        inputs
            What its identity takes; by default every parameter of its function.
        """
        by_snapshot = self.asset in SNAPSHOT_WISE
        by_strategy = bool(self.partition) and not by_snapshot
        return Stage(
            self.store,
            result_of(self.asset, self.partition) if by_strategy else self.asset,
            partition=self.partition if by_snapshot else None,
            config=config,
            code_version=self.code_version,
            inputs=[*(self.inputs if inputs is None else inputs), *also],
            libraries=self.libraries,
            seed=seed,
        )


def stage_asset(
    *,
    group: str,
    kinds: set[str],
    code_version: str,
    description: str,
    libraries: Sequence[str] = (),
    reads: Sequence[Any] = (),
    partitions: dg.StaticPartitionsDefinition | None = None,
    pool: str | None = None,
    costly: Costly | None = None,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Making]], dg.AssetsDefinition]:
    """Declare an asset by the function that makes it.

    Parameters
    ----------
    libraries
        Distributions whose version can change the result.
    reads
        Dependencies beside the parameters, which the function pins by itself.
    partitions
        The strategies, of an asset with a result for each; its parameter ``recipes`` is the recipe of its own strategy.
    costly
        An :func:`~gem_assets.orchestration.purpose.expensive`, where the work is done on purpose only.
    """
    by_strategy = None if partitions is None else partitions.get_partition_keys()

    def declare(function: Callable[..., Making]) -> dg.AssetsDefinition:
        asset = name or function.__name__
        by_snapshot = asset in SNAPSHOT_WISE
        names = list(inspect.signature(function).parameters)[1:]

        def declared(
            context: dg.AssetExecutionContext, settings: SettingsResource, store: StoreResource, engine: EngineResource
        ) -> Making:
            partition = context.partition_key if by_snapshot or by_strategy else ""
            pinned = _pinned(store, names, *((partition, "") if by_snapshot else ("", partition)))
            inputs = [ref for found in pinned.values() for ref in (found if isinstance(found, list) else [found])]
            work = Work(asset, code_version, tuple(libraries), context, partition, settings, store, engine, inputs)
            return (yield from function(work, **pinned))

        declared.__name__ = declared.__qualname__ = function.__name__
        compute = staged(declared)
        return dg.asset(
            name=asset,
            partitions_def=snapshots if by_snapshot else partitions,
            deps=[*reads, *(dep for one in names for dep in _dependencies(one, by_strategy or (), each=by_snapshot))],
            group_name=group,
            kinds=kinds,
            owners=OWNERS,
            tags=refresh(asset) if tags is None else tags,
            code_version=code_version,
            pool=pool,
            output_required=costly is None,
            description=description,
        )(compute if costly is None else costly(compute))

    return declare


def _dependencies(name: str, strategies: Sequence[str], *, each: bool) -> list[Any]:
    if name == RECIPES:
        return [*each_recipe(strategies)]
    return [every_partition(name) if name in SNAPSHOT_WISE and not each else name]


def _pinned(store: Store, names: Sequence[str], snapshot: str, strategy: str) -> dict[str, Any]:
    """Pin what a stage reads: the result of its own snapshot or strategy, of every snapshot, or the one that there is.

    Vectors and labels are those of the space and of the student in force; what other ones have made is left out.
    """
    found: dict[str, Any] = {}
    for name in names:
        if name in SNAPSHOT_WISE and not snapshot:
            table = None
            if name == EMBEDDINGS:
                table = store.embedding_table(found.get(EMBEDDING_SPACE) or store.input(EMBEDDING_SPACE))
            elif name == STUDENT_LABELS:
                table = store.label_table(found.get(STUDENT_MODEL) or store.input(STUDENT_MODEL))
            found[name] = store.inputs(name, lance_table=table)
        elif name in (RECIPES, ORDERS):
            found[name] = store.input(result_of(name, strategy))
        else:
            found[name] = store.input(name, snapshot if name in SNAPSHOT_WISE else None)
    return found
