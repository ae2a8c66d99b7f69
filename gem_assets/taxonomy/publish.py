"""The taxonomy as an artifact: the JSON, its table, a page to read and a map to look at.

Writes ``taxonomy.json``, ``taxonomy.parquet``, ``map.png`` (seed documents between the centres of their clusters),
``tree.png`` (clusters and their parents, where there are any) and ``taxonomy.html``, one self-contained page.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from gem_assets.report.plots import cluster_map
from gem_assets.taxonomy.config import TaxonomyConfig
from gem_assets.taxonomy.llm_namer import LlmNamer, Namer
from gem_assets.taxonomy.page import taxonomy_page
from gem_assets.taxonomy.refit import RefitRecord, refit_record
from gem_assets.taxonomy.taxonomy import TAXONOMY_NAME, Taxonomy, build_taxonomy
from gem_assets.taxonomy.tree import taxonomy_tree
from gem_assets.teacher.crosswalk import Crosswalk
from gem_assets.teacher.refit import Domains
from gem_assets.teacher.seed_documents import SeedDocuments

PAGE_NAME = "taxonomy.html"
TREE_NAME = "tree.png"


def namer_of(config: TaxonomyConfig, cache: Path) -> Namer | None:
    """Return the language model namer that the settings ask for, or None."""
    return LlmNamer(config.namer, cache) if config.namer is not None else None


@dataclass(frozen=True)
class Refitted:
    """Where a refitted teacher's clusters come from."""

    walk: Crosswalk
    domains: Domains
    old_ids: tuple[int, ...]
    previous: Taxonomy | None

    def record(self) -> RefitRecord:
        """What the refit did, for the taxonomy."""
        before = self.previous
        names = {c.domain: c.name for c in before.clusters} if before is not None else {}
        return refit_record(self.walk, self.old_ids, before.version if before is not None else None, names)


def refitted(teacher: Path, previous_teacher: Path, previous: Taxonomy | None) -> Refitted:
    """Read how a refitted teacher relates to the one before it, from their artifacts."""
    walk = Crosswalk.read(teacher)
    k_old, k_new = walk.mass.shape
    return Refitted(walk, Domains.read(teacher, k_new), Domains.read(previous_teacher, k_old).ids, previous)


def publish_taxonomy(
    seed: SeedDocuments,
    config: TaxonomyConfig,
    out: Path,
    *,
    version: str,
    namer: Namer | None = None,
    lineage: Refitted | None = None,
) -> Taxonomy:
    """Build the taxonomy of a teacher from its seed documents and write it into ``out``.

    With ``lineage`` names are carried over by domain id, and what the refit did is written down.
    """
    teacher = seed.teacher
    previous = lineage.previous if lineage is not None else None
    taxonomy = build_taxonomy(
        seed.table,
        seed.vectors,
        teacher.mu_,
        teacher.kappa_,
        config,
        version=version,
        namer=namer,
        previous=previous,
        domains=lineage.domains.ids if lineage is not None else None,
        refit=lineage.record() if lineage is not None else None,
    )
    taxonomy.write(out / TAXONOMY_NAME)
    pq.write_table(taxonomy.to_table(), out / "taxonomy.parquet", compression="zstd")
    names = [cluster.name for cluster in taxonomy.clusters]
    picture = cluster_map(seed.vectors, seed.table.column("label").to_numpy(), names)
    (out / "map.png").write_bytes(picture)
    tree = None
    if taxonomy.hierarchy is not None:
        tree = taxonomy_tree(taxonomy.hierarchy, names, [cluster.share for cluster in taxonomy.clusters])
        (out / TREE_NAME).write_bytes(tree)
    (out / PAGE_NAME).write_text(taxonomy_page(taxonomy, picture, tree), encoding="utf-8")
    return taxonomy
