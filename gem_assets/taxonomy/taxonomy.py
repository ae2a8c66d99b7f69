"""The taxonomy: every cluster with its name, words, exemplars, neighbours and figures, as one versioned
artifact.

Reads a sample of documents with their vectors and teacher responsibilities, writes one JSON. Names of
clusters that an earlier taxonomy knows are kept, so a page, a recipe or a conversation that mentions one
stays true after a refit.

Cost: the neighbour search of ``gis`` and the keyword pass; seconds for 50,000 documents.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gem_assets.frozen import Frozen
from gem_assets.storage.identity import canonical_json
from gem_assets.taxonomy.config import TaxonomyConfig
from gem_assets.taxonomy.gis import geometric_influence, select_exemplars
from gem_assets.taxonomy.hierarchy import Hierarchy, cluster_resultants
from gem_assets.taxonomy.keywords import cluster_keywords
from gem_assets.taxonomy.llm_namer import PROMPT_VERSION, ClusterBrief, Namer
from gem_assets.taxonomy.naming import slugs
from gem_assets.taxonomy.naming_round import Named, give_names
from gem_assets.taxonomy.parents import Leaf, build_hierarchy
from gem_assets.taxonomy.refit import RefitRecord

TAXONOMY_NAME = "taxonomy.json"
SNIPPET = 160
TOP_VALUES = 5
_BRIEF_SNIPPET = 4000
_COLUMNS = ("doc_id", "text", "url", "source", "lang", "label", "log_responsibility", "log_density")

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Exemplar(Frozen):
    """A document that speaks for its cluster."""

    doc_id: str
    url: str | None
    source: str
    gis: Finite
    snippet: Annotated[str, Field(max_length=SNIPPET)]


class Neighbour(Frozen):
    """Another cluster and the cosine of the two mean directions."""

    cluster: int
    cosine: Annotated[float, Field(ge=-1.0001, le=1.0001)]


class Portion(Frozen):
    """A value and the share of the cluster's documents that have it."""

    value: str
    share: Annotated[float, Field(ge=0, le=1)]


class Cluster(Frozen):
    """One cluster as a person meets it.

    Attributes
    ----------
    id, slug, name
        Number of the teacher's component, an ASCII identifier, and the name; each unique in its taxonomy.
    domain
        Id that outlives refits: never given to another cluster. Equal to ``id`` until a cluster dies.
    keywords
        Best first; see ``keywords.cluster_keywords``.
    coherence
        Mean cosine of the documents to the mean direction.
    """

    id: Annotated[int, Field(ge=0)]
    domain: Annotated[int, Field(ge=0)]
    slug: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    name: Annotated[str, Field(min_length=1)]
    named_by: Literal["keywords", "model", "previous"]
    description: str
    documents: Annotated[int, Field(ge=0)]
    share: Annotated[float, Field(ge=0, le=1)]
    keywords: tuple[str, ...]
    exemplars: tuple[Exemplar, ...]
    neighbours: tuple[Neighbour, ...]
    coherence: Finite
    kappa: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    languages: tuple[Portion, ...]
    sources: tuple[Portion, ...]


class Taxonomy(BaseModel):
    """All clusters of one teacher, ordered by id.

    Attributes
    ----------
    version
        Identity under which the caller stores this taxonomy; recipes refer to it.
    namer
        ``keywords``, or the model and the version of the prompt that named what ``named_by`` says it named.
    refit
        What the last refit did to the clusters; None after a first fit.
    hierarchy
        Parents above the clusters; None where there are too few clusters or none are wanted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    format: Annotated[int, Field(ge=1, le=1)] = 1
    version: Annotated[str, Field(min_length=1)]
    documents: Annotated[int, Field(ge=0)]
    gis: Literal["zscore", "literal"]
    beta: float
    namer: str
    clusters: tuple[Cluster, ...]
    refit: RefitRecord | None = None
    hierarchy: Hierarchy | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if [c.id for c in self.clusters] != list(range(len(self.clusters))):
            raise ValueError("the clusters of a taxonomy must be numbered 0..K-1 in order")
        for what in ("name", "slug", "domain"):
            values = [str(getattr(c, what)).casefold() for c in self.clusters]
            doubled = [v for v, count in Counter(values).items() if count > 1]
            if doubled:
                raise ValueError(f"two clusters share the {what} {doubled[0]!r}")
        if self.hierarchy is not None:
            held = sorted(c for parent in self.hierarchy.parents for c in parent.clusters)
            if held != list(range(len(self.clusters))):
                raise ValueError("every cluster of a taxonomy must have one parent")
        return self

    @property
    def names(self) -> dict[int, str]:
        """Name of every cluster id."""
        return {c.id: c.name for c in self.clusters}

    def write(self, path: Path) -> None:
        """Write as JSON; the same taxonomy gives the same bytes."""
        path.write_text(canonical_json(self, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check; the error names the file."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} is not a valid taxonomy: {error}") from error

    def to_table(self) -> pa.Table:
        """One row per cluster with its parent's name, the figures, and keywords and neighbours as one string each."""
        above = self.hierarchy.parent_of() if self.hierarchy is not None else {}
        names = self.names
        rows = [
            {
                "cluster": c.id,
                "name": c.name,
                "parent": above[c.id].name if c.id in above else None,
                "documents": c.documents,
                "share": c.share,
                "coherence": c.coherence,
                "kappa": c.kappa,
                "keywords": ", ".join(c.keywords),
                "neighbours": ", ".join(f"{names[n.cluster]} {n.cosine:.2f}" for n in c.neighbours),
            }
            for c in self.clusters
        ]
        schema = pa.schema(
            [
                ("cluster", pa.int16()),
                ("name", pa.string()),
                ("parent", pa.string()),
                ("documents", pa.int64()),
                ("share", pa.float64()),
                ("coherence", pa.float64()),
                ("kappa", pa.float64()),
                ("keywords", pa.string()),
                ("neighbours", pa.string()),
            ]
        )
        return pa.Table.from_pylist(rows, schema=schema)


