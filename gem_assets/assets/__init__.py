"""The asset graph, one file per stage."""

from gem_assets.assets.carried_evidence import carried_evidence
from gem_assets.assets.cluster_report import cluster_report
from gem_assets.assets.corpus_map import corpus_map
from gem_assets.assets.domain_inventory import domain_inventory
from gem_assets.assets.drift import drift, drift_statistics
from gem_assets.assets.embedding_space import embedding_space
from gem_assets.assets.embeddings import embeddings
from gem_assets.assets.gis_taxonomy import gis_taxonomy
from gem_assets.assets.page_history import page_history
from gem_assets.assets.proxies import cluster_counts, proxy_swarm, proxy_tokens
from gem_assets.assets.raw_shards import blocklist, landing, raw_shards
from gem_assets.assets.recipe_confirmation import recipe_confirmation
from gem_assets.assets.recipe_report import recipe_report
from gem_assets.assets.recipes import recipe_nodes
from gem_assets.assets.student_labels import student_labels
from gem_assets.assets.student_model import student_model
from gem_assets.assets.teacher_clusters import teacher_clusters
from gem_assets.assets.training_order import mixture_audit, training_order

ALL_ASSETS = [
    landing,
    blocklist,
    raw_shards,
    page_history,
    embedding_space,
    embeddings,
    teacher_clusters,
    student_model,
    student_labels,
    drift_statistics,
    drift,
    gis_taxonomy,
    cluster_report,
    corpus_map,
    domain_inventory,
    carried_evidence,
    proxy_tokens,
    cluster_counts,
    proxy_swarm,
    *recipe_nodes,
    recipe_confirmation,
    recipe_report,
    training_order,
    mixture_audit,
]
