"""What went into a mixture: every document with how often it is shown, one root over all of them, and its composition.

Writes ``documents.parquet`` (doc_id, content_digest, text_digest, multiplicity, tokens, bytes, language, source, url,
licence; by document id), ``audit.json`` (a Merkle root over doc_id, both digests and multiplicity; totals; shares by
language, source and licence, weighted by repetition) and ``lineage.json`` (every manifest from the recipe down to the
landed files). Two parties that hold the same mixture get the same root; a proof for one document is about a kilobyte.
Cost: one join of the order with the label table and one digest of every text in DuckDB, which spills to disk.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from gem_assets.lineage.merkle import LEAF_COLUMNS, Leaf, MerkleRoot

if TYPE_CHECKING:
    import duckdb

DOCUMENTS_NAME = "documents.parquet"
AUDIT_NAME = "audit.json"
LINEAGE_NAME = "lineage.json"
COLUMNS = ["doc_id", "content_digest", "n_tokens", "n_bytes", "lang", "source", "url", "license"]
COMPOSITION = ("lang", "source", "license")
MOST_GROUPS = 50


class Composition(BaseModel):
    """One value of a column and what training reads of it."""

    model_config = ConfigDict(frozen=True)

    value: str
    documents: int
    tokens: int
    token_share: float


class AuditReport(BaseModel):
    """The mixture as an auditor asks for it; tokens and bytes count every repetition.

    Attributes
    ----------
    merkle_root
        Hex SHA-256 over the sorted (doc_id, content_digest, text_digest, multiplicity); see ``merkle``.
    documents, exposures
        Distinct documents, and how often any is shown.
    composition
        By language, source and licence: the largest groups, weighted by repetition; ``unknown`` where none is stated.
    """

    model_config = ConfigDict(frozen=True)

    merkle_root: str
    documents: int
    exposures: int
    tokens: int
    n_bytes: int
    most_repeated: int
    composition: dict[str, list[Composition]]


def publish_audit(
    order: Sequence[Path],
    documents: pa.RecordBatchReader,
    lineage: Mapping[str, Any],
    out: Path,
    *,
    shards: Sequence[Path] = (),
    memory_mb: int = 1024,
) -> AuditReport:
    """Account for a training order and write the audit into ``out``.

    Raises ValueError when the order is empty, or names documents that ``documents`` does not hold; the message gives
    their number and one of them.

    Parameters
    ----------
    order
        Parquet files of a training order; the column ``doc_id`` is read.
    documents
        Stream of the candidates with the columns ``COLUMNS``.
    lineage
        Plain data of the walk from the recipe to the landed files.
    shards
        Parquet shards with the texts (doc_id, text); without them ``text_digest`` is empty.
    """
    target = out / DOCUMENTS_NAME
    import duckdb

    with duckdb.connect() as database:
        database.execute("SET memory_limit = ?", [f"{memory_mb}MB"])
        database.execute("SET temp_directory = ?", [str(out / ".spill")])
        database.read_parquet([str(path) for path in order]).create_view("shown_rows")
        database.execute(
            "CREATE TABLE shown AS SELECT doc_id, count(*) AS multiplicity FROM shown_rows GROUP BY doc_id"
        )
        database.register("candidates", documents)
        database.execute("CREATE TABLE texts (doc_id VARCHAR, text_digest VARCHAR)")
        if shards:
            database.read_parquet([str(path) for path in shards]).create_view("shard_rows")
            # a document that two snapshots keep has one text
            database.execute(
                "INSERT INTO texts SELECT doc_id, min(sha256(text)) FROM shard_rows SEMI JOIN shown USING (doc_id) "
                "GROUP BY doc_id"
            )
        joined = database.sql(
            "SELECT doc_id, content_digest, text_digest, multiplicity, n_tokens, n_bytes, lang, source, url, license "
            "FROM shown LEFT JOIN candidates USING (doc_id) LEFT JOIN texts USING (doc_id) ORDER BY doc_id"
        )
        joined.write_parquet(str(target), compression="zstd")
    shutil.rmtree(out / ".spill", ignore_errors=True)
    report = account(target)
    (out / AUDIT_NAME).write_text(_plain(report.model_dump()), encoding="utf-8")
    (out / LINEAGE_NAME).write_text(_plain(dict(lineage)), encoding="utf-8")
    return report


def leaves(documents: Path) -> Iterator[Leaf]:
    """Yield the leaves of a mixture from its ``documents.parquet``, in the order of the tree."""
    for batch in pq.ParquetFile(documents, pre_buffer=False).iter_batches(columns=list(LEAF_COLUMNS)):
        for row in batch.to_pylist():
            yield Leaf(row["doc_id"], row["content_digest"], row["multiplicity"], row["text_digest"] or "")


def account(documents: Path) -> AuditReport:
    """Return what the documents of a mixture, ``documents.parquet``, add up to.

    Raises ValueError when a document has no digest, or there is none at all.
    """
    import duckdb

    with duckdb.connect() as database:
        database.read_parquet(str(documents)).create_view("d")
        absent = database.execute("SELECT count(*), min(doc_id) FROM d WHERE content_digest IS NULL").fetchone()
        if absent and absent[0]:
            raise ValueError(
                f"{absent[0]} documents of the order are not in the corpus any more, {absent[1]} among them; "
                "materialize the training order again"
            )
        totals = database.execute(
            "SELECT count(*), sum(multiplicity), sum(multiplicity * n_tokens), sum(multiplicity * n_bytes), "
            "max(multiplicity) FROM d"
        ).fetchone()
        if totals is None or not totals[0]:
            raise ValueError("the training order is empty; there is nothing to audit")
        composition = {name: _composition(database, name, int(totals[2])) for name in COMPOSITION}
    root = MerkleRoot()
    for batch in pq.ParquetFile(documents, pre_buffer=False).iter_batches(columns=list(LEAF_COLUMNS)):
        root.extend(batch)
    return AuditReport(
        merkle_root=root.hexroot(),
        documents=int(totals[0]),
        exposures=int(totals[1]),
        tokens=int(totals[2]),
        n_bytes=int(totals[3]),
        most_repeated=int(totals[4]),
        composition=composition,
    )


def _composition(database: "duckdb.DuckDBPyConnection", column: str, tokens: int) -> list[Composition]:
    rows = database.execute(
        f"SELECT coalesce(nullif({column}, ''), 'unknown') AS value, count(*), sum(multiplicity * n_tokens) AS tokens "  # noqa: S608
        f"FROM d GROUP BY value ORDER BY tokens DESC, value LIMIT {MOST_GROUPS}"
    ).fetchall()
    return [
        Composition(value=str(v), documents=int(n), tokens=int(t), token_share=int(t) / max(tokens, 1))
        for v, n, t in rows
    ]


def _plain(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
