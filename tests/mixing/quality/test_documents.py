import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.mixing.config import ScoreConfig
from gem_assets.mixing.quality.documents import BUILT_IN, load_scored
from gem_assets.mixing.quality.scores import ScoreFileError
from gem_assets.mixing.supply import ClusterSupply
from gem_assets.proxy.config import PoolConfig, TokenizerConfig
from gem_assets.proxy.contents import DOCUMENTS, write_contents
from gem_assets.proxy.pool import PoolError, build_pool
from gem_assets.proxy.tokens import ProxyTokenizer
from tests.mixing.quality.worlds import DOCUMENTS_OF, LENGTH, frame, write_prepared


@pytest.fixture
def prepared(tmp_path):
    return tmp_path, write_prepared(tmp_path)


def write_scores(folder, ids, values):
    path = folder / "scores.parquet"
    pq.write_table(pa.table({"doc_id": ids, "quality": values}), path)
    return ScoreConfig(file=str(path), on_fault="leave_out")


def test_each_document_stands_for_its_part_of_the_cluster(prepared):
    folder, (ids, clusters, good) = prepared
    supply = frame(np.array([60_000, 6_000])).supply
    scored = good[clusters == 1].nonzero()[0] + DOCUMENTS_OF
    rows = [*range(DOCUMENTS_OF), *scored.tolist()]
    found = load_scored(folder, supply, write_scores(folder, [ids[i] for i in rows], np.arange(len(rows), dtype=float)))
    assert found.rows.tolist() == rows
    assert set(found.tokens[found.clusters == 0]) == {60_000 / DOCUMENTS_OF}
    # fewer scored documents, more tokens each
    assert set(found.tokens[found.clusters == 1]) == {6_000 / len(scored)}
    assert found.shares(np.ones(len(rows))) == pytest.approx(supply.token_shares)
    assert found.over_prepared(np.ones(len(rows), np.int64)).sum() == len(rows)
    assert "90 of 240 documents" in found.faults[0]


def test_a_cluster_without_scores_or_without_text_is_told_apart(prepared):
    folder, (ids, _, _) = prepared
    first = write_scores(folder, ids[:DOCUMENTS_OF], np.arange(DOCUMENTS_OF, dtype=float))
    with pytest.raises(ScoreFileError, match="no document of cluster 1 has a score"):
        load_scored(folder, frame().supply, first)
    gone = load_scored(folder, frame(np.array([60_000, 0])).supply, first)
    assert set(gone.clusters) == {0}


def test_folders_that_do_not_fit_are_refused(prepared):
    folder, (ids, _, _) = prepared
    config = write_scores(folder, ids, np.arange(len(ids), dtype=float))
    with pytest.raises(PoolError, match="of 2 clusters, the inventory of 1"):
        load_scored(folder, ClusterSupply(*(np.array([v]) for v in (0, 1, 100, 400))), config)
    pq.write_table(pq.read_table(folder / DOCUMENTS).slice(1), folder / DOCUMENTS)
    with pytest.raises(PoolError, match=f"of {LENGTH * (2 * DOCUMENTS_OF - 1)} tokens"):
        load_scored(folder, frame().supply, config)
    (folder / DOCUMENTS).unlink()
    with pytest.raises(PoolError, match="prepare it again"):
        load_scored(folder, frame().supply, config)


def test_without_a_file_the_text_itself_is_rated(tmp_path):
    lines = [f"It was number {i} of the things that the men of the village had seen at the river." for i in range(30)]
    texts = [*lines, *["menu | cart | login\n" * 4] * 30]
    tokenizer = ProxyTokenizer.train(texts, TokenizerConfig(vocab=300))
    tokenizer.save(tmp_path)
    clusters = np.repeat([0, 1], 30)
    ids = pa.array([f"{i:03d}" for i in range(60)])
    encoded = tokenizer.encode(texts)
    config = PoolConfig(windows=1, domain_tokens=100_000)
    split = build_pool(encoded, clusters, np.arange(60, dtype=np.uint64), tokenizer, ["0", "1"], config, context=16)
    split.pool.save(tmp_path)
    write_contents(split, ids, clusters, tokenizer.digest, tmp_path)
    found = load_scored(tmp_path, frame().supply, ScoreConfig())
    assert found.origin == BUILT_IN
    column = found.scores[:, found.raters.index("function_words")]
    assert column[found.clusters == 0].min() > column[found.clusters == 1].max()
