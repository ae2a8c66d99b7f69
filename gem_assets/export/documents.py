"""Documents of a recipe in random order within each cluster, so that exporters can write one cluster at a time.

Trainers that repeat nothing read a prefix of each cluster, so the order inside one must be random and must not depend
on the order of files: documents are sorted by a digest of (doc_id, seed), spilling to disk. Disk: the corpus once.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gem_assets.export.config import ExportConfig
from gem_assets.export.ledger import Ledger
from gem_assets.export.report import ExportError
from gem_assets.export.tokens import TextTokenizer
from gem_assets.ordering.external import sort_batches
from gem_assets.ordering.hashing import document_keys, seeded
from gem_assets.ordering.plan import RunPlan

_SORTED = pa.schema(
    [
        ("index", pa.int32()),
        ("key", pa.uint64()),
        ("doc_id", pa.string()),
        ("text", pa.large_string()),
        ("n_tokens", pa.int64()),
        ("url", pa.string()),
    ]
)
_ROWS = 2048

NO_SHARE = "cluster without a share"
NO_TEXT = "no text"


@dataclass(frozen=True)
class Part:
    """Some documents of one cluster.

    Attributes
    ----------
    doc_ids, texts, urls
        (n,) ids, texts and URLs; None where the documents have no URL.
    lengths
        (n,) tokens, end-of-document token included.
    ids
        Token ids of all documents in a row, or None when there is no tokenizer.
    """

    doc_ids: list[str]
    texts: list[str]
    urls: list[str | None]
    lengths: npt.NDArray[np.int64]
    ids: npt.NDArray[np.uint32] | None


@dataclass
class Corpus:
    """The documents of an export.

    ``left_out`` counts documents not exported, by reason; it is complete once :meth:`clusters` has been read to its
    end.
    """

    documents: Iterable[pa.RecordBatch]
    plan: RunPlan
    config: ExportConfig
    tokenizer: TextTokenizer | None
    scratch: Path
    ledger: Ledger
    left_out: Counter[str] = field(default_factory=Counter[str])

    def clusters(self) -> Iterator[tuple[int, Iterator[Part]]]:
        """Pairs of a cluster's position in the plan and its documents; read each before asking for the next."""
        batches = sort_batches(
            self._checked(),
            _SORTED,
            ("index", "key", "doc_id"),
            scratch=self.scratch,
            memory_mb=self.config.memory_mb,
            threads=self.config.threads,
            rows=_ROWS,
        )
        for index, runs in groupby(self._runs(batches), key=lambda run: run[0]):
            yield index, (self._part(index, batch) for _, batch in runs)

    def _checked(self) -> Iterator[pa.RecordBatch]:
        needed = ["doc_id", "cluster", "text"] + ([] if self.tokenizer else ["n_tokens"])
        first = 0
        for batch in self.documents:
            missing = [name for name in needed if name not in batch.schema.names]
            if missing:
                raise ExportError(
                    f"documents from row {first} have no column {', '.join(missing)}; they have "
                    f"{', '.join(batch.schema.names)}"
                )
            for name in needed:
                if batch.column(name).null_count:
                    raise ExportError(
                        f"column {name} holds {batch.column(name).null_count} nulls among rows from {first}"
                    )
            yield self._keep(batch)
            first += batch.num_rows

    def _keep(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        clusters = self.plan.clusters
        cluster = batch.column("cluster").to_numpy()
        index = np.minimum(np.searchsorted(clusters, cluster), len(clusters) - 1)
        shared = clusters[index] == cluster
        full = pc.call_function("binary_length", [batch.column("text")]).to_numpy(zero_copy_only=False) > 0
        self.left_out[NO_SHARE] += int((~shared).sum())
        self.left_out[NO_TEXT] += int((shared & ~full).sum())
        rows = np.flatnonzero(shared & full)
        chosen = batch.take(pa.array(rows))
        doc_id = chosen.column("doc_id").cast(pa.string())
        n_tokens = (
            pa.array(np.zeros(len(rows), dtype=np.int64))
            if "n_tokens" not in batch.schema.names
            else chosen.column("n_tokens").cast(pa.int64())
        )
        url = chosen.column("url") if "url" in batch.schema.names else pa.nulls(len(rows))
        return pa.record_batch(
            [
                pa.array(index[rows].astype(np.int32)),
                pa.array(seeded(document_keys(doc_id), self.config.seed)),
                doc_id,
                chosen.column("text").cast(pa.large_string()),
                n_tokens,
                url.cast(pa.string()),
            ],
            schema=_SORTED,
        )

    @staticmethod
    def _runs(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Cut batches where the cluster changes; a document that comes twice is refused."""
        last: str | None = None
        for batch in batches:
            doc_ids = [last, *batch.column("doc_id").to_pylist()]
            twice = next((a for a, b in pairwise(doc_ids) if a == b), None)
            if twice is not None:
                raise ExportError(f"document {twice} comes twice; give each doc_id once")
            last = doc_ids[-1]
            index = batch.column("index").to_numpy()
            edges = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(index)]
            for start, stop in pairwise(edges):
                yield int(index[start]), batch.slice(start, stop - start)

    def _part(self, index: int, batch: pa.RecordBatch) -> Part:
        texts, doc_ids = batch.column("text").to_pylist(), batch.column("doc_id").to_pylist()
        if self.tokenizer is not None:
            ids, lengths = self.tokenizer.encode(texts)
        else:
            ids, lengths = None, batch.column("n_tokens").to_numpy() + 1
        self.ledger.add(int(self.plan.clusters[index]), doc_ids, texts, lengths, ids)
        return Part(
            doc_ids=doc_ids,
            texts=texts,
            urls=batch.column("url").to_pylist(),
            lengths=lengths,
            ids=ids,
        )
