"""What all assets share: owners, the fan-in dependency, and small metadata helpers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from gem_assets.orchestration.places import FAMILIES, NODE_OF, shown
from gem_assets.orchestration.plan import POLICY_TAG
from gem_assets.stages import AUDITS, EMBEDDINGS, ORDERS, POLICIES, result_of, strategy_of

if TYPE_CHECKING:
    from gem_assets.storage.manifest import InputRef
    from resources import StoreResource

OWNERS = ["team:data"]
GROUP_CORPUS, GROUP_CLUSTERS, GROUP_LABELS = "corpus", "clusters", "labels"
GROUP_MIXTURES, GROUP_EVIDENCE, GROUP_TRAINING = "mixtures", "evidence", "training"


def every_partition(asset: str) -> dg.AssetDep:
    """Depend on all partitions of an asset that exist, however many that is."""
    return dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping())


def each_recipe(strategies: Sequence[str]) -> list[dg.AssetDep]:
    """Depend on the recipe of the same strategy, which is a partition of the node of its family."""
    return [
        dg.AssetDep(node, partition_mapping=dg.StaticPartitionMapping({name: name for name in members}))
        for node, family in FAMILIES.items()
        if (members := [name for name in family if name in strategies])
    ]


def recipe_of(strategies: Mapping[str, Sequence[str]]) -> list[dg.AssetDep]:
    """Depend, as the strategies that are named, on the recipes that each is made from."""
    by_node: dict[str, dict[str, list[str]]] = {}
    for strategy, recipes in strategies.items():
        for recipe in recipes:
            by_node.setdefault(NODE_OF[recipe], {}).setdefault(recipe, []).append(strategy)
    return [
        dg.AssetDep(node, partition_mapping=dg.StaticPartitionMapping(mapping)) for node, mapping in by_node.items()
    ]


def refresh(asset: str) -> dict[str, str]:
    """Tags that name the policy of an asset, and that of single strategies where :data:`POLICIES` has another one."""
    own = {strategy: policy for name, policy in POLICIES.items() if (strategy := strategy_of(name, asset))}
    return policy_tags(POLICIES[asset], own)


def policy_tags(policy: str, of_strategy: Mapping[str, str]) -> dict[str, str]:
    """Tags that name a policy and that of single strategies; what each means is in ``orchestration.plan``."""
    return {POLICY_TAG: policy, **{f"{POLICY_TAG}.{name}": other for name, other in of_strategy.items()}}


def without_vector(store: "StoreResource", labels: Sequence["InputRef"]) -> int:
    """Count the documents of labelled snapshots that have no vector: they are labelled, but no fit has seen them."""
    found = (store.artifacts.current(EMBEDDINGS, ref.partition) for ref in labels)
    return sum(one.manifest.counts.get("without_vector", 0) for one in found if one is not None)


def picture(folder: Path, name: str, alt: str) -> dg.MetadataValue:
    """Show a PNG of an artifact inline on the asset's page."""
    from gem_assets.report.plots import markdown_image

    return dg.MetadataValue.md(markdown_image((folder / name).read_bytes(), alt))


def page_link(folder: Path, name: str) -> dg.MetadataValue:
    """Link a file of an artifact, ``<root>/artifacts/<asset>/<snapshot>/<identity>``, as ``gem dev`` shows it."""
    from gem_assets.orchestration.links import artifact_url

    return dg.MetadataValue.url(artifact_url(folder, name))


def audit_links(strategy: str) -> dict[str, dg.MetadataValue]:
    """Link the order and the audit in force of a mixture from another artifact of the same data root.

    A recipe is made before either. So the links lead to what is in force when they are followed, and beside them stands
    the command that makes what is not there yet.
    """
    from gem_assets.orchestration.links import EXPLORER, current_url

    asset, node = result_of(AUDITS, strategy), shown((result_of(ORDERS, strategy), None))[0]
    forms = {"audit": "index.html", "data_card": "data_card.html", "eu_summary": "eu_summary.html"}
    return {
        "explorer": dg.MetadataValue.url(f"{EXPLORER}/#/mix?from={strategy}"),
        "order": dg.MetadataValue.asset(node),
        **{name: dg.MetadataValue.url(current_url(asset, file)) for name, file in forms.items()},
        "order_and_audit_made_by": dg.MetadataValue.text(f"gem audit {strategy}"),
    }


def table(rows: Sequence[Mapping[str, Any]] | Any, columns: Sequence[str] | None = None) -> dg.MetadataValue:
    """Show rows as a table, columns in the order given (or as they come); values are reduced to what a cell shows.

    Numbers keep four significant digits, or all of their whole part; the artifact keeps the rest.
    """

    def cell(value: Any) -> str | int | float | bool:
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # as a number it is no JSON, and the interface could not show the page
        if isinstance(value, float):
            return float(f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}")
        if isinstance(value, Mapping):
            return ", ".join(f"{name} {cell(count)}" for name, count in value.items())
        if isinstance(value, list | tuple):
            return "; ".join(str(cell(item)) for item in value)
        return value if isinstance(value, str | int | float | bool) else "" if value is None else str(value)

    if not rows:
        return dg.MetadataValue.text("none")
    shown = list(columns or rows[0])
    return dg.MetadataValue.table([dg.TableRecord({name: cell(row[name]) for name in shown}) for row in rows])
