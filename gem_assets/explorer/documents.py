"""The labelled documents in force, one row each, and their texts; what was taken down is in neither.

The table holds what can be drawn or counted. Addresses and texts are read for the rows that a person opens.
"""

# pyarrow.compute makes its functions at import
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gem_assets.corpus.recrawls import Selection
from gem_assets.corpus.sampling import in_sample, sample_threshold
from gem_assets.corpus.schema import DOCUMENT_SCHEMA
from gem_assets.stages import PAGE_HISTORY, RAW_SHARDS, STUDENT_LABELS
from gem_assets.storage.manifest import InputRef
from gem_assets.storage.store import Store, shard_files
from gem_assets.student.schema import LABEL_SCHEMA
from gem_assets.takedown.blocklist import Matcher, blocklist_of

MOST_POINTS: Final = 1_000_000
"""Documents that the map shows; of a larger corpus a seeded sample of that many."""
MOST_CHARACTERS: Final = 20_000
"""Of one text that are sent; a person asks for more with the document's own page."""
COLUMNS: Final = ("doc_id", "snapshot", "cluster", "confidence", "lang", "source", "n_tokens")
_SCHEMA: Final = pa.schema([LABEL_SCHEMA.field(name) for name in COLUMNS])
_TEXT: Final = ["doc_id", "snapshot", "url", "source", "lang", "date", "license", "n_tokens", "content_digest", "text"]
_SEED: Final = 0


