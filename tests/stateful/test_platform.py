"""Any order of landing, editing, removing, refitting, mixing, taking down and killing keeps the books straight.

``GEM_STATEFUL_EXAMPLES`` sets how many sequences are tried (8 by default, a few seconds).
"""

import json
import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gem_assets.corpus.text.cleaning import content_digest
from gem_assets.lineage.walk import walk
from gem_assets.maintenance.doctor import examine, repair
from gem_assets.takedown.blocklist import Blocklist, parse_entry
from gem_assets.takedown.certificate import request_takedown
from gem_assets.takedown.in_force import live_rows
from resources import StoreResource
from tests.stateful.steps import TRAP, KilledError, bring_up_to_date

SNAPSHOTS = ["s1", "s2", "s3"]
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
TEXTS = [f"Text {number}: " + " ".join(f"{word}{number}" for word in WORDS) for number in range(7)]
PAGES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, len(TEXTS) - 1)), min_size=1, max_size=5, unique_by=lambda page: page[0]
)


class Platform(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="gem-platform-"))
        (self.root / "gem.toml").write_text("[corpus.near]\nenabled = false\n")
        self.landed: dict[str, list[tuple[int, int]]] = {}
        self.bytes: dict[str, bytes] = {}
        self.fit, self.strategy = 1, "proportional"
        self.current = False

    def teardown(self) -> None:
        TRAP.disarm()
        shutil.rmtree(self.root)

    @property
    def store(self) -> StoreResource:
        return StoreResource(root=str(self.root))

    def write(self, snapshot: str, pages: list[tuple[int, int]]) -> None:
        folder = self.root / "landing" / snapshot
        folder.mkdir(parents=True, exist_ok=True)
        # the filler is there so that a snapshot is never wholly taken down or wholly known
        lines = [{"url": f"https://{snapshot}.example/", "text": f"Filler of {snapshot}, " + "word " * 10}]
        lines += [{"url": f"https://site{place}.example/page", "text": TEXTS[text]} for place, text in pages]
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        (folder / "pages.jsonl").write_bytes(data)
        (folder / "_SUCCESS").touch()
        self.bytes[sha256(data).hexdigest()] = data
        self.landed[snapshot] = pages
        self.current = False

    def run(self) -> list[str]:
        return bring_up_to_date(self.root, sorted(self.landed), fit=self.fit, strategy=self.strategy)

    @initialize(pages=PAGES)
    def first(self, pages: list[tuple[int, int]]) -> None:
        self.write("s1", pages)

    @rule(snapshot=st.sampled_from(SNAPSHOTS), pages=PAGES)
    def land_or_edit(self, snapshot: str, pages: list[tuple[int, int]]) -> None:
        self.write(snapshot, pages)

    @precondition(lambda self: len(self.landed) > 1)
    @rule(snapshot=st.sampled_from(SNAPSHOTS))
    def remove(self, snapshot: str) -> None:
        if snapshot not in self.landed:
            return
        shutil.rmtree(self.root / "landing" / snapshot)
        del self.landed[snapshot]
        self.current = False
        store = self.store
        for asset in ("raw_shards", "student_labels"):
            if snapshot in store.artifacts.partitions(asset):
                store.artifacts.remove(asset, snapshot)
        for table in store.tables.tables():
            store.tables.delete_snapshot(table, snapshot)

    @rule()
    def refit(self) -> None:
        self.fit, self.current = self.fit + 1, False

    @rule(strategy=st.sampled_from(["proportional", "uniform", "unimax"]))
    def mix(self, strategy: str) -> None:
        self.current = self.current and strategy == self.strategy
        self.strategy = strategy

    @rule(place=st.integers(0, 4))
    def take_down(self, place: int) -> None:
        store = self.store
        if request_takedown(store.artifacts, store.tables, [parse_entry(f"site{place}.example")]) is not None:
            self.current = False

    @rule(step=st.integers(1, 120))
    def kill(self, step: int) -> None:
        TRAP.arm(self.root, step)
        try:
            self.run()
        except KilledError:
            pass
        finally:
            self.current = TRAP.disarm()

    @rule()
    def run_and_look(self) -> None:
        self.run()
        self.current = True
        self.look()

    @precondition(lambda self: self.current)
    @rule()
    def nothing_changed_writes_nothing(self) -> None:
        before = self.files()
        assert self.run() == []
        assert self.files() == before

    @rule()
    def mend(self) -> None:
        repair(self.store, older_than_s=-1.0)

    def files(self) -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_size, path.stat().st_mtime_ns)
            for folder in ("artifacts", "tables")
            for path in (self.root / folder).rglob("*")
            if path.is_file() and not path.name.endswith(".lock")
        }

    def look(self) -> None:
        store = self.store
        kept: dict[str, list[dict]] = {}
        for snapshot in self.landed:
            paths = store.shards([store.input("raw_shards", snapshot)])[snapshot]
            kept[snapshot] = [row for path in paths for row in pq.read_table(path).to_pylist()]
        texts = [row["content_digest"] for rows in kept.values() for row in rows]
        assert len(texts) == len(set(texts))
        self.every_text_is_kept_somewhere(set(texts))
        table = f"labels__{self.fit}"
        for snapshot, rows in kept.items():
            labelled = store.tables.read(table, columns=["doc_id"], snapshot=snapshot).column("doc_id").to_pylist()
            assert sorted(labelled) == sorted(row["doc_id"] for row in rows)
        counts = store.artifact(store.input("domain_inventory")).manifest.counts
        assert counts["documents"] == len(texts)
        assert counts["tokens"] == sum(row["n_tokens"] for rows in kept.values() for row in rows)
        self.every_recipe_resolves()
        for request in Blocklist(self.root).requests():
            searched = {one.where: one.rows for one in live_rows(store.artifacts, store.tables, request)}
            in_force = [*(f"raw_shards[{snapshot}]" for snapshot in self.landed), f"table {table}"]
            assert {where: searched[where] for where in in_force if searched.get(where)} == {}
        assert [one for one in examine(store) if one.severity == "error"] == []

    def every_text_is_kept_somewhere(self, texts: set[str]) -> None:
        gone = {entry.value for entry in Blocklist(self.root).entries()}
        for pages in self.landed.values():
            for place, text in pages:
                digest = content_digest(TEXTS[text])
                if f"site{place}.example" not in gone and digest not in gone:
                    assert digest in texts

    def every_recipe_resolves(self) -> None:
        artifacts = self.store.artifacts
        for asset in artifacts.assets():
            if not asset.startswith("recipes/"):
                continue
            for recipe in artifacts.history(asset):
                lineage = walk(artifacts, asset, identity=recipe.identity)
                assert lineage.faults == ()
                for node in lineage.nodes.values():
                    if node.manifest.asset == "raw_shards":
                        self.rows_lie_in_landed_bytes(node)

    def rows_lie_in_landed_bytes(self, node) -> None:
        landed = next(ref for ref in node.manifest.inputs if ref.asset == "landing")
        lines = {file.path: self.bytes[file.sha256].splitlines() for file in landed.files}
        for path in sorted(node.artifact.path.glob("part-*.parquet")):
            for row in pq.read_table(path, columns=["file", "offset", "content_digest"]).to_pylist():
                raw = json.loads(lines[row["file"]][row["offset"]])
                assert content_digest(raw["text"]) == row["content_digest"]


TestPlatform = pytest.mark.slow(pytest.mark.crash(Platform.TestCase))
TestPlatform.settings = settings(
    max_examples=int(os.environ.get("GEM_STATEFUL_EXAMPLES", "8")),
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
