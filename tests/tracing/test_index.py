import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.storage.identity import file_digest
from gem_assets.tracing.index import DIGEST, SortedFile, TraceIndex, host_key
from tests.lineage.conftest import World

# the fourth is too long for the bounds in a footer
WORDS = ["com", "com.a", "com.a-b", "com.a." + "x" * 9000, "com.a.b", "com.ab", "de.ü", "org"]


@pytest.fixture(params=[1, 3, 100])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], SortedFile]:
    """Keys with repetitions that cross row groups of 1, 3 and 100 rows."""
    chosen = sorted(WORDS[i] for i in np.random.default_rng(2).integers(0, len(WORDS), 60))
    table = pa.table({"key": chosen, "row": range(60)})
    pq.write_table(table, tmp_path / "sorted.parquet", row_group_size=request.param)
    return chosen, SortedFile(tmp_path / "sorted.parquet")


def test_a_key_is_found_in_every_group_that_holds_it(keys: tuple[list[str], SortedFile]):
    chosen, file = keys
    for word in [*WORDS, "", "com.a.", "zz"]:
        assert file.find(word).column("row").to_pylist() == [i for i, key in enumerate(chosen) if key == word]


def test_many_keys_are_found_at_once(keys: tuple[list[str], SortedFile]):
    chosen, file = keys
    wanted = ["com.a", "com.ab", "nothing", "org"]
    rows = file.find_many(pa.array(wanted), ["row"])
    assert rows.column_names == ["key", "row"]
    assert rows.column("row").to_pylist() == [i for i, key in enumerate(chosen) if key in wanted]
    assert file.find_many(pa.array([], pa.string()), ["row"]).num_rows == 0


def test_what_is_below_a_domain_is_found_and_nothing_beside_it(keys: tuple[list[str], SortedFile]):
    chosen, file = keys
    for domain in ("com.a", "com", "de", "org", "com.a.b"):
        expected = [i for i, key in enumerate(chosen) if key == domain or key.startswith(domain + ".")]
        assert sorted(file.below(domain, ".").column("row").to_pylist()) == expected


def test_hosts_are_written_from_their_most_general_label():
    assert host_key("WWW.Example.org.") == "org.example.www"


def test_the_cache_may_be_deleted_and_reads_tables_only_to_fill_itself(world: World):
    labels = world.made.current("student_labels", "2026-01")
    asked: list[str] = []

    def scan(artifact, columns):
        asked.append(artifact.identity)
        return world.made.scan(artifact, columns)

    world.index.scan = scan
    first = world.index.labels(labels)
    assert world.index.labels(labels) is first
    assert asked == [labels.identity]
    before = first.find(world.made.tables.read("labels__one", columns=["doc_id"]).column(0)[0].as_py()).to_pylist()
    shutil.rmtree(world.index.folder)
    world.index._open.clear()
    again = world.index.labels(labels)
    assert asked == [labels.identity] * 2
    assert again.find(before[0]["doc_id"]).to_pylist() == before
    assert [p.name for p in again.path.parent.parent.iterdir()] == [labels.identity[:32]]


def test_a_thinned_index_is_made_again_and_one_whose_digest_was_made_to_fit_is_found(world: World, caplog):
    order = world.made.current("training_order/balanced")
    sound = world.index.positions(order)
    rows, path = pq.read_table(sound.path), sound.path
    for fitting in (False, True):
        pq.write_table(rows.slice(5), path)
        if fitting:
            (path.parent / DIGEST).write_text(f"{file_digest(path)}  {path.name}\n")
            assert list(world.index.differing(world.made.store)) == [path.parent]
        else:
            fresh = TraceIndex(world.index.folder, world.made.scan)
            assert fresh.positions(order).rows == len(rows)
            assert "is not what was written" in caplog.text
            assert list(fresh.differing(world.made.store)) == []
