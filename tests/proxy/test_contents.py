import numpy as np
import pyarrow.parquet as pq
import pytest

from gem_assets.proxy.contents import held_documents, without_documents
from gem_assets.proxy.pool import EvaluationSet, PoolError, TokenPool
from gem_assets.proxy.prepare import count_snapshot
from gem_assets.proxy.tokens import END, ProxyTokenizer
from tests.proxy.test_prepare import prepared, scan  # noqa: F401  a fixture

UNKNOWN = "0" * 32


def column(folder, name):
    return pq.read_table(folder / name).column("doc_id").to_pylist()


@pytest.fixture
def lessened(prepared, tmp_path):  # noqa: F811
    """Without the second document of the streams and one that a window shows."""
    rows, shards, folder, report = prepared
    gone = [column(folder, "documents.parquet")[1], column(folder, "shown.parquet")[0]]
    out = tmp_path / "lessened"
    out.mkdir()
    return rows, shards, folder, report, gone, out, without_documents(folder, [*gone, UNKNOWN], out)


def test_the_documents_of_the_streams_are_known(prepared):  # noqa: F811
    rows, _, folder, _ = prepared
    documents, pool = pq.read_table(folder / "documents.parquet"), TokenPool.load(folder)
    tokenizer = ProxyTokenizer.load(folder)
    text_of = {row["doc_id"]: row for row in rows}
    ends = np.cumsum(documents.column("tokens").to_numpy())
    starts = [0, *ends[:-1]]
    assert ends[-1] == len(pool.tokens)
    for row, start, end in zip(documents.to_pylist(), starts, ends, strict=True):
        tokens = pool.tokens[start:end]
        assert row["cluster"] == text_of[row["doc_id"]]["cluster"]
        assert text_of[row["doc_id"]]["text"].startswith(tokenizer.decode(tokens))
        assert (tokens[:-1] != END).all()


def test_the_documents_behind_each_window_are_known(prepared):  # noqa: F811
    rows, _, folder, _ = prepared
    evaluation, tokenizer = EvaluationSet.load(folder), ProxyTokenizer.load(folder)
    text_of = {row["doc_id"]: row["text"] for row in rows}
    shown = pq.read_table(folder / "shown.parquet").to_pylist()
    assert {pair["doc_id"] for pair in shown} <= set(column(folder, "held_out.parquet"))
    for window, ids in enumerate(evaluation.windows):
        if evaluation.in_domain[evaluation.target[window]]:
            texts = [text_of[pair["doc_id"]] for pair in shown if pair["window"] == window]
            pieces = [piece for piece in np.split(ids, np.flatnonzero(ids == END)) if len(piece[piece != END])]
            assert len(texts) >= len(pieces) > 0
            assert all(any(tokenizer.decode(piece) in text for text in texts) for piece in pieces)


def test_a_document_leaves_and_all_else_stays(lessened):
    _, _, folder, report, gone, out, less = lessened
    before, after = TokenPool.load(folder), TokenPool.load(out)
    documents = pq.read_table(folder / "documents.parquet")
    ends = np.cumsum(documents.column("tokens").to_numpy())
    left = np.delete(np.asarray(before.tokens), np.arange(ends[0], ends[1]))
    np.testing.assert_array_equal(after.tokens, left)
    assert less.counting == report.counting
    assert less.tokenizer == report.tokenizer
    assert less.pool == after.digest != report.pool
    assert held_documents(folder, [*gone, UNKNOWN]) == sorted(gone)
    assert held_documents(out, gone) == []


def test_every_window_that_showed_it_leaves_with_it(lessened):
    _, _, folder, _, gone, out, less = lessened
    before, after = EvaluationSet.load(folder), EvaluationSet.load(out)
    shown = pq.read_table(folder / "shown.parquet").to_pylist()
    lost = {pair["window"] for pair in shown if pair["doc_id"] in gone}
    stays = [w for w in range(len(before.windows)) if w not in lost]
    assert lost
    np.testing.assert_array_equal(after.windows, before.windows[stays])
    assert [after.names[j] for j in after.target] == [before.names[before.target[w]] for w in stays]
    lengths = ProxyTokenizer.load(out).byte_lengths()
    assert after.n_bytes.tolist() == [int(lengths[after.of(name)[:, 1:]].sum()) for name in after.names]
    pairs = pq.read_table(out / "shown.parquet").to_pylist()
    assert {stays[pair["window"]] for pair in pairs} == {pair["window"] for pair in shown} - lost
    assert less.evaluation == after.digest


def test_a_target_without_windows_is_no_target_and_the_last_one_has_to_stay(prepared, tmp_path):  # noqa: F811
    _, _, folder, _ = prepared
    evaluation = EvaluationSet.load(folder)
    animals = [
        pair["doc_id"]
        for pair in pq.read_table(folder / "shown.parquet").to_pylist()
        if evaluation.names[evaluation.target[pair["window"]]] == "animals"
    ]
    (tmp_path / "less").mkdir()
    less = without_documents(folder, animals, tmp_path / "less")
    assert less.targets == ("numbers", "tools", "pets")
    assert less.without_target == ("animals",)
    # texts that a user brought are no documents of the corpus, and stay when all others leave
    (tmp_path / "none").mkdir()
    assert without_documents(folder, column(folder, "held_out.parquet"), tmp_path / "none").targets == ("pets",)


def test_counts_are_the_same_with_what_is_left(lessened, tmp_path):
    rows, shards, folder, _, gone, out, _ = lessened
    kept = [row for row in rows if row["doc_id"] not in gone]
    made = []
    for number, prepared_folder in enumerate((folder, out)):
        places = [tmp_path / f"{what}-{number}" for what in ("counts", "scratch")]
        for place in places:
            place.mkdir()
        made.append(count_snapshot(scan(kept), shards["a"], 3, prepared_folder, *places))
    np.testing.assert_array_equal(made[0].counts[1], made[1].counts[1])


def test_tokens_that_do_not_say_what_they_are_of_are_refused(prepared, tmp_path):  # noqa: F811
    _, _, folder, _ = prepared
    (folder / "shown.parquet").unlink()
    with pytest.raises(PoolError, match=r"lacks shown.parquet"):
        without_documents(folder, [UNKNOWN], tmp_path)
