"""Recompute the audit of a mixture from its order and its documents, and compare it with what is stated."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from gem_assets.audit.config import AuditConfig
from gem_assets.audit.facts import FACTS_NAME, AuditFacts, gather
from gem_assets.lineage.audit import AUDIT_NAME, DOCUMENTS_NAME, LINEAGE_NAME, AuditReport, account
from gem_assets.lineage.mixtures import ORDERS, RECIPES, part_files
from gem_assets.lineage.walk import Lineage, Node
from gem_assets.mixing.recipe import RECIPE_NAME, Recipe
from gem_assets.stages import RAW_SHARDS

_TEXT_COLUMNS = ("content_digest", "text_digest", "n_tokens", "n_bytes", "lang", "source", "url", "license")


def audit_faults(node: Node, lineage: Lineage) -> Iterator[str]:
    """Yield what an audit states otherwise than its order and its documents give it, one sentence each.

    The multiplicities are counted in the order, every other column is read in the shards (those that were purged are
    left out), root, totals and composition follow from the documents, and the facts from all of it and the manifests.

    ``node`` is a ``mixture_audit``; its files are those of its manifest.
    """
    below = [lineage.nodes[key] for key in node.inputs if key in lineage.nodes]
    order = next((one for one in below if one.manifest.asset.startswith(ORDERS)), None)
    folder = node.artifact.path
    documents = folder / DOCUMENTS_NAME
    if order is None or not documents.is_file() or "text_digest" not in pq.read_schema(documents).names:
        # an audit of an earlier release has another tree; gem audit makes it again
        return
    shards = [one for one in _below(order, lineage) if one.manifest.asset == RAW_SHARDS]
    by_snapshot = {str(one.manifest.partition): part_files(one.artifact) for one in shards}
    files = [path for paths in by_snapshot.values() for path in paths]
    try:
        yield from _document_faults(documents, part_files(order.artifact), files)
        found = account(documents)
        stated = AuditReport.model_validate_json((folder / AUDIT_NAME).read_bytes())
        yield from (f"{AUDIT_NAME} states another {name}" for name in _differing(stated, found))
        if (folder / FACTS_NAME).is_file():
            yield from _fact_faults(node, order, lineage, by_snapshot)
    except (ValueError, OSError, duckdb.Error) as error:
        yield f"it cannot be recomputed: {error}"


def _below(order: Node, lineage: Lineage) -> Iterator[Node]:
    """The order, and what its labels were given to: the documents themselves."""
    labels = [lineage.nodes[key] for key in order.inputs if key in lineage.nodes]
    yield from {key: lineage.nodes[key] for one in labels for key in one.inputs if key in lineage.nodes}.values()


def _document_faults(documents: Path, order: list[Path], shards: list[Path]) -> Iterator[str]:
    with duckdb.connect() as database:
        database.read_parquet(str(documents)).create_view("d")
        database.read_parquet([str(path) for path in order]).create_view("o")
        counted = "SELECT doc_id, count(*) AS times FROM o GROUP BY doc_id"
        wrong = database.execute(
            f"SELECT count(*), min(doc_id) FROM d FULL JOIN ({counted}) c USING (doc_id) "  # noqa: S608
            "WHERE multiplicity IS DISTINCT FROM times"
        ).fetchall()[0]
        if wrong[0]:
            yield f"{wrong[0]} documents are shown another number of times by the order, {wrong[1]} among them"
        if not shards:
            return
        held = set(pq.read_schema(shards[0]).names)
        texts = "sha256(text) AS text_digest" if "text" in held else "NULL AS text_digest"
        columns = [name for name in _TEXT_COLUMNS if name in held or (name == "text_digest" and "text" in held)]
        kept = [name for name in columns if name != "text_digest"]
        database.read_parquet([str(path) for path in shards], union_by_name=True).create_view("s")
        same = " AND ".join(f"d.{name} IS NOT DISTINCT FROM t.{name}" for name in columns) or "true"
        row = ", ".join(["doc_id", *kept, texts])
        # a document that two snapshots keep agrees with one of them
        wrong = database.execute(
            f"SELECT count(*), min(doc_id) FROM (SELECT d.doc_id, bool_or({same}) AS good "  # noqa: S608
            f"FROM d JOIN (SELECT {row} FROM s SEMI JOIN d USING (doc_id)) t USING (doc_id) GROUP BY d.doc_id) "
            "WHERE NOT good"
        ).fetchall()[0]
        if wrong[0]:
            yield f"{wrong[0]} documents are described otherwise than in the shards, {wrong[1]} among them"


def _fact_faults(node: Node, order: Node, lineage: Lineage, shards: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    recipe = next((key for key in order.inputs if key.startswith(RECIPES) and key in lineage.nodes), None)
    if recipe is None or lineage.faults or lineage.purged:
        # facts state counts of every snapshot below; without all of them there is nothing to compare with
        return
    folder = node.artifact.path
    config = AuditConfig.model_validate({"statements": node.manifest.config.get("statements", {})})
    nodes = _reach(order, lineage)
    named = {key for one in nodes.values() for key in one.inputs}
    own = Lineage(order.key, nodes, {key: ref for key, ref in lineage.sources.items() if key in named})
    if json.loads((folder / LINEAGE_NAME).read_bytes()) != json.loads(json.dumps(own.to_dict())):
        yield f"{LINEAGE_NAME} is not the lineage of its order"
    chosen = Recipe.read(lineage.nodes[recipe].artifact.path / RECIPE_NAME)
    found = gather(folder, own, chosen, config, shards).facts
    stated = AuditFacts.model_validate_json((folder / FACTS_NAME).read_bytes())
    yield from (f"{FACTS_NAME} states another {name}" for name in _differing(stated, found))


def _reach(order: Node, lineage: Lineage) -> dict[str, Node]:
    """What an order was made from, in the order in which a walk of its own would find it."""
    found: dict[str, Node] = {}

    def visit(node: Node) -> None:
        for key in node.inputs:
            if key in lineage.nodes and key not in found:
                visit(lineage.nodes[key])
        found[node.key] = node

    visit(order)
    return found


def _differing(stated: AuditReport | AuditFacts, found: AuditReport | AuditFacts) -> list[str]:
    # by the JSON that is written: a float is what its shortest text gives back
    left, right = (type(one).model_validate_json(one.model_dump_json()) for one in (stated, found))
    return [name for name in type(stated).model_fields if getattr(left, name) != getattr(right, name)]
