"""What the assets are called, which of them have one result per snapshot, and what each policy of refresh is for.

Every room imports the names from here. A name is also a folder of the store, so a new name leaves old results behind.
"""

from collections.abc import Mapping
from typing import Final, Literal

LANDING: Final = "landing"
BLOCKLIST: Final = "blocklist"
RAW_SHARDS: Final = "raw_shards"
PAGE_HISTORY: Final = "page_history"
EMBEDDING_SPACE: Final = "embedding_space"
EMBEDDINGS: Final = "embeddings"
TEACHER_CLUSTERS: Final = "teacher_clusters"
STUDENT_MODEL: Final = "student_model"
STUDENT_LABELS: Final = "student_labels"
DRIFT_STATISTICS: Final = "drift_statistics"
DRIFT: Final = "drift"
GIS_TAXONOMY: Final = "gis_taxonomy"
CLUSTER_REPORT: Final = "cluster_report"
CORPUS_MAP: Final = "corpus_map"
DOMAIN_INVENTORY: Final = "domain_inventory"
CARRIED_EVIDENCE: Final = "carried_evidence"
PROXY_TOKENS: Final = "proxy_tokens"
CLUSTER_COUNTS: Final = "cluster_counts"
PROXY_SWARM: Final = "proxy_swarm"
RECIPE_REPORT: Final = "recipe_report"
RECIPES: Final = "recipes"
"""Folder of the store; the graph shows a node for each family of methods."""
CONFIRMATIONS: Final = "recipe_confirmation"
ORDERS: Final = "training_order"
AUDITS: Final = "mixture_audit"

SNAPSHOT_WISE: Final = (RAW_SHARDS, EMBEDDINGS, STUDENT_LABELS, CLUSTER_COUNTS, DRIFT_STATISTICS)
"""Assets with one result per snapshot, in the order of the graph."""
GROWING: Final = (LANDING, PAGE_HISTORY, *SNAPSHOT_WISE)
"""What changes whenever a snapshot lands: a change in these alone never refits anything."""

SHARDED: Final = (
    RAW_SHARDS, EMBEDDINGS, STUDENT_LABELS, PROXY_TOKENS, CLUSTER_COUNTS, PROXY_SWARM, RECIPES, CONFIRMATIONS,
)  # fmt: skip
"""Assets that spread their work over shards, so that settings can say what a shard of theirs wants."""

Policy = Literal["content", "fan_in", "fitted", "by_hand"]
KEPT_CURRENT: Final = "balanced"
"""The mixture whose order and audit are made by themselves; those of the others are made when asked for, as an order is
as long as its mixture."""
POLICIES: Final[Mapping[str, Policy]] = {
    RAW_SHARDS: "content",
    PAGE_HISTORY: "fan_in",
    EMBEDDING_SPACE: "fitted",
    EMBEDDINGS: "content",
    TEACHER_CLUSTERS: "fitted",
    STUDENT_MODEL: "fitted",
    STUDENT_LABELS: "content",
    DRIFT_STATISTICS: "content",
    DRIFT: "fan_in",
    GIS_TAXONOMY: "fitted",
    CLUSTER_REPORT: "fitted",
    CORPUS_MAP: "fitted",
    DOMAIN_INVENTORY: "fan_in",
    CARRIED_EVIDENCE: "fan_in",
    PROXY_TOKENS: "fitted",
    CLUSTER_COUNTS: "content",
    PROXY_SWARM: "by_hand",
    RECIPE_REPORT: "fan_in",
    CONFIRMATIONS: "by_hand",
    ORDERS: "by_hand",
    AUDITS: "by_hand",
    f"{ORDERS}/{KEPT_CURRENT}": "fan_in",
    f"{AUDITS}/{KEPT_CURRENT}": "fan_in",
}
"""When an asset is made again by itself; the recipe of a method has the policy that its ``Method`` declares."""


def result_of(folder: str, strategy: str) -> str:
    """Return the store's name of what a node with a partition per strategy made, such as ``recipes/balanced``."""
    return f"{folder}/{strategy}"


def strategy_of(asset: str, *folders: str) -> str | None:
    """Return the strategy of a store's name below one of the folders, or None."""
    folder, _, strategy = asset.partition("/")
    return strategy if strategy and folder in folders else None
