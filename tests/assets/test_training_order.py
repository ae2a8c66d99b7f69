"""What an order refuses to be drawn from, and what a fit waits for."""

import pytest

from gem_assets.storage.store import MissingInputError
from resources import StoreResource
from tests.direct import CORE, run_graph, run_step, write_small_settings
from tests.tiny import land_parquet, passages

DOCUMENTS = ("raw_shards", "page_history", "student_labels")


def test_an_order_refuses_labels_that_its_recipe_does_not_know(tmp_path):
    write_small_settings(tmp_path)
    rows = passages()
    land_parquet(tmp_path, "2026-01", rows[:80])
    run_graph(tmp_path, CORE)
    land_parquet(tmp_path, "2026-02", rows[80:120])
    run_graph(tmp_path, DOCUMENTS)
    with pytest.raises(MissingInputError, match=r"recipes/balanced does not know student_labels\[2026-02\].*gem run"):
        run_step(tmp_path, "training_order/balanced", None)
    run_graph(tmp_path, ("domain_inventory", "recipes/balanced"))
    assert run_step(tmp_path, "training_order/balanced", None).metadata["computed"]
    # the same snapshot with other documents is as unknown as a new one
    land_parquet(tmp_path, "2026-02", rows[80:110])
    run_graph(tmp_path, DOCUMENTS)
    with pytest.raises(MissingInputError, match=r"does not know student_labels\[2026-02\]: the labels"):
        run_step(tmp_path, "training_order/balanced", None)


def test_a_space_waits_for_the_documents_that_its_dimension_needs(tmp_path):
    write_small_settings(tmp_path)
    rows = passages()
    land_parquet(tmp_path, "2026-01", rows[:10])
    run_graph(tmp_path, ("raw_shards",))
    with pytest.raises(MissingInputError, match=r"needs 16 documents for embedding.dimension = 16 and has 10"):
        run_step(tmp_path, "embedding_space", None)
    land_parquet(tmp_path, "2026-02", rows[10:60])
    run_graph(tmp_path, ("raw_shards", "embedding_space"))
    assert StoreResource(root=str(tmp_path)).artifacts.current("embedding_space").manifest.counts["dimension"] == 16
