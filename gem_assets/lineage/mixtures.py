"""A mixture by name, with the labels, documents and training orders that belong to it and to no other version of it.

A recipe names the inventory it was computed from, the inventory names the label tables, and each of these the
documents that were labelled. So an old mixture is answered for from its own inputs, whatever is current by now.

A mixture is written ``NAME`` (the current one), ``NAME@HEX`` (by the first digits of its artifact's or its recipe's
identity) or ``NAME~N`` (N commits before the current one).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from gem_assets.lineage.walk import Lineage, walk
from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
from gem_assets.stages import DOMAIN_INVENTORY, ORDERS, RAW_SHARDS, RECIPES, STUDENT_LABELS, result_of, strategy_of
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.storage.manifest import InputRef, check_asset
from gem_assets.storage.purged import Purges

_SPEC = re.compile(r"(?:recipes/)?(?P<name>[a-z0-9_-]+)(?:@(?P<hex>[0-9a-f]{4,64})|~(?P<back>[0-9]{1,6}))?")


class LabelScan(Protocol):
    """Reads the labels that an artifact committed; the library itself opens no table store."""

    def __call__(self, labels: Artifact, columns: Sequence[str], /) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one ``student_labels`` artifact at the table version that its manifest names."""
        ...


class MixtureError(LookupError):
    """A mixture that does not exist, or whose inputs are gone; the message names it and what there is."""


@dataclass(frozen=True)
class Labelled:
    """One snapshot as a mixture saw it.

    Attributes
    ----------
    labels
        ``student_labels`` of that snapshot.
    shards
        ``raw_shards`` that these labels were given to.
    """

    snapshot: str
    labels: Artifact
    shards: Artifact


@dataclass(frozen=True)
class Mixture:
    """One version of a recipe.

    Attributes
    ----------
    artifact
        ``recipes/<name>``.
    labels
        Labels of every snapshot that it was computed over; None when its inventory is gone.
    """

    name: str
    artifact: Artifact
    recipe: Recipe
    labels: tuple[InputRef, ...] | None
    current: bool

    @property
    def key(self) -> str:
        """``NAME@`` and the first digits of the artifact's identity."""
        return f"{self.name}@{self.artifact.identity[:12]}"

    @property
    def cluster_names(self) -> dict[int, str]:
        """Cluster id to name."""
        return {entry.cluster: entry.name for entry in self.recipe.entries}


def find_mixture(store: ArtifactStore, spec: str) -> Mixture:
    """Return the mixture that a text names; see the module for how it is written.

    Raises MixtureError when the text is not such a name, nothing of that name was made, or more than one version fits.
    """
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise MixtureError(f"{spec!r} names no mixture; write NAME, NAME@IDENTITY or NAME~N. {_recipes_of(store)}")
    asset = check_asset(result_of(RECIPES, found["name"]))
    current = store.current(asset)
    history = store.history(asset)
    if current is None or not history:
        raise MixtureError(f"no recipe {found['name']!r} has been materialized in {store.root}. {_recipes_of(store)}")
    if found["hex"]:
        fitting = [a for a in history if a.identity.startswith(found["hex"])]
        fitting = fitting or [a for a in history if _recipe(a).identity.startswith(found["hex"])]
        if len(fitting) != 1:
            there = ", ".join(a.identity[:12] for a in history)
            raise MixtureError(
                f"{len(fitting)} versions of {found['name']} begin with {found['hex']}; its identities are {there}"
            )
        return _mixture(store, fitting[0], current=fitting[0].identity == current.identity)
    back = int(found["back"] or 0)
    place = [a.identity for a in history].index(current.identity) - back
    if place < 0:
        raise MixtureError(f"{found['name']} has {len(history)} versions, so there is none {back} before the current")
    return _mixture(store, history[place], current=back == 0)


