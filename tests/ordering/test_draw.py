"""Which documents a recipe draws, and how often."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.ordering.draw import draw
from gem_assets.ordering.hashing import document_keys, seeded, unit_interval
from tests.ordering.worlds import corpus


def table(lengths: list[int], cluster: int = 0, weight: list[float] | None = None) -> pa.Table:
    columns = {
        "doc_id": pa.array([f"{cluster}-{i}" for i in range(len(lengths))], pa.string()),
        "cluster": pa.array([cluster] * len(lengths), pa.int16()),
        "n_tokens": pa.array(lengths, pa.int64()),
    }
    return pa.table(columns | ({"weight": pa.array(weight)} if weight else {}))


def tokens(drawn: pa.Table) -> int:
    return int(drawn.column("n_tokens").to_numpy().sum())


@settings(deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=60), st.floats(0, 5), st.integers(0, 2**62))
def test_totals_meet_the_target_within_half_a_document(lengths: list[int], epochs: float, seed: int) -> None:
    target = epochs * sum(lengths)
    assert abs(tokens(draw(table(lengths), {0: target}, seed)) - target) <= max(lengths) / 2 + 1e-6


@settings(deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=40), st.floats(0, 5), st.integers(0, 2**62))
def test_every_document_comes_a_whole_number_of_epochs_and_perhaps_once_more(
    lengths: list[int], epochs: float, seed: int
) -> None:
    drawn = draw(table(lengths), {0: epochs * sum(lengths)}, seed)
    seen = Counter(drawn.column("doc_id").to_pylist())
    counts = [seen[f"0-{i}"] for i in range(len(lengths))]
    # a passage of half a document at the border of an epoch may fall on either side
    assert max(counts) - min(counts) <= 1 or abs(epochs - round(epochs)) * sum(lengths) <= max(lengths)
    for doc_id, count in seen.items():
        of_doc = drawn.filter(pa.compute.equal(drawn.column("doc_id"), doc_id))
        assert sorted(of_doc.column("epoch").to_pylist()) == list(range(count))


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(0, 99), st.data())
def test_the_draw_is_the_prefix_of_all_arrivals(lengths: list[int], seed: int, data: st.DataObject) -> None:
    weight = data.draw(st.lists(st.sampled_from([0.5, 1.0, 3.0, 8.0]), min_size=len(lengths), max_size=len(lengths)))
    target = data.draw(st.floats(0, 3)) * sum(lengths)
    documents = table(lengths, weight=weight)
    keys = document_keys(documents.column("doc_id").combine_chunks())
    arrivals = sorted(
        ((k + float(unit_interval(seeded(keys[i : i + 1], seed, k))[0])) / w, i, k)
        for i, w in enumerate(weight)
        for k in range(80)
    )
    expected, total = [], 0
    for _, i, k in arrivals:
        if total + lengths[i] - target > target - total:
            break
        expected.append((f"0-{i}", k))
        total += lengths[i]
        if total >= target:
            break
    drawn = draw(documents, {0: target}, seed)
    got = zip(drawn.column("doc_id").to_pylist(), drawn.column("epoch").to_pylist(), strict=True)
    assert sorted(got) == sorted(expected if target > 0 else [])


def test_input_order_leaves_no_trace() -> None:
    documents = pa.Table.from_batches([corpus({0: (400, 30), 2: (90, 100)})])
    back = documents.take(pa.array(np.arange(len(documents))[::-1]))
    targets = {0: 7000.0, 2: 21_000.0}
    key = [("doc_id", "ascending"), ("epoch", "ascending")]
    assert draw(documents, targets, 3).sort_by(key).equals(draw(back, targets, 3).sort_by(key))
    assert not draw(documents, targets, 4).sort_by(key).equals(draw(documents, targets, 3).sort_by(key))


def test_a_larger_target_keeps_what_a_smaller_one_drew() -> None:
    documents = pa.Table.from_batches([corpus({0: (300, 40)})])
    small = set(zip(*(draw(documents, {0: 9000.0}).column(c).to_pylist() for c in ("doc_id", "epoch")), strict=True))
    large = set(zip(*(draw(documents, {0: 19_000.0}).column(c).to_pylist() for c in ("doc_id", "epoch")), strict=True))
    assert small < large


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**62))
def test_copies_are_in_proportion_to_weight(seed: int) -> None:
    weight = [1.0, 2.0, 5.0] * 200
    drawn = draw(table([10] * 600, weight=weight), {0: 2.5 * 10 * sum(weight)}, seed)
    number = np.array([int(d.split("-")[1]) for d in drawn.column("doc_id").to_pylist()])
    copies = np.bincount(number, minlength=600)
    assert {w: (copies[i::3].min(), copies[i::3].max()) for i, w in enumerate((1, 5, 25))}[1] in [
        (2, 3),
        (2, 2),
        (3, 3),
    ]
    per_weight = [copies[i::3].mean() / w for i, w in enumerate((1.0, 2.0, 5.0))]
    assert per_weight == pytest.approx([2.5, 2.5, 2.5], abs=0.2)


def test_a_cluster_without_tokens_is_named() -> None:
    with pytest.raises(ValueError, match=r"clusters \[4\]"):
        draw(table([5, 6]), {0: 5.0, 4: 5.0})


def test_keys_do_not_depend_on_slices_or_string_width() -> None:
    ids = pa.array(["a", "", "ß…", "x" * 40, "a"])
    keys = document_keys(ids)
    assert keys[0] == keys[4]
    assert len(set(keys.tolist())) == 4
    assert document_keys(ids.slice(2, 2)).tolist() == keys[2:4].tolist()
    assert document_keys(ids.cast(pa.large_string())).tolist() == keys.tolist()
    with pytest.raises(ValueError, match="null"):
        document_keys(pa.array(["a", None]))


def published_keys(ids: list[str]) -> list[int]:
    """FNV-1a and the splitmix64 finisher as they are published, on one id at a time."""
    keys: list[int] = []
    for text in ids:
        key = 0xCBF29CE484222325
        for byte in text.encode():
            key = (key ^ byte) * 0x100000001B3 % 2**64
        key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        key = (key ^ key >> 27) * 0x94D049BB133111EB % 2**64
        keys.append(key ^ key >> 31)
    return keys


@settings(deadline=None)
@given(st.lists(st.text(max_size=50), min_size=1, max_size=20), st.booleans())
def test_keys_are_those_of_the_published_functions(ids: list[str], of_one_length: bool) -> None:
    given_ids = [text.encode().hex().ljust(8, "0")[:8] for text in ids] if of_one_length else ids
    assert document_keys(pa.array(given_ids)).tolist() == published_keys(given_ids)


def test_numbers_of_seeds_and_epochs_are_uniform_and_unrelated() -> None:
    keys = document_keys(pa.array([f"{i:032x}" for i in range(20_000)]))
    draws = [unit_interval(seeded(keys, seed, epoch)) for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for values in draws:
        assert np.histogram(values, bins=20, range=(0, 1))[0] == pytest.approx(1000, abs=160)
    assert np.abs(np.corrcoef(draws) - np.eye(4)).max() < 0.03
