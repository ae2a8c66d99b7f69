"""Any order of replacing, deleting, tearing, compacting and reopening leaves what a dictionary would hold."""

import shutil
import tempfile
from pathlib import Path

import lance
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gem_assets.storage.lance import LanceTables
from gem_assets.storage.lance_files import manifests, orphan_files
from tests.resources.tables import rows

SNAPSHOTS = st.sampled_from(["s1", "s2", "s3"])
Content = dict[str, list[dict]]


class TableMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="gem-stateful-"))
        self.tables = LanceTables(self.root)
        self.history: list[Content] = []

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @property
    def now(self) -> Content:
        return self.history[-1] if self.history else {}

    @rule(
        snapshot=SNAPSHOTS, n=st.integers(1, 6), first=st.integers(0, 3), seed=st.integers(0, 1), reader=st.booleans()
    )
    def replace(self, snapshot: str, n: int, first: int, seed: int, reader: bool) -> None:
        data = rows(snapshot, n, first=first, seed=seed)
        wanted, before = data.to_pylist(), self.now.get(snapshot, [])
        commit = self.tables.replace_snapshot("t", data.to_reader(2) if reader else data, snapshot)
        assert commit.changed is (wanted != before)
        if commit.changed:
            self.history.append({**self.now, snapshot: wanted})
            old, new = ({row["doc_id"] for row in content} for content in (before, wanted))
            counts = (commit.rows_inserted, commit.rows_updated, commit.rows_deleted)
            assert counts == (len(new - old), len(new & old), len(old - new))
        assert commit.version == len(self.history)

    @precondition(lambda self: self.history)
    @rule(snapshot=SNAPSHOTS)
    def delete(self, snapshot: str) -> None:
        commit = self.tables.delete_snapshot("t", snapshot)
        assert commit.changed is (snapshot in self.now)
        if commit.changed:
            self.history.append({k: v for k, v in self.now.items() if k != snapshot})

    @precondition(lambda self: len(self.history) > 1)
    @rule(kept=st.sampled_from([0, 10, -1]))
    def tear_newest(self, kept: int) -> None:
        path = manifests(Path(self.tables.path("t")))[len(self.history)]
        path.write_bytes(path.read_bytes()[:kept])
        self.history.pop()

    @precondition(lambda self: self.history)
    @rule()
    def compact(self) -> None:
        dataset = lance.dataset(self.tables.path("t"), version=self.tables.version("t"))
        before = dataset.version
        dataset.optimize.compact_files()
        if dataset.version > before:
            # one version reserves fragment numbers, one rewrites
            self.history.extend([self.now] * (dataset.version - before))

    @rule()
    def reopen(self) -> None:
        self.tables = LanceTables(self.root)

    @precondition(lambda self: self.history)
    @rule()
    def clean(self) -> None:
        self.tables.remove_orphans("t", older_than_s=-1)
        assert orphan_files(Path(self.tables.path("t"))) == []

    @invariant()
    def table_is_what_the_history_says(self) -> None:
        assert self.tables.version("t") == (len(self.history) or None)
        if not self.history:
            return
        assert self.tables.snapshots("t") == {k: len(v) for k, v in sorted(self.now.items())}
        for snapshot, content in self.now.items():
            assert self.tables.read("t", snapshot=snapshot).sort_by("doc_id").to_pylist() == content

    @precondition(lambda self: self.history)
    @rule(data=st.data())
    def read_an_old_version(self, data: st.DataObject) -> None:
        version = data.draw(st.integers(1, len(self.history)))
        counts = {k: len(v) for k, v in sorted(self.history[version - 1].items())}
        assert self.tables.snapshots("t", version=version) == counts


TestTable = pytest.mark.slow(TableMachine.TestCase)
TestTable.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
