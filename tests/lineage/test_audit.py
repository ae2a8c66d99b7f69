import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.lineage.audit import COLUMNS, DOCUMENTS_NAME, leaves, publish_audit
from gem_assets.lineage.merkle import MerkleTree, verify

ROWS = [
    {"doc_id": f"{i:032x}", "content_digest": f"{i + 99:032x}", "n_tokens": 10 * (i + 1), "n_bytes": 40 * (i + 1),
     "lang": "en" if i % 2 else "de", "source": "web", "url": None, "license": None}
    for i in range(6)
]  # fmt: skip


def reader(rows):
    table = pa.Table.from_pylist(
        rows, schema=pa.schema([(c, pa.int64() if c[:2] == "n_" else pa.string()) for c in COLUMNS])
    )
    return table.to_reader(max_chunksize=2)


def order(tmp_path, ids):
    path = tmp_path / "order.parquet"
    pq.write_table(pa.table({"position": list(range(len(ids))), "doc_id": pa.array(ids, pa.string())}), path)
    return [path]


def audit(tmp_path, shown, rows=ROWS):
    out = tmp_path / "out"
    out.mkdir()
    return publish_audit(order(tmp_path, [ROWS[i]["doc_id"] for i in shown]), reader(rows), {"root": "x"}, out), out


def test_repetitions_count_in_every_total(tmp_path):
    report, out = audit(tmp_path, [1, 0, 1, 1, 3])
    assert (report.documents, report.exposures, report.most_repeated) == (3, 5, 3)
    assert report.tokens == 3 * 20 + 10 + 40
    assert report.n_bytes == 4 * report.tokens
    english = next(g for g in report.composition["lang"] if g.value == "en")
    assert english.tokens == 3 * 20 + 40
    assert report.composition["license"][0].value == "unknown"
    rows = pq.read_table(out / DOCUMENTS_NAME).to_pylist()
    assert [r["multiplicity"] for r in rows] == [1, 3, 1]
    assert sorted(p.name for p in out.iterdir()) == ["audit.json", "documents.parquet", "lineage.json"]


def test_root_is_that_of_the_tree_and_proves_membership(tmp_path):
    report, out = audit(tmp_path, [5, 2, 2])
    tree = MerkleTree(leaves(out / DOCUMENTS_NAME))
    assert tree.root == report.merkle_root == json.loads((out / "audit.json").read_text())["merkle_root"]
    assert verify(tree.prove(0), report.merkle_root)


def test_root_does_not_depend_on_the_order_but_on_the_repetitions(tmp_path):
    roots = []
    for number, shown in enumerate(([0, 1, 2], [2, 0, 1], [2, 0, 1, 1])):
        folder = tmp_path / str(number)
        folder.mkdir()
        roots.append(audit(folder, shown)[0].merkle_root)
    assert roots[0] == roots[1] != roots[2]


def test_document_that_left_the_corpus_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"1 documents of the order.*{ROWS[0]['doc_id']}"):
        audit(tmp_path, [0, 1], rows=ROWS[1:])


def test_empty_order_is_refused(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        audit(tmp_path, [])
