"""What changed between two mixtures: shares, and which documents entered or left, and why.

The documents of a mixture are those of its training order, each with its repetitions, when both mixtures have one;
otherwise all that its recipe may draw: every labelled document of a cluster with a share. Each document that is in one
of the two only has the first of these reasons that holds:

``takedown``         it is on the blocklist, or its text was refused as blocked when the snapshot was read again
``new snapshot``     its snapshot is not among those of the older mixture
``snapshot removed`` its snapshot is not among those of the newer mixture
``snapshot changed`` its snapshot is in both and was read again with another result
``label change``     its cluster is another one
``weight change``    its cluster is the same and has other epochs
``draw``             none of these: the order drew other documents (another seed, score or curve)

Joins in DuckDB over the sorted files of :mod:`gem_assets.tracing.index`, which spill.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import duckdb
import pyarrow as pa

from gem_assets.frozen import Frozen
from gem_assets.lineage.mixtures import Labelled, Mixture, labelled_snapshots, orders_of
from gem_assets.storage.artifacts import Artifact, ArtifactStore
from gem_assets.tracing.index import MEMORY_MB, TraceIndex

REASONS = (
    "takedown", "new snapshot", "snapshot removed", "snapshot changed", "label change", "weight change", "draw",
)  # fmt: skip
MOST_EXAMPLES = 5


class Side(Frozen):
    """One of the two mixtures."""

    mixture: str
    identity: str
    recipe: str
    token_budget: int
    snapshots: tuple[str, ...]
    order: str | None
    documents: int
    exposures: int


class ShareChange(Frozen):
    """One cluster; a cluster that one side lacks has share 0 there."""

    cluster: int
    name: str
    share_before: float
    share_after: float
    change: float
    epochs_before: float
    epochs_after: float


class MovedDocument(Frozen):
    """One document that entered or left."""

    doc_id: str
    snapshot: str
    cluster_before: int | None
    cluster_after: int | None
    url: str | None


class Movement(Frozen):
    """Documents that entered or left for one reason; tokens count repetitions."""

    reason: str
    documents: int
    exposures: int
    tokens: int
    examples: tuple[MovedDocument, ...]


class MixtureDiff(Frozen):
    """All of it.

    Attributes
    ----------
    basis
        ``drawn`` when documents are those of training orders, ``candidates`` when they are all that may be drawn.
    total_variation
        Half the sum of absolute share changes.
    stayed
        Documents on both sides; ``shown_more`` and ``shown_less`` of them come more or less often than before.
    """

    before: Side
    after: Side
    basis: Literal["drawn", "candidates"]
    shares: tuple[ShareChange, ...]
    total_variation: float
    same_taxonomy: bool
    entered: tuple[Movement, ...]
    left: tuple[Movement, ...]
    stayed: int
    shown_more: int
    shown_less: int


def diff_mixtures(
    store: ArtifactStore, before: Mixture, after: Mixture, index: TraceIndex, blocked: Iterable[str] = ()
) -> MixtureDiff:
    """Compare two mixtures.

    ``blocked`` are ids of documents that were taken down.

    Raises MixtureError when labels or documents of one of them are gone.
    """
    sides = [(mixture, labelled_snapshots(store, mixture)) for mixture in (before, after)]
    orders = [orders_of(store, mixture) for mixture in (before, after)]
    drawn = all(orders)
    newest = [found[-1] if drawn else None for found in orders]
    with duckdb.connect(config={"memory_limit": f"{MEMORY_MB}MiB"}) as database:
        database.execute("SET enable_progress_bar = false")
        _register_blocked(database, [labelled for _, labelled in sides], index, blocked)
        for name, (mixture, labelled), order in zip(("a", "b"), sides, newest, strict=True):
            _register(database, name, mixture, labelled, order, index)
        database.execute(_MOVED)
        changes = before.recipe.diff(after.recipe)
        stayed = database.execute(
            "SELECT count(*), count(*) FILTER (b.times > a.times), count(*) FILTER (b.times < a.times) "
            "FROM shown_a a JOIN shown_b b USING (doc_id)"
        ).fetchone() or (0, 0, 0)
        urls = {item.snapshot: item for _, labelled in sides for item in labelled}
        return MixtureDiff(
            before=_side(database, "a", before, sides[0][1], newest[0]),
            after=_side(database, "b", after, sides[1][1], newest[1]),
            basis="drawn" if drawn else "candidates",
            shares=tuple(ShareChange.model_validate(row) for row in changes.table.to_pylist()),
            total_variation=changes.total_variation,
            same_taxonomy=changes.same_taxonomy,
            entered=tuple(_movements(database, "entered", index, urls)),
            left=tuple(_movements(database, "left", index, urls)),
            stayed=stayed[0],
            shown_more=stayed[1],
            shown_less=stayed[2],
        )


_MOVED = """
CREATE TABLE moved AS
WITH sides AS (
    SELECT doc_id, s.way, s.times,
           la.cluster AS cluster_before, lb.cluster AS cluster_after,
           coalesce(lb.snapshot, la.snapshot) AS snapshot,
           coalesce(la.n_tokens, lb.n_tokens) AS n_tokens
    FROM (
        SELECT doc_id, 'entered' AS way, times FROM shown_b ANTI JOIN shown_a USING (doc_id)
        UNION ALL
        SELECT doc_id, 'left', times FROM shown_a ANTI JOIN shown_b USING (doc_id)
    ) s
    LEFT JOIN labels_a la USING (doc_id) LEFT JOIN labels_b lb USING (doc_id)
)
SELECT sides.*, CASE
    WHEN way = 'left' AND doc_id IN (SELECT doc_id FROM blocked) THEN 'takedown'
    WHEN way = 'entered' AND cluster_before IS NULL AND snapshot NOT IN (SELECT snapshot FROM snapshots_a)
        THEN 'new snapshot'
    WHEN way = 'left' AND cluster_after IS NULL AND snapshot NOT IN (SELECT snapshot FROM snapshots_b)
        THEN 'snapshot removed'
    WHEN cluster_before IS NULL OR cluster_after IS NULL THEN 'snapshot changed'
    WHEN cluster_before <> cluster_after THEN 'label change'
    WHEN abs(coalesce(ea.epochs, 0) - coalesce(eb.epochs, 0)) > 1e-9 * greatest(ea.epochs, eb.epochs)
        THEN 'weight change'
    ELSE 'draw' END AS reason
