"""The picture at the head of each asset's page, by asset; it shows the result in force."""

from collections.abc import Mapping
from typing import Final

import dagster as dg

from gem_assets.orchestration.links import EXPLORER, summary_url
from gem_assets.stages import (
    AUDITS,
    CLUSTER_REPORT,
    CORPUS_MAP,
    DOMAIN_INVENTORY,
    DRIFT,
    GIS_TAXONOMY,
    KEPT_CURRENT,
    ORDERS,
    PROXY_SWARM,
    RECIPE_REPORT,
    RECIPES,
    STUDENT_LABELS,
    STUDENT_MODEL,
    TEACHER_CLUSTERS,
    result_of,
)

PICTURES: Final[Mapping[str, tuple[str, str]]] = {
    CLUSTER_REPORT: (CLUSTER_REPORT, "comparison.png"),
    DOMAIN_INVENTORY: (DOMAIN_INVENTORY, "snapshots.png"),
    DRIFT: (DRIFT, "drift.png"),
    GIS_TAXONOMY: (GIS_TAXONOMY, "map.png"),
    ORDERS: (result_of(ORDERS, KEPT_CURRENT), "shares.png"),
    PROXY_SWARM: (PROXY_SWARM, "shares.png"),
    "recipe_counts": (result_of(RECIPES, "lexical"), "mixture.png"),
    RECIPE_REPORT: (RECIPE_REPORT, "shares.png"),
    "recipe_rules": (result_of(RECIPES, KEPT_CURRENT), "mixture.png"),
    STUDENT_MODEL: (STUDENT_MODEL, "reliability.png"),
    TEACHER_CLUSTERS: (TEACHER_CLUSTERS, "shares.png"),
}
"""Result and file in it, by asset. For mixtures it is the one that is kept current."""
VIEWS: Final[Mapping[str, str]] = {
    AUDITS: "compare",
    CORPUS_MAP: "map",
    DOMAIN_INVENTORY: "",
    DRIFT: "history",
    GIS_TAXONOMY: "clusters",
    PROXY_SWARM: "mix",
    "recipe_counts": "mix",
    "recipe_learned": "mix",
    RECIPE_REPORT: "",
    "recipe_rules": "mix",
    STUDENT_LABELS: "map",
    TEACHER_CLUSTERS: "map",
}
"""View of the explorer that shows an asset's result, by asset."""


def with_picture(spec: dg.AssetSpec) -> dg.AssetSpec:
    """Put picture and link below the first paragraph of a description: the graph shows only its first line."""
    name = spec.key.to_user_string()
    shown, view = PICTURES.get(name), VIEWS.get(name)
    if shown is None and view is None:
        return spec
    first, _, rest = (spec.description or "").partition("\n\n")
    picture = f"![{shown[0]}]({summary_url(*shown)})" if shown is not None else ""
    link = f"[Open in the explorer]({EXPLORER}/#/{view})" if view is not None else ""
    return spec.replace_attributes(description="\n\n".join(filter(None, [first, picture, link, rest])))
