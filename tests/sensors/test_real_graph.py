"""Ticks of the real graph on a first snapshot that is too small, has no addresses and teaches a poor student."""

import dagster as dg
import pytest

from gem_assets.definitions import code_location
from gem_assets.orchestration.places import place_of, shown
from gem_assets.orchestration.reconciler import Reconciler, nodes_of
from tests.tiny import land_jsonl, passages

SETTINGS = """
engine = "inline"
[corpus]
min_text_chars = 80
[embedding]
dimension = 256
fit_documents = 2000
[teacher]
k = 6
seed_documents = 1000
n_init = 1
init_rows = 256
anneal_iter = 4
[student]
hash_bits = 10
epochs = 1
learning_rate = 0.001
"""
WANTED = "recipes/proportional"
FIRST, SECOND = 211, 574


class Ticks:
    """The real definitions on a data root; every tick is evaluated and run as the daemon does it."""

    def __init__(self, root, instance):
        self.instance = instance
        self.defs = code_location(root)
        self.graph = self.defs.resolve_asset_graph()
        self.keys = dg.AssetSelection.assets(shown((WANTED, None))[0]).upstream().resolve(self.graph)
        self.names = {node.asset for node in nodes_of(self.graph) if shown((node.asset, None))[0] in self.keys}
        self.reconciler = Reconciler(str(root), self.graph, instance, notes=False)
        self.cursor, self.results = None, []

    def settle(self):
        """Tick and run until nothing is asked for; returns what ran, in order."""
        ran = []
        for _ in range(30):
            outcome = dg.evaluate_automation_conditions(defs=self.defs, instance=self.instance, cursor=self.cursor)
            self.cursor = outcome.cursor
            runs = {}
            for key in sorted(self.keys):
                for partition in outcome.get_requested_partitions(key):
                    runs.setdefault(partition, []).append(key)
            if not runs:
                return ran
            for partition, keys in runs.items():
                self.results.append(self.run(keys, partition))
                ran += [place_of(key, partition) for key in keys]
        raise AssertionError(f"still asking: {ran[-10:]}")

    def run(self, keys, partition):
        return self.defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=keys,
            partition_key=partition,
            raise_on_error=False,
        )

    def items(self):
        return self.reconciler.look().items


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What there was after the first snapshot, and after the second."""
    root = tmp_path_factory.mktemp("ticks")
    (root / "gem.toml").write_text(SETTINGS)
    rows = [{"text": row["text"]} for row in passages()[: FIRST + SECOND]]
    assert len(rows) == FIRST + SECOND
    with dg.DagsterInstance.ephemeral() as instance:
        ticks, found = Ticks(root, instance), {}
        land_jsonl(root, "2026-01", rows[:FIRST])
        instance.add_dynamic_partitions("snapshot", ["2026-01"])
        found["first"], found["waiting"] = ticks.settle(), ticks.items()
        land_jsonl(root, "2026-02", rows[FIRST:])
        instance.add_dynamic_partitions("snapshot", ["2026-02"])
        found["second"], found["left"] = ticks.settle(), ticks.items()
        yield ticks, found


def test_sample_b_a_space_waits_for_documents_says_how_many_and_fails_nothing(seen):
    _, found = seen
    held = found["waiting"]["embedding_space", None]
    assert held.state == "held"
    assert "needs 256 documents for embedding.dimension = 256 and has 2" in held.because
    assert found["first"] == [("raw_shards", "2026-01"), ("page_history", None)]
    others = [item for place, item in found["waiting"].items() if place != ("embedding_space", None)]
    assert {item.behind for item in others} == {("embedding_space", None)}


def test_sample_b_it_is_made_by_itself_once_there_are_enough(seen):
    ticks, found = seen
    assert all(result.success for result in ticks.results)
    ran = found["second"]
    assert set(ran) >= {("embedding_space", None), ("student_labels", "2026-01"), ("student_labels", "2026-02")}
    assert len(ran) == len(set(ran))
    assert not {name for name, _ in found["left"]} & ticks.names


def test_neither_missing_addresses_nor_unsure_labels_hold_back_a_recipe(seen):
    ticks, found = seen
    checks = [one for result in ticks.results for one in result.get_asset_check_evaluations() if not one.passed]
    assert any(
        one.check_name == "documents_are_sound" and "tracing them by URL will not work" in one.description
        for one in checks
    )
    assert any(one.check_name == "labels_are_sound" and "labels are unsure" in one.description for one in checks)
    assert {one.severity for one in checks} == {dg.AssetCheckSeverity.WARN}
    assert (WANTED, None) in found["second"]