class TakenDown:
    """Tells which rows must not be shown: what the list of takedowns names, whether or not it has been acted on.

    Raises
    ------
    BlocklistError
        When the list is damaged; then nothing can be shown.
    """

    def __init__(self, root: str) -> None:
        found = blocklist_of(root)
        requests = found.requests() if found is not None else []
        self.documents = pa.array(sorted({name for one in requests for name in one.documents}), pa.string())
        self._matcher = Matcher(entry for one in requests for entry in one.all_entries)

    def kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch without them; looks at ``doc_id``, and at address, source and digest where it has them."""
        mask = pc.is_in(batch.column("doc_id"), value_set=self.documents).to_numpy(zero_copy_only=False)
        if self._matcher.entries and {"url", "source", "content_digest"} <= set(batch.schema.names):
            mask |= self._matcher(batch)
        return batch.filter(pa.array(~mask)) if mask.any() else batch


@dataclass(frozen=True)
class Documents:
    """Labelled documents in force.

    Attributes
    ----------
    rows
        Columns ``COLUMNS``, snapshot by snapshot.
    total
        Documents that there are; more than there are rows where these are a sample.
    """

    rows: pa.Table
    total: int

    @classmethod
    def read(cls, store: Store, labels: Sequence[InputRef], taken_down: TakenDown) -> "Documents":
        """Read the labels of the snapshots in force, as mixtures use them."""
        pages = store.artifacts.current(PAGE_HISTORY)
        scan = store.table_scan(labels)
        columns = [*COLUMNS, "url", "content_digest"]

        def used(wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
            batches: Iterable[pa.RecordBatch] = scan(wanted)
            return Selection.read(pages.path).used(batches) if pages is not None else iter(batches)

        total = sum(ref.rows or 0 for ref in labels)
        threshold = None
        if total > MOST_POINTS:
            threshold = sample_threshold((b.column("doc_id") for b in used(["doc_id"])), MOST_POINTS, seed=_SEED)
        kept: list[pa.RecordBatch] = []
        total = 0
        for batch in used(columns):
            shown = taken_down.kept(batch)
            total += shown.num_rows
            inside = pa.array(in_sample(shown.column("doc_id"), threshold, seed=_SEED))
            kept.append(shown.filter(inside).select(list(COLUMNS)).cast(_SCHEMA))
        table = pa.Table.from_batches(kept, _SCHEMA)
        for name in ("snapshot", "lang", "source"):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, table.column(name).combine_chunks().dictionary_encode())
        return cls(table.combine_chunks(), total)

    def __len__(self) -> int:
        return self.rows.num_rows

    @property
    def clusters(self) -> NDArray[np.int64]:
        """Cluster of each row, ``(n,)``."""
        return self.rows.column("cluster").to_numpy().astype(np.int64)

    def of_cluster(self, cluster: int) -> NDArray[np.int64]:
        """Row numbers of a cluster."""
        return np.flatnonzero(self.clusters == cluster)

    def counted(self, cluster: int, column: str) -> list[dict[str, Any]]:
        """Count a cluster's documents and tokens by the values of a column, most tokens first."""
        own = self.rows.filter(pc.equal(self.rows.column("cluster"), cluster))
        grouped = pa.table({"value": own.column(column).cast(pa.string()), "tokens": own.column("n_tokens")})
        counts = grouped.group_by("value").aggregate([("tokens", "sum"), ("tokens", "count")])
        rows = [
            {"value": row["value"] or "", "documents": row["tokens_count"], "tokens": row["tokens_sum"]}
            for row in counts.to_pylist()
        ]
        return sorted(rows, key=lambda row: (-row["tokens"], row["value"]))

    def ids(self, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Snapshot and document id of some rows; those that do not exist are left out."""
        inside = [row for row in rows if 0 <= row < len(self)]
        found = self.rows.select(["snapshot", "doc_id"]).take(pa.array(inside, pa.int64()))
        return list(zip(found.column(0).to_pylist(), found.column(1).to_pylist(), strict=True))


def read_column(store: Store, documents: Documents, name: str) -> pa.Array:
    """Read a column of the document shards for each labelled document, null where a document has none.

    Parameters
    ----------
    name
        Of :data:`~gem_assets.corpus.schema.DOCUMENT_SCHEMA`.
    """
    snapshots = documents.rows.column("snapshot").cast(pa.string()).combine_chunks()
    kind = DOCUMENT_SCHEMA.field(name).type
    order, parts = [np.zeros(0, np.int64)], [pa.array([], kind)]
    for snapshot, shards in store.artifacts.snapshots(RAW_SHARDS).items():
        own = np.flatnonzero(pc.equal(snapshots, snapshot).to_numpy(zero_copy_only=False))
        files = shard_files(shards) if len(own) else ()
        if not files:
            continue
        found = pa.concat_tables([pq.read_table(path, columns=["doc_id", name]) for path in files])
        ids = documents.rows.column("doc_id").take(pa.array(own)).combine_chunks()
        places = pc.index_in(ids, value_set=found.column("doc_id").combine_chunks())
        order.append(own)
        parts.append(found.column(name).combine_chunks().take(places))
    values, rows = pa.concat_arrays(parts), np.concatenate(order)
    inverse = np.full(len(documents), -1, np.int64)
    inverse[rows] = np.arange(len(rows))
    return values.take(pa.array(inverse, mask=inverse < 0))


def read_texts(store: Store, wanted: Sequence[tuple[str, str]], taken_down: TakenDown) -> list[dict[str, Any]]:
    """Read documents with their texts, in the order asked for; what was taken down or is gone is left out.

    Parameters
    ----------
    wanted
        Pairs of snapshot and document id.
    """
    found: dict[str, dict[str, Any]] = {}
    for snapshot in dict.fromkeys(name for name, _ in wanted):
        artifact = store.artifacts.current(RAW_SHARDS, snapshot)
        ids = {doc for name, doc in wanted if name == snapshot} - found.keys()
        for path in shard_files(artifact) if artifact is not None and ids else ():
            file = pq.ParquetFile(path)
            names = pa.array(sorted(ids), pa.string())
            for group in range(file.metadata.num_row_groups):
                mask = pc.is_in(file.read_row_group(group, ["doc_id"]).column(0), value_set=names)
                if not pc.any(mask).as_py():
                    continue
                rows = file.read_row_group(group, _TEXT).filter(mask).combine_chunks()
                for batch in rows.to_batches():
                    found |= {row["doc_id"]: _shortened(row) for row in taken_down.kept(batch).to_pylist()}
            if ids <= found.keys():
                break
    return [found[doc] for _, doc in wanted if doc in found]


def labels_in_force(store: Store) -> list[InputRef]:
    """Pin the labels of every snapshot."""
    return [found.ref() for found in store.artifacts.snapshots(STUDENT_LABELS).values()]


def _shortened(row: dict[str, Any]) -> dict[str, Any]:
    text = row["text"]
    return {**row, "text": text[:MOST_CHARACTERS], "characters": len(text)}
