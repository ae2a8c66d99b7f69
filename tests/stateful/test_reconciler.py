"""Whatever happens to a data root, ticks bring it to the one state that its content asks for.

The sequences land, change and remove snapshots, take content down, refit, change code, fail, kill, cancel, warn, delete
and add partitions, lose the cursor and reload the code. ``GEM_STATEFUL_EXAMPLES`` sets how many are tried (4 by
default).
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gem_assets.orchestration.places import shown
from gem_assets.orchestration.reconcile import UNSAID, Asked, Item, Place
from gem_assets.orchestration.reconciler import Reconciler
from tests.sensors.graph import LAYOUT, World

SNAPSHOTS = st.sampled_from(["01", "02", "03"])
VERSIONS = st.sampled_from(["v1", "v2", "v3"])
PER_SNAPSHOT = [name for name, _, partitioned, _ in LAYOUT if partitioned]
WHOLE = [name for name, _, partitioned, policy in LAYOUT if not partitioned and policy != "by_hand"]
PLACES = st.one_of(st.tuples(st.sampled_from(PER_SNAPSHOT), SNAPSHOTS), st.tuples(st.sampled_from(WHOLE), st.none()))
FOLLOWS = {
    "page_history",
    "domain_inventory",
    "recipe",
    "recipes/balanced",
    "training_order/balanced",
    "mixture_audit/balanced",
}
"""What depends on the content alone, and not on what the fitted things had seen when they were fitted."""


class Automation(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.roots = [Path(tempfile.mkdtemp(prefix="gem-automation-")) for _ in range(2)]
        self.instance = dg.DagsterInstance.ephemeral()
        self.world = World(self.instance, self.roots[0])
        self.canceled: set[Place] = set()
        logging.getLogger("dagster").setLevel(logging.CRITICAL)

    def teardown(self) -> None:
        self.instance.dispose()
        for root in self.roots:
            shutil.rmtree(root)

    @initialize(version=VERSIONS, latest=st.booleans())
    def first(self, version: str, latest: bool) -> None:
        self.world.latest = latest
        self.world.land("01", version)

    @rule(snapshot=SNAPSHOTS, version=VERSIONS)
    def land_or_change(self, snapshot: str, version: str) -> None:
        self.world.land(snapshot, version)

    @rule(snapshot=st.sampled_from(["02", "03"]))
    def remove(self, snapshot: str) -> None:
        shutil.rmtree(self.world.root / "landing" / snapshot, ignore_errors=True)
        artifacts = self.world.store.artifacts
        for asset in PER_SNAPSHOT:
            if snapshot in artifacts.partitions(asset):
                artifacts.remove(asset, snapshot)
        if snapshot in self.instance.get_dynamic_partitions("snapshot"):
            self.instance.delete_dynamic_partition("snapshot", snapshot)

    @rule(snapshot=SNAPSHOTS)
    def delete_the_partition_and_add_it_again(self, snapshot: str) -> None:
        if snapshot in self.instance.get_dynamic_partitions("snapshot"):
            self.instance.delete_dynamic_partition("snapshot", snapshot)
            self.world.requested()
            self.instance.add_dynamic_partitions("snapshot", [snapshot])

    @rule(asset=st.sampled_from(["raw_shards", "teacher_clusters", "student_labels", "recipe", "recipes/balanced"]))
    def change_code(self, asset: str) -> None:
        self.world.code[asset] = str(int(self.world.code.get(asset, "1")) + 1)

    @rule(place=PLACES)
    def break_something(self, place: tuple[str, str | None]) -> None:
        self.world.failing.add(place)

    @rule(place=PLACES)
    def kill(self, place: tuple[str, str | None]) -> None:
        self.world.killed.add(place)
        self.world.execute(self.world.requested())
        self.world.killed.clear()

    @rule(place=PLACES)
    def cancel(self, place: Place) -> None:
        if (place[1] or "") in self.world.requested().get(place[0], ()):
            self.world.cancel(place)
            self.canceled.add(place)
            # what a cancelled run had read is known from the next look, which the daemon takes every second
            self.world.requested()

    @rule(version=VERSIONS)
    def take_down(self, version: str) -> None:
        self.world.blocked.add(version)
        # a takedown changes the blocklist's files; those of the settings are watched in the same place
        (self.world.root / "gem.toml").write_text(f"# {sorted(self.world.blocked)}\n", encoding="utf-8")

    @rule()
    def refit(self) -> None:
        asked = Asked(assets=frozenset({"teacher_clusters"}), keep_fitted=False)
        item = self.items(asked).get(("teacher_clusters", None))
        if item is not None and item.state == "ready":
            self.world.execute({"teacher_clusters": {""}})

    @rule(snapshot=SNAPSHOTS)
    def warn(self, snapshot: str) -> None:
        self.world.warned ^= {snapshot}

    @rule(snapshot=SNAPSHOTS)
    def spoil(self, snapshot: str) -> None:
        self.world.unsound.add(snapshot)

    @rule(asset=st.sampled_from(PER_SNAPSHOT + WHOLE))
    def lose_history(self, asset: str) -> None:
        self.instance.wipe_assets([shown((asset, None))[0]])

    @rule()
    def reload(self) -> None:
        self.world.reload()

    @rule()
    def one_tick(self) -> None:
        self.world.execute(self.world.requested())

    @precondition(lambda self: not self.world.unsound)
    @rule()
    def let_ticks_run(self) -> None:
        self.settles()

    def settles(self) -> None:
        """Every asset is current, or held with a reason; nothing ran in vain; a further tick asks for nothing."""
        world = self.world
        made = len(world.made)
        for _ in range(40):
            found = self.items()
            wanted = world.requested()
            if not wanted:
                break
            world.in_vain.clear()
            world.execute(wanted)
            for place in world.in_vain:  # that Dagster is told what it had lost is no change, and not in vain
                assert {reason.kind for reason in found[place].reasons} <= UNSAID, found[place]
        assert world.requested() == {}
        held = self.items()
        for item in held.values():
            assert item.state == "held", item
            assert item.because, item
            root = item.behind or item.place
            assert root in world.failing | self.canceled or root[1] in world.unsound, item
        note(f"{len(world.made) - made} made, {len(held)} held")

    def items(self, asked: Asked | None = None) -> Mapping[Place, Item]:
        graph = self.world.definitions().resolve_asset_graph()
        return Reconciler(str(self.world.root), graph, self.instance, notes=False).look(asked=asked).items

    @rule()
    def mend_all_and_compare(self) -> None:
        """After all is mended and fitted anew, every byte is as in a data root that never saw anything else."""
        world = self.world
        broken = bool(world.failing or world.unsound or self.canceled)
        world.failing, world.unsound, self.canceled = set(), set(), set()
        if broken:  # somebody asks for what failed: new code is the plainest way to ask for everything
            for asset in (*PER_SNAPSHOT, *WHOLE):
                world.code[asset] = str(int(world.code.get(asset, "1")) + 1)
        self.settles()
        assert self.items() == {}
        # everything that is fitted follows this one
        world.code["embedding_space"] = str(int(world.code.get("embedding_space", "1")) + 1)
        self.settles()
        with dg.DagsterInstance.ephemeral() as instance:
            shutil.rmtree(self.roots[1])
            other = World(instance, self.roots[1], dict(world.code), latest=world.latest, blocked=world.blocked)
            for snapshot in sorted(self.instance.get_dynamic_partitions("snapshot")):
                other.land(snapshot, (world.root / "landing" / snapshot / "pages.txt").read_text())
            other.settle(40)
            for asset in (*PER_SNAPSHOT, *WHOLE):
                assert contents(other, asset) == contents(world, asset), asset


def contents(world: World, asset: str) -> dict[str | None, tuple[str, bytes]]:
    artifacts = world.store.artifacts
    found = ((place, artifacts.current(asset, place)) for place in artifacts.places(asset))
    return {place: (one.identity, (one.path / "made.txt").read_bytes()) for place, one in found if one is not None}


EXAMPLES = int(os.environ.get("GEM_STATEFUL_EXAMPLES", "4"))
TestAutomation = pytest.mark.slow(pytest.mark.crash(pytest.mark.timeout(300 + 30 * EXAMPLES)(Automation.TestCase)))
TestAutomation.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
