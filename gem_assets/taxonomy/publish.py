"""The taxonomy as an artifact: the JSON, its table, a page to read and a map to look at.

Writes ``taxonomy.json``, ``taxonomy.parquet``, ``map.png`` (seed documents on two principal components) and
``taxonomy.html``, one self-contained page.
"""

from pathlib import Path

import pyarrow.parquet as pq

from gem_assets.report.pages import taxonomy_page
from gem_assets.report.plots import cluster_map
from gem_assets.taxonomy.config import TaxonomyConfig
from gem_assets.taxonomy.llm_namer import LlmNamer, Namer
from gem_assets.taxonomy.seed import SeedDocuments
from gem_assets.taxonomy.taxonomy import Taxonomy, build_taxonomy

TAXONOMY_NAME = "taxonomy.json"
PAGE_NAME = "taxonomy.html"


def namer_of(config: TaxonomyConfig, cache: Path) -> Namer | None:
    """Return the language model namer that the settings ask for, or None."""
    return LlmNamer(config.namer, cache) if config.namer is not None else None


def publish_taxonomy(
    seed: SeedDocuments,
    config: TaxonomyConfig,
    out: Path,
    *,
    version: str,
    namer: Namer | None = None,
    previous: Taxonomy | None = None,
) -> Taxonomy:
    """Build the taxonomy of a teacher from its seed documents and write it into ``out``."""
    teacher = seed.teacher
    taxonomy = build_taxonomy(
        seed.table,
        seed.vectors,
        teacher.mu_,
        teacher.kappa_,
        config,
        version=version,
        namer=namer,
        previous=previous,
    )
    taxonomy.write(out / TAXONOMY_NAME)
    pq.write_table(taxonomy.to_table(), out / "taxonomy.parquet", compression="zstd")
    names = [cluster.name for cluster in taxonomy.clusters]
    picture = cluster_map(seed.vectors, seed.table.column("label").to_numpy(), names)
    (out / "map.png").write_bytes(picture)
    (out / PAGE_NAME).write_text(taxonomy_page(taxonomy, picture), encoding="utf-8")
    return taxonomy
