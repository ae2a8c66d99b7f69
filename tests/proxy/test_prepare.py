import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.proxy.config import CountConfig, ModelConfig, PoolConfig, ProxyConfig, TokenizerConfig
from gem_assets.proxy.counts import DomainCounts
from gem_assets.proxy.lexical import LexicalProxy
from gem_assets.proxy.pool import EvaluationSet, PoolError, TokenPool
from gem_assets.proxy.prepare import choose_documents, count_snapshot, load_texts, prepare_data
from gem_assets.proxy.tokens import ProxyTokenizer

CONFIG = ProxyConfig(
    tokenizer=TokenizerConfig(vocab=300, sample_bytes=20_000),
    pool=PoolConfig(domain_tokens=2_000, windows=4),
    model=ModelConfig(width=16, layers=1, heads=2, context=16),
)
NAMES = ("animals", "numbers", "tools")
WORDS = ("cat dog bird fish horse", "one two three four five", "saw hammer drill wrench nail")


def corpus(n=240, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        cluster = i % 3
        text = " ".join(rng.choice(WORDS[cluster].split(), 30)) + f" {seed}-{i}"
        rows.append(
            {"doc_id": hashlib.md5(text.encode()).hexdigest(), "text": text, "cluster": cluster, "n_bytes": len(text)}
        )
    return rows


def write(folder, rows, shards):
    folder.mkdir(parents=True)
    paths = []
    for i in range(shards):
        part = rows[i::shards]
        path = folder / f"part-{i:05d}.parquet"
        columns = {
            "doc_id": [r["doc_id"] for r in part],
            "text": pa.array([r["text"] for r in part], pa.large_string()),
        }
        pq.write_table(pa.table(columns), path)
        paths.append(path)
    return paths


def scan(rows):
    def batches(columns):
        for start in range(0, len(rows), 50):
            part = rows[start : start + 50]
            yield pa.RecordBatch.from_pydict({name: [row[name] for row in part] for name in columns})

    return batches


@pytest.fixture
def prepared(tmp_path):
    rows = corpus()
    shards = {"a": write(tmp_path / "a", rows, 3)}
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    report = prepare_data(
        scan(rows), shards, NAMES, CONFIG, out, scratch, targets={"pets": [" ".join(["cat dog"] * 60)]}
    )
    return rows, shards, out, report


def test_all_that_proxies_need_is_there(prepared):
    _, _, out, report = prepared
    pool, evaluation, tokenizer = TokenPool.load(out), EvaluationSet.load(out), ProxyTokenizer.load(out)
    assert pool.tokenizer == tokenizer.digest == report.tokenizer
    assert evaluation.names == (*NAMES, "pets") == report.targets
    assert evaluation.in_domain.tolist() == [True, True, True, False]
    assert (pool.sizes > 500).all()
    assert (pool.sizes <= 2000).all()
    assert report.without_target == ()
    assert json.loads((out / "prepared.json").read_text())["pool"] == pool.digest
    assert set("catdogbirdfishhorse") >= set(tokenizer.decode(pool.domain(0)[:20])) - set(" 0123456789-")


def test_shards_and_order_do_not_matter(prepared, tmp_path):
    rows, _, _, report = prepared
    shuffled = [rows[i] for i in np.random.default_rng(3).permutation(len(rows))]
    shards = {"x": write(tmp_path / "x", shuffled[:100], 2), "y": write(tmp_path / "y", shuffled[90:], 1)}
    out, scratch = tmp_path / "out2", tmp_path / "scratch2"
    out.mkdir()
    scratch.mkdir()
    targets = {"pets": [" ".join(["cat dog"] * 60)]}
    # ten documents are in both snapshots
    again = prepare_data(scan(shuffled + shuffled[90:100]), shards, NAMES, CONFIG, out, scratch, targets=targets)
    assert again == report


def test_counts_leave_out_what_is_held_out_and_add_up(prepared, tmp_path):
    rows, shards, out, _ = prepared
    held = set(pq.read_table(out / "held_out.parquet").column("doc_id").to_pylist())
    assert held
    found = []
    for name, part in (("whole", rows), ("first", rows[:100]), ("second", rows[100:])):
        folder, scratch = tmp_path / f"counts-{name}", tmp_path / f"scratch-{name}"
        folder.mkdir()
        scratch.mkdir()
        paths = shards["a"] if name == "whole" else write(tmp_path / name, part, 2)
        counts = count_snapshot(scan(part), paths, 3, out, folder, scratch)
        assert DomainCounts.load(folder).tokens.tolist() == counts.tokens.tolist()
        found.append(counts)
    whole, first, second = found
    merged = first.merge(second)
    for a, b in zip((*whole.keys, *whole.counts), (*merged.keys, *merged.counts), strict=True):
        np.testing.assert_array_equal(a, b)
    tokenizer = ProxyTokenizer.load(out)
    kept = [row for row in rows if row["doc_id"] not in held]
    expected = [len(tokenizer.encode([r["text"] for r in kept if r["cluster"] == k]).tokens) for k in range(3)]
    assert whole.tokens.tolist() == expected
    proxy = LexicalProxy.of(whole, EvaluationSet.load(out), CountConfig(), 1e3)
    losses = proxy.losses(np.eye(3) * 0.7 + 0.1)
    assert losses[:, :3].argmin(0).tolist() == [0, 1, 2]
    assert losses[:, 3].argmin() == 0


def test_documents_are_chosen_by_rank_up_to_what_is_needed():
    rows = corpus(3000)
    chosen = choose_documents(scan(rows), 3, CONFIG)
    room = 5 * (2000 + 2 * 4 * 17)
    size = {row["doc_id"]: row["n_bytes"] for row in rows}
    for k in range(3):
        part = chosen.filter(pa.array(chosen.column("cluster").to_numpy() == k))
        total = sum(size[i] for i in part.column("doc_id").to_pylist())
        assert room <= total < room + 300
    ids = chosen.column("doc_id").to_pylist()
    assert ids == sorted(ids)
    more = choose_documents(scan(rows + corpus(30, seed=1)), 3, CONFIG)
    assert len(set(more.column("doc_id").to_pylist()) - set(ids)) < 30


def test_pruning_does_not_change_the_choice(monkeypatch):
    rows = corpus(1500)
    whole = choose_documents(scan(rows), 3, CONFIG)
    monkeypatch.setattr("gem_assets.proxy.prepare._PRUNE_ROWS", 200)
    assert choose_documents(scan(rows), 3, CONFIG).equals(whole)


def test_nothing_labelled_is_refused():
    with pytest.raises(PoolError, match="label a snapshot"):
        choose_documents(lambda columns: iter(()), 3, CONFIG)


def test_a_corpus_without_text_to_spare_is_told_how_much_it_lacks(tmp_path):
    rows = corpus(4)
    shards = {"a": write(tmp_path / "a", rows, 1)}
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    lacking = (
        f"a window needs {CONFIG.model.context + 1} tokens .* the largest cluster has [0-9,]+ tokens in 2 documents"
    )
    with pytest.raises(PoolError, match=lacking):
        prepare_data(scan(rows), shards, NAMES, CONFIG, out, scratch)


def test_validation_texts_are_read(tmp_path):
    pq.write_table(pa.table({"text": ["a", "b", ""], "target": ["x", "y", "x"]}), tmp_path / "v.parquet")
    assert load_texts(tmp_path / "v.parquet") == {"x": ["a"], "y": ["b"]}
    (tmp_path / "one.jsonl").write_text('{"text": "a"}\n\n{"text": "b", "other": 1}\n')
    assert load_texts(tmp_path / "one.jsonl") == {"one": ["a", "b"]}
    (tmp_path / "bad.jsonl").write_text("not json")
    (tmp_path / "empty.jsonl").write_text('{"words": "a"}')
    for name in ("bad.jsonl", "empty.jsonl", "missing.parquet"):
        with pytest.raises(PoolError, match=name):
            load_texts(tmp_path / name)


def test_a_snapshot_in_which_nothing_is_new_counts_nothing(prepared, tmp_path):
    _, _, out, _ = prepared
    for name in ("counts", "more"):
        (tmp_path / name).mkdir()
    counts = count_snapshot(scan([]), [], 3, out, tmp_path / "counts", tmp_path / "more")
    assert counts.tokens.tolist() == [0, 0, 0]
    assert DomainCounts.load(tmp_path / "counts").tokens.tolist() == [0, 0, 0]
