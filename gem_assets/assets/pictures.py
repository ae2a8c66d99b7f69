"""The picture that the description of an asset shows: that of the result in force, above the fold of its page."""

from collections.abc import Mapping
from typing import Final

import dagster as dg

from gem_assets.orchestration.page_server import sight_url
from gem_assets.stages import (
    CLUSTER_REPORT,
    DOMAIN_INVENTORY,
    DRIFT,
    GIS_TAXONOMY,
    KEPT_CURRENT,
    ORDERS,
    PROXY_SWARM,
    RECIPE_REPORT,
    RECIPES,
    STUDENT_MODEL,
    TEACHER_CLUSTERS,
)

PICTURES: Final[Mapping[str, tuple[str, str]]] = {
    CLUSTER_REPORT: (CLUSTER_REPORT, "comparison.png"),
    DOMAIN_INVENTORY: (DOMAIN_INVENTORY, "snapshots.png"),
    DRIFT: (DRIFT, "drift.png"),
    GIS_TAXONOMY: (GIS_TAXONOMY, "map.png"),
    ORDERS: (f"{ORDERS}/{KEPT_CURRENT}", "shares.png"),
    PROXY_SWARM: (PROXY_SWARM, "shares.png"),
    "recipe_counts": (f"{RECIPES}/lexical", "mixture.png"),
    RECIPE_REPORT: (RECIPE_REPORT, "shares.png"),
    "recipe_rules": (f"{RECIPES}/{KEPT_CURRENT}", "mixture.png"),
    STUDENT_MODEL: (STUDENT_MODEL, "reliability.png"),
    TEACHER_CLUSTERS: (TEACHER_CLUSTERS, "shares.png"),
}
"""Result of the store and file in it, by node. Of mixtures it is the one that is kept current, or the best known."""


def with_picture(spec: dg.AssetSpec) -> dg.AssetSpec:
    """Put the picture below the first paragraph of a description: the graph shows its first line alone."""
    shown = PICTURES.get(spec.key.to_user_string())
    if shown is None:
        return spec
    first, _, rest = (spec.description or "").partition("\n\n")
    picture = f"![{shown[0]}]({sight_url(*shown)})"
    return spec.replace_attributes(description="\n\n".join(filter(None, [first, picture, rest])))
