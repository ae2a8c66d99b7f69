from pathlib import Path

import numpy as np
import pytest

from gem_assets.storage import spill as module
from gem_assets.storage.spill import (
    Spill,
    digest_blocks,
    distinct_digests,
    find_digests,
    groups,
    sorted_parts,
    words_digest,
)


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """A spill that keeps everything on the disk, and parts so small that there are many."""
    monkeypatch.setattr(module, "PART_ROWS", 64)
    with Spill(tmp_path, small=0) as spill:
        yield spill
    assert list(tmp_path.iterdir()) == []


def drawn(n, distinct, seed=0):
    chance = np.random.default_rng(seed)
    # trailing zero bytes are where numpy's byte strings lose something
    values = np.frombuffer(chance.bytes(16 * distinct), "S16").copy()
    values[0] = b"\0" * 16
    return values[chance.integers(distinct, size=n)]


def hexes(digests):
    return [digests[i : i + 1].tobytes().hex() for i in range(len(digests))]


def test_what_was_written_stays_when_the_pages_go(on_disk):
    array = on_disk.zeros((3, 4), np.int32)
    assert not array.any()
    array[1] = 7
    on_disk.settle()
    assert array.tolist() == [[0] * 4, [7] * 4, [0] * 4]
    on_disk.put(array[:, 2], np.array([2, 0]), np.array([5, 6]))
    assert array[:, 2].tolist() == [6, 7, 5]


def test_what_nobody_looks_into_takes_no_disk_space(on_disk, tmp_path):
    def taken():
        mapped = Path("/proc/self/maps").read_text().splitlines()
        return len({line.split()[4] for line in mapped if str(tmp_path) in line})

    kept = on_disk.zeros(100, np.int64)
    before = taken()
    list(sorted_parts(digest_blocks(drawn(1000, 50)), 1000, 2, on_disk))
    assert taken() == before == 1
    assert not kept.any()


def test_a_file_is_read_as_an_array(on_disk, tmp_path):
    path = tmp_path / "figures"
    np.arange(6, dtype=np.uint32).tofile(path)
    found = on_disk.read(path, (2, 3), np.uint32)
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not found.flags.writeable
    path.unlink()


def test_an_array_that_the_disk_cannot_hold_is_refused(on_disk):
    with pytest.raises(OSError, match=r"space|large"):
        on_disk.zeros(1 << 60, np.uint8)


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 1000])
def test_parts_are_the_sorted_whole(on_disk, n):
    digests = drawn(n, 50)
    parts = list(sorted_parts(digest_blocks(digests), n, 2, on_disk))
    assert n < 65 or len(parts) > 1
    rows = np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in parts)])
    expected = sorted(range(n), key=lambda i: (digests[i : i + 1].tobytes(), i))
    assert rows.tolist() == expected
    for at, words in parts:
        assert hexes(words_digest(words)) == hexes(digests[at])


def test_equal_keys_are_in_one_part(on_disk):
    digests = drawn(1000, 20)
    seen = [set(hexes(words_digest(words))) for _, words in sorted_parts(digest_blocks(digests), 1000, 2, on_disk)]
    assert sum(len(part) for part in seen) == len(set.union(*seen))


def test_rows_that_are_left_out_are_not_sorted(on_disk):
    left_out = np.arange(300) % 3 == 0
    parts = sorted_parts(digest_blocks(drawn(300, 20), left_out), 300, 2, on_disk)
    assert sorted(np.concatenate([rows for rows, _ in parts]).tolist()) == np.flatnonzero(~left_out).tolist()


def test_groups():
    starts, group = groups(np.array([[1, 1], [1, 1], [1, 2], [3, 0]], np.uint64))
    assert starts.tolist() == [0, 2, 3]
    assert group.tolist() == [0, 0, 1, 2]


def test_distinct_digests_are_found_again(on_disk):
    digests = drawn(500, 80)
    expected = sorted(set(hexes(digests)))
    among = distinct_digests(digests.copy(), on_disk)
    assert hexes(among) == expected
    asked = np.concatenate([digests[:100], drawn(50, 60, seed=1)[1:]])
    hits, places = find_digests(asked, among, on_disk)
    assert sorted(hits.tolist()) == [i for i, name in enumerate(hexes(asked)) if name in expected]
    assert hexes(among[places]) == hexes(asked[hits])
    assert len(find_digests(asked, among[:0], on_disk)[0]) == 0