FROM sides
LEFT JOIN epochs_a ea ON ea.cluster = cluster_before
LEFT JOIN epochs_b eb ON eb.cluster = cluster_after
"""


def _register(
    database: duckdb.DuckDBPyConnection,
    side: str,
    mixture: Mixture,
    labelled: Sequence[Labelled],
    order: Artifact | None,
    index: TraceIndex,
) -> None:
    """Make labels_, snapshots_, epochs_ and shown_ of one side."""
    parts: list[str] = []
    for number, item in enumerate(labelled):
        database.read_parquet(str(index.labels(item.labels).path)).create_view(f"part_{side}_{number}")
        # names of snapshots hold no quotes (``check_partition``)
        parts.append(f"SELECT doc_id, cluster, n_tokens, '{item.snapshot}' AS snapshot FROM part_{side}_{number}")  # noqa: S608
    # a text that two snapshots keep has one row here: it is one document
    database.execute(
        f"CREATE TABLE labels_{side} AS SELECT DISTINCT ON (doc_id) * FROM ({' UNION ALL '.join(parts)}) "  # noqa: S608
        "ORDER BY doc_id, snapshot"
    )
    snapshots = pa.table({"snapshot": pa.array([item.snapshot for item in labelled], pa.string())})
    database.register(f"snapshots_{side}", snapshots)
    entries = mixture.recipe.entries
    epochs = pa.table(
        {
            "cluster": pa.array([e.cluster for e in entries], pa.int16()),
            "epochs": pa.array([e.implied_epochs for e in entries], pa.float64()),
        }
    )
    database.register(f"epochs_{side}", epochs)
    if order is not None:
        database.read_parquet(str(index.positions(order).path)).create_view(f"order_{side}")
        query = f"SELECT doc_id, count(*) AS times FROM order_{side} GROUP BY doc_id"  # noqa: S608
    else:
        query = (
            f"SELECT doc_id, 1 AS times FROM labels_{side} l JOIN epochs_{side} e USING (cluster) WHERE e.epochs > 0"  # noqa: S608
        )
    database.execute(f"CREATE TABLE shown_{side} AS {query}")


def _register_blocked(
    database: duckdb.DuckDBPyConnection, sides: Sequence[Sequence[Labelled]], index: TraceIndex, blocked: Iterable[str]
) -> None:
    """Make the table of what was taken down: the list, and what a later reading refused as blocked."""
    database.register("listed", pa.table({"doc_id": pa.array(list(blocked), pa.string())}))
    refused: list[str] = []
    for number, item in enumerate(sides[1]):
        database.read_parquet(str(index.places(item.shards).path)).create_view(f"refused_{number}")
        refused.append(f"SELECT stands_for FROM refused_{number} WHERE kind = 'filtered: blocked'")  # noqa: S608
    union = " UNION ".join(["SELECT doc_id FROM listed", *refused])
    database.execute(f"CREATE TABLE blocked AS {union}")


def _side(
    database: duckdb.DuckDBPyConnection,
    side: str,
    mixture: Mixture,
    labelled: Sequence[Labelled],
    order: Artifact | None,
) -> Side:
    counted = database.execute(f"SELECT count(*), coalesce(sum(times), 0) FROM shown_{side}").fetchone() or (0, 0)  # noqa: S608
    return Side(
        mixture=mixture.name,
        identity=mixture.artifact.identity,
        recipe=mixture.recipe.identity,
        token_budget=mixture.recipe.token_budget,
        snapshots=tuple(item.snapshot for item in labelled),
        order=order.identity if order is not None else None,
        documents=int(counted[0]),
        exposures=int(counted[1]),
    )


def _movements(
    database: duckdb.DuckDBPyConnection, way: str, index: TraceIndex, snapshots: dict[str, Labelled]
) -> list[Movement]:
    counts = database.execute(
        "SELECT reason, count(*), sum(times), sum(times * n_tokens) FROM moved WHERE way = ? GROUP BY reason", [way]
    ).fetchall()
    found: list[Movement] = []
    for reason, documents, exposures, tokens in sorted(counts, key=lambda row: REASONS.index(row[0])):
        rows = database.execute(
            "SELECT doc_id, snapshot, cluster_before, cluster_after FROM moved WHERE way = ? AND reason = ? "
            "ORDER BY md5(doc_id) LIMIT ?",
            [way, reason, MOST_EXAMPLES],
        ).fetchall()
        examples = tuple(
            MovedDocument(
                doc_id=doc_id, snapshot=snapshot, cluster_before=old, cluster_after=new,
                url=_url(doc_id, snapshots.get(snapshot), index),
            )
            for doc_id, snapshot, old, new in rows
        )  # fmt: skip
        found.append(
            Movement(
                reason=reason, documents=documents, exposures=int(exposures), tokens=int(tokens), examples=examples
            )
        )
    return found


def _url(doc_id: str, item: Labelled | None, index: TraceIndex) -> str | None:
    places = index.places(item.shards).find(doc_id).to_pylist() if item is not None else []
    return next((place["url"] for place in places if place["url"]), None)