def every_mixture(store: ArtifactStore) -> Iterator[Mixture]:
    """Yield every version of every recipe that is still whole, by name, oldest first."""
    for asset in store.assets():
        if strategy_of(asset, RECIPES):
            current = store.current(asset)
            for artifact in store.history(asset):
                yield _mixture(store, artifact, current=current is not None and artifact.identity == current.identity)


def labelled_snapshots(store: ArtifactStore, mixture: Mixture) -> list[Labelled]:
    """Open the labels and documents that a mixture was computed over, by snapshot.

    Raises MixtureError when one of them is gone or torn.
    """
    if mixture.labels is None:
        raise MixtureError(f"the inventory that {mixture.key} was computed from is gone; materialize the recipe again")
    found: list[Labelled] = []
    for ref in mixture.labels:
        labels = _open(store, ref, mixture)
        shards = next((r for r in labels.manifest.inputs if r.asset == RAW_SHARDS), None)
        if shards is None:
            raise MixtureError(
                f"{ref.key} of {mixture.key} names no {RAW_SHARDS} among its inputs; materialize it again"
            )
        found.append(Labelled(str(ref.partition), labels, _open(store, shards, mixture)))
    return found


def orders_of(store: ArtifactStore, mixture: Mixture) -> list[Artifact]:
    """Return the training orders of exactly this version of a recipe, oldest first."""
    name = result_of(ORDERS, mixture.name)
    made = store.history(name) if name in store.assets() else []
    return [
        order
        for order in made
        if any(r.asset == mixture.artifact.manifest.asset and r.identity == mixture.artifact.identity
               for r in order.manifest.inputs)
    ]  # fmt: skip


def lineage_of(store: ArtifactStore, name: str) -> Lineage:
    """Return the lineage of a mixture, or of the current artifact of any asset that is named in full.

    Raises MixtureError when there is no such mixture or asset.
    """
    if name in store.assets() and not strategy_of(name, RECIPES):
        if store.pointer(name) is None:
            raise MixtureError(f"{name} has a version for each snapshot and none over all; name a mixture instead")
        return walk(store, name)
    mixture = find_mixture(store, name)
    return walk(store, mixture.artifact.manifest.asset, identity=mixture.artifact.identity)


def part_files(artifact: Artifact) -> list[Path]:
    """Return the ``part-*.parquet`` of a ``raw_shards`` or ``training_order`` artifact, in order."""
    names = sorted(file.path for file in artifact.manifest.outputs)
    return [artifact.path / name for name in names if name.startswith("part-") and name.endswith(".parquet")]


def _mixture(store: ArtifactStore, artifact: Artifact, *, current: bool) -> Mixture:
    inventory = next((ref for ref in artifact.manifest.inputs if ref.asset == DOMAIN_INVENTORY), None)
    found = store.examine(DOMAIN_INVENTORY, inventory.identity or "")[0] if inventory is not None else None
    return Mixture(
        name=str(strategy_of(artifact.manifest.asset, RECIPES)),
        artifact=artifact,
        recipe=_recipe(artifact),
        labels=tuple(ref for ref in found.manifest.inputs if ref.asset == STUDENT_LABELS)
        if found is not None
        else None,
        current=current,
    )


def _recipe(artifact: Artifact) -> Recipe:
    return Recipe.read(artifact.path / RECIPE_NAME)


def _open(store: ArtifactStore, ref: InputRef, mixture: Mixture) -> Artifact:
    found, torn = store.examine(ref.asset, ref.identity or "", ref.partition)
    if found is None:
        purge = Purges(store.root).of_result(ref.asset, ref.identity or "", ref.partition)
        why = f"it was {purge}" if purge is not None else "; ".join(torn) or "it is not in the store"
        raise MixtureError(f"{ref.key}, which {mixture.key} was computed from, cannot be read: {why}")
    return found


def _recipes_of(store: ArtifactStore) -> str:
    names = [name for asset in store.assets() if (name := strategy_of(asset, RECIPES))]
    return f"Recipes: {', '.join(names)}" if names else "No recipe has been made yet; make some with gem run"