def build_taxonomy(
    sample: pa.Table,
    vectors: NDArray[np.float32],
    mu: NDArray[np.floating[Any]],
    kappa: NDArray[np.floating[Any]],
    config: TaxonomyConfig,
    *,
    version: str,
    namer: Namer | None = None,
    previous: Taxonomy | None = None,
    domains: Sequence[int] | None = None,
    refit: RefitRecord | None = None,
) -> Taxonomy:
    """Describe and name the clusters of a teacher.

    Raises ValueError if columns are missing, lengths differ, ids repeat or a label lies outside ``0..K-1``.

    Parameters
    ----------
    sample
        Columns ``doc_id``, ``text``, ``url``, ``source``, ``lang``, ``label`` (hard cluster),
        ``log_responsibility`` and ``log_density`` (of the hard cluster). The order of the rows does not
        matter.
    vectors
        Unit rows in the order of ``sample``, float32 ``(n, d)``.
    mu, kappa
        Mean directions ``(K, d)`` and concentrations ``(K,)`` of the teacher.
    namer
        Asked for the clusters that ``previous`` does not name; a cluster it has no name for keeps the plain
        one.
    previous
        Earlier taxonomy; names and descriptions of clusters with the same domain id are kept.
    domains
        Domain id of each component; its index when absent.
    """
    n_clusters = len(mu)
    rows = _checked_rows(sample, vectors, n_clusters)
    scores = geometric_influence(rows.vectors, rows.labels, rows.log_responsibility, rows.log_density, config)
    chosen = select_exemplars(
        scores,
        rows.labels,
        rows.vectors,
        config.exemplars,
        config.duplicate_cosine,
        rows.texts,
        config.duplicate_words,
    )
    members = [_in_reading_order(rows, k) for k in range(n_clusters)]
    weighted = cluster_keywords({k: [rows.texts[i] for i in members[k]] for k in range(n_clusters)}, config)
    keywords = {k: [term for term, _ in weighted[k]] for k in range(n_clusters)}
    briefs = [
        ClusterBrief(
            cluster=k,
            keywords=tuple(keywords[k]),
            snippets=tuple(_one_line(rows.texts[i], _BRIEF_SNIPPET) for i in chosen.get(k, [])),
        )
        for k in range(n_clusters)
    ]
    lasting = list(range(n_clusters)) if domains is None else [int(d) for d in domains]
    names = give_names(briefs, _known(previous, lasting), namer, config.name_words)
    slug = slugs({k: names[k].name for k in names})
    directions = np.asarray(mu, np.float64)
    resultants = cluster_resultants(rows.vectors, rows.labels, directions)
    hierarchy = build_hierarchy(
        [
            Leaf(lasting[k], names[k].name, names[k].description, [rows.texts[i] for i in members[k]], resultants[k])
            for k in range(n_clusters)
        ],
        config,
        namer,
        previous.hierarchy if previous is not None else None,
    )
    cosines = directions @ directions.T
    clusters = [
        Cluster(
            id=k,
            domain=lasting[k],
            slug=slug[k],
            name=names[k].name,
            named_by=names[k].named_by,
            description=names[k].description,
            documents=len(members[k]),
            share=len(members[k]) / max(1, len(rows.labels)),
            keywords=tuple(keywords[k]),
            exemplars=tuple(_exemplar(rows, i, float(scores[i])) for i in chosen.get(k, [])),
            neighbours=_neighbours(cosines[k], k, config.neighbours),
            coherence=_coherence(rows.vectors[members[k]], directions[k]),
            kappa=float(kappa[k]),
            languages=_portions([rows.langs[i] for i in members[k]]),
            sources=_portions([rows.sources[i] for i in members[k]]),
        )
        for k in range(n_clusters)
    ]
    return Taxonomy(
        version=version,
        documents=len(rows.labels),
        gis=config.gis,
        beta=config.beta,
        namer=namer_version(config) if namer is not None else "keywords",
        clusters=tuple(clusters),
        refit=refit,
        hierarchy=hierarchy,
    )


