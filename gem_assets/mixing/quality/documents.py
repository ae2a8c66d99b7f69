"""The documents that proxies are trained on, with their scores, each standing for a part of its cluster.

``proxy_tokens`` holds at most so many tokens of a cluster, chosen by document id. A method that chooses documents
chooses among those, and what it takes of them is what it takes of the cluster: each stands for the same number of the
cluster's tokens per token of its own.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.mixing.config import ScoreConfig
from gem_assets.mixing.quality.raters import RATERS, rate
from gem_assets.mixing.quality.scores import DocumentScores, ScoreFileError, check_scores, read_scores
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.proxy.contents import DOCUMENTS
from gem_assets.proxy.pool import PoolError, TokenPool
from gem_assets.proxy.tokens import EncodedDocuments, ProxyTokenizer
from gem_assets.types import Floats

BUILT_IN = "built-in, simple"


@dataclass(frozen=True)
class ScoredDocuments:
    """Documents that can be chosen.

    Attributes
    ----------
    doc_ids
        Their ids, n of them.
    rows : int64 array, shape (n,)
        Positions among the prepared documents, of which there are ``prepared``, in ``domains`` clusters.
    tokens : int64 array, shape (n,)
        Tokens of the inventory that each stands for.
    raters, scores
        Names of the raters, and scores ``(n, S)``, higher is better.
    origin
        :data:`BUILT_IN`, or the name of the file.
    """

    doc_ids: tuple[str, ...]
    rows: NDArray[np.int64]
    prepared: int
    domains: int
    clusters: NDArray[np.int64]
    tokens: NDArray[np.int64]
    raters: tuple[str, ...]
    scores: Floats
    origin: str
    faults: tuple[str, ...] = ()

    def over_prepared(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Spread one number per document over all prepared ones, ``(prepared,)``, 0 for those that cannot be chosen."""
        out = np.zeros(self.prepared, np.int64)
        out[self.rows] = values
        return out

    def shares(self, weights: Floats) -> Floats:
        """Token shares ``(domains,)`` of the clusters when document i is taken ``weights[i]`` times on average."""
        given = np.bincount(self.clusters, self.tokens * weights, minlength=self.domains)
        return given / given.sum()


def load_scored(prepared: Path, supply: ClusterSupply, config: ScoreConfig) -> ScoredDocuments:
    """Read the prepared documents and score them.

    A cluster without prepared text, or whose text has gone since, has no document here and can get no share. The last
    document of a cluster may be cut; it is scored as far as it is there by the built-in raters.

    Raises
    ------
    PoolError
        When the folder does not say of which documents its tokens are.
    ScoreFileError
        When the scores are unusable, or a cluster is left without a scored document.
    """
    pool, table = TokenPool.load(prepared), _documents(prepared)
    doc_ids = [str(name) for name in table.column("doc_id").to_pylist()]
    clusters = table.column("cluster").to_numpy().astype(np.int64)
    lengths = table.column("tokens").to_numpy().astype(np.int64)
    if lengths.sum() != len(pool.tokens):
        raise PoolError(f"{prepared / DOCUMENTS} is of {lengths.sum()} tokens, {len(pool.tokens)} are there")
    if len(supply.clusters) < pool.domains:
        raise PoolError(f"the tokens are of {pool.domains} clusters, the inventory of {len(supply.clusters)}")
    usable = np.flatnonzero((lengths > 0) & (supply.tokens[clusters] > 0))
    asked = [doc_ids[int(i)] for i in usable]
    if config.file is None:
        documents = EncodedDocuments(np.asarray(pool.tokens), np.concatenate([[0], np.cumsum(lengths)])).take(usable)
        tokenizer = ProxyTokenizer.load(prepared)
        texts = (tokenizer.decode(documents.document(i)) for i in range(len(documents)))
        # what a rater of ours cannot tell apart is not a fault of the user's
        found = check_scores(rate(texts, documents), asked, RATERS, "leave_out", where=BUILT_IN)
    else:
        found = read_scores(Path(config.file), asked, config.on_fault)
    return _standing_for(found, usable, doc_ids, clusters, lengths, supply, config, pool.domains)


def _standing_for(
    found: DocumentScores,
    usable: NDArray[np.int64],
    doc_ids: list[str],
    clusters: NDArray[np.int64],
    lengths: NDArray[np.int64],
    supply: ClusterSupply,
    config: ScoreConfig,
    domains: int,
) -> ScoredDocuments:
    rows = usable[found.rows]
    held = np.bincount(clusters[rows], lengths[rows], minlength=len(supply.clusters))
    without = np.setdiff1d(clusters[usable], clusters[rows])
    if len(without):
        raise ScoreFileError(
            f"{config.file}: no document of cluster {', '.join(map(str, without))} has a score; score some of each "
            "cluster that has text"
        )
    stands_for = supply.tokens / np.where(held > 0, held, 1.0)
    tokens = np.maximum(np.rint(lengths[rows] * stands_for[clusters[rows]]), 1).astype(np.int64)
    return ScoredDocuments(
        doc_ids=tuple(doc_ids[int(i)] for i in rows),
        rows=rows,
        prepared=len(doc_ids),
        domains=domains,
        clusters=clusters[rows],
        tokens=tokens,
        raters=found.raters,
        scores=found.scores,
        origin=BUILT_IN if config.file is None else Path(config.file).name,
        faults=found.faults,
    )


def _documents(prepared: Path) -> pa.Table:
    if not (prepared / DOCUMENTS).is_file():
        raise PoolError(f"{prepared} lacks {DOCUMENTS}: it does not say of which documents it is; prepare it again")
    return pq.read_table(prepared / DOCUMENTS)