def namer_version(config: TaxonomyConfig) -> str:
    """Who names under these settings: ``keywords``, or the model with the version of its prompt."""
    return f"{config.namer.model}, prompt {PROMPT_VERSION}" if config.namer is not None else "keywords"


@dataclass(frozen=True)
class _Rows:
    doc_ids: list[str]
    texts: list[str]
    urls: list[str | None]
    sources: list[str]
    langs: list[str]
    labels: NDArray[np.int64]
    log_responsibility: NDArray[np.float64]
    log_density: NDArray[np.float64]
    vectors: NDArray[np.float32]


def _checked_rows(sample: pa.Table, vectors: NDArray[np.float32], n_clusters: int) -> _Rows:
    missing = [c for c in _COLUMNS if c not in sample.column_names]
    if missing:
        raise ValueError(f"the sample has no column {', '.join(missing)}")
    if len(vectors) != sample.num_rows:
        raise ValueError(f"{len(vectors)} vectors for {sample.num_rows} documents")
    doc_ids: list[str] = sample.column("doc_id").to_pylist()
    # everything below follows this order, so the rows' order on disk leaves no trace
    order = np.array(sorted(range(len(doc_ids)), key=doc_ids.__getitem__), np.int64)
    doubled = [a for a, b in pairwise(order) if doc_ids[a] == doc_ids[b]]
    if doubled:
        raise ValueError(f"document {doc_ids[doubled[0]]} stands twice in the sample")
    ordered = sample.take(pa.array(order))
    labels = ordered.column("label").to_numpy().astype(np.int64)
    outside = (labels < 0) | (labels >= n_clusters)
    if np.any(outside):
        at = int(np.argmax(outside))
        raise ValueError(
            f"document {ordered.column('doc_id')[at]} has label {labels[at]}, the teacher has 0..{n_clusters - 1}"
        )
    return _Rows(
        doc_ids=ordered.column("doc_id").to_pylist(),
        texts=[t or "" for t in ordered.column("text").to_pylist()],
        urls=ordered.column("url").to_pylist(),
        sources=[s or "unknown" for s in ordered.column("source").to_pylist()],
        langs=[v or "und" for v in ordered.column("lang").to_pylist()],
        labels=labels,
        log_responsibility=ordered.column("log_responsibility").to_numpy().astype(np.float64),
        log_density=ordered.column("log_density").to_numpy().astype(np.float64),
        vectors=np.ascontiguousarray(vectors[order], dtype=np.float32),
    )


def _in_reading_order(rows: _Rows, cluster: int) -> NDArray[np.int64]:
    """Rows of a cluster; document ids are digests, so their order is as good as a shuffle."""
    return np.flatnonzero(rows.labels == cluster)


def _known(previous: Taxonomy | None, domains: Sequence[int]) -> dict[int, Named]:
    """Names that an earlier taxonomy gave, by the index that their domain has now."""
    by_domain = {c.domain: c for c in previous.clusters} if previous is not None else {}
    return {
        k: Named(by_domain[d].name, by_domain[d].description, "previous")
        for k, d in enumerate(domains)
        if d in by_domain
    }


def _exemplar(rows: _Rows, row: int, score: float) -> Exemplar:
    return Exemplar(
        doc_id=rows.doc_ids[row],
        url=rows.urls[row],
        source=rows.sources[row],
        gis=score,
        snippet=_one_line(rows.texts[row], SNIPPET),
    )


def _one_line(text: str, length: int) -> str:
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def _neighbours(cosines: NDArray[np.float64], cluster: int, count: int) -> tuple[Neighbour, ...]:
    order = [int(k) for k in np.argsort(-cosines, kind="stable") if k != cluster]
    return tuple(Neighbour(cluster=k, cosine=float(cosines[k])) for k in order[:count])


def _coherence(vectors: NDArray[np.float32], direction: NDArray[np.float64]) -> float:
    return float(np.mean(vectors.astype(np.float64) @ direction)) if len(vectors) else 0.0


def _portions(values: Sequence[str]) -> tuple[Portion, ...]:
    counts = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
    return tuple(Portion(value=v, share=c / len(values)) for v, c in counts[:TOP_VALUES])
