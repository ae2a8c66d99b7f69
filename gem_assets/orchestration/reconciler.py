"""Look at a data root and say what is stale: :func:`gem_assets.orchestration.reconcile.reconcile` on real assets.

What a stage would be made from is asked of the asset itself (:mod:`gem_assets.orchestration.probe`). An answer is kept
until the time or size of something that it was read from changes on disk, so a look at a store without news is a few
thousand ``stat`` calls, and a look after one commit asks only what reads it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from gem_assets.corpus.landing import SUCCESS, list_snapshots
from gem_assets.orchestration.history import History
from gem_assets.orchestration.places import place_of, shown
from gem_assets.orchestration.plan import POLICY_TAG, Reason, differences
from gem_assets.orchestration.probe import probe
from gem_assets.orchestration.reconcile import (
    Asked,
    Item,
    Look,
    Node,
    NoPast,
    Place,
    launches,
    reconcile,
)
from gem_assets.orchestration.stamps import Stamps, stamp_of
from gem_assets.settings import SETTINGS_FILE, Settings, load_settings
from gem_assets.stages import AUDITS, CARRIED_EVIDENCE, GROWING, ORDERS, PROXY_SWARM, PROXY_TOKENS, RECIPES, strategy_of
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.identity import digest
from gem_assets.storage.manifest import stage_name
from gem_assets.storage.store import RAW_SHARDS, Store, shard_files

logger = logging.getLogger(__name__)

KEPT_FOR_S = 30.0
"""How long the answer of a look is repeated while nothing on the disk has moved."""


@dataclass(frozen=True)
class Reconciled:
    """What one look found."""

    nodes: Sequence[Node]
    snapshots: Sequence[str]
    items: Mapping[Place, Item]

    @property
    def launches(self) -> list[Item]:
        """What runs now."""
        return launches(self.nodes, self.snapshots, self.items)


def nodes_of(graph: Any) -> list[Node]:
    """Return the assets of a Dagster graph that have a policy, each after its parents; one for each strategy."""
    found = [graph.get(key) for level in graph.toposorted_asset_keys_by_level for key in sorted(level)]
    return [
        _node(graph, node, strategy)
        for node in found
        if node.is_materializable and POLICY_TAG in node.tags
        for strategy in (node.partitions_def.get_partition_keys() if _by_strategy(node) else (None,))
    ]


def _by_strategy(node: Any) -> bool:
    return isinstance(node.partitions_def, dg.StaticPartitionsDefinition)


def _node(graph: Any, node: Any, strategy: str | None) -> Node:
    by_strategy = strategy is not None
    return Node(
        asset=place_of(node.key, strategy)[0],
        policy=node.tags.get(f"{POLICY_TAG}.{strategy}", node.tags[POLICY_TAG]),
        partitioned=node.is_partitioned and not by_strategy,
        parents=tuple(sorted(_parents(graph, node, strategy))),
        run=f"{node.partitions_def.get_serializable_unique_identifier()}/{strategy}" if by_strategy else "",
    )


def _parents(graph: Any, node: Any, strategy: str | None) -> Iterator[str]:
    """Yield what an asset is made from; of a parent with strategies, those that Dagster maps to this one."""
    for key in node.parent_keys:
        parent = graph.get(key)
        if not _by_strategy(parent):
            yield key.to_user_string()
            continue
        definition = parent.partitions_def
        wanted = definition.get_partition_keys()
        if strategy is not None:
            mapped = graph.get_partition_mapping(node.key, key).get_upstream_mapped_partitions_result_for_partitions(
                node.partitions_def.subset_with_partition_keys([strategy]), node.partitions_def, definition
            )
            wanted = mapped.partitions_subset.get_partition_keys()
        yield from (place_of(key, name)[0] for name in wanted)


class Reconciler:
    """Looks at one data root, again and again.

    Parameters
    ----------
    instance
        Holds the history of runs; None where it cannot be read.
    notes
        Write down what failed tries had read; off for commands that only look.
    """

    def __init__(self, root: str, graph: Any, instance: dg.DagsterInstance | None, *, notes: bool = True) -> None:
        self.root, self.graph, self.nodes = root, graph, nodes_of(graph)
        self._policies = {node.asset: node for node in self.nodes}
        self.history = History(instance, graph, notes=notes) if instance is not None else None
        self.instance = instance
        self._store = Store(root=root)
        self._local = "://" not in root
        self._looks: dict[Place, tuple[Any, Look]] = {}
        self._tables: dict[str, bool] = {}
        self._settings: tuple[Any, Settings] | None = None
        self._last: tuple[Any, float, Reconciled] | None = None
        self._stamps = Stamps(root)
        self._asked = Asked()

    def serves(self, instance: dg.DagsterInstance) -> bool:
        """Tell whether this looks at the history of an instance; another handle on the same files is taken over."""
        mine = self.instance
        if mine is None or not (mine.is_persistent and instance.is_persistent):
            return mine is instance
        if mine.root_directory != instance.root_directory:
            return False
        self.instance = instance
        if self.history is not None:
            self.history.instance = instance
        return True

    @property
    def settings(self) -> Settings:
        """Settings of the data root, read again when their file has changed."""
        stamp = stamp_of(Path(self.root) / SETTINGS_FILE) if self._local else None
        if self._settings is None or self._settings[0] != stamp:
            self._settings = stamp, load_settings(self.root)
        return self._settings[1]

    def registered(self) -> list[str]:
        """Return the snapshots that Dagster knows, sorted."""
        return sorted(self.instance.get_dynamic_partitions("snapshot")) if self.instance is not None else []

    def known(self) -> list[str]:
        """Return the snapshots that landed completely, were ingested or are registered, sorted."""
        landed = [one.name for one in list_snapshots(self.settings.landing) if one.complete and one.problem is None]
        return sorted({*landed, *self._store.artifacts.partitions(RAW_SHARDS), *self.registered()})

    def look(
        self,
        snapshots: Sequence[str] | None = None,
        *,
        asked: Asked | None = None,
        only: frozenset[str] | None = None,
        imagined: frozenset[str] = frozenset(),
        now: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Reconciled:
        """Say what is stale.

        Parameters
        ----------
        only
            Look at these assets alone, as if nothing upstream of them were stale.
        imagined
            Snapshots among those given that have not landed.
        progress
            Called with (assets asked, assets to ask).
        """
        moment = time.time() if now is None else now
        chosen = self.registered() if snapshots is None else list(snapshots)
        self._asked = asked or Asked()
        stamps = self._stamps.take(self.settings.landing, chosen) if self._local else None
        # as read: a run that ends while its predecessors are being read belongs to the next look
        version = self.history.refresh() if self.history is not None else None
        state = (stamps, chosen, self._asked, only, imagined, version)
        if self._last is not None and self._last[0] == state and moment < self._last[1] and self._local:
            return self._last[2]
        nodes = [node for node in self.nodes if only is None or node.asset in only]
        asked_of, total = 0, sum(len(chosen) if node.partitioned else 1 for node in nodes)

        def ask(place: Place) -> Look:
            nonlocal asked_of
            if progress is not None:
                progress(asked_of, total)
            asked_of += 1
            return _imagined(place) if place[1] in imagined else self.ask(place)

        found = reconcile(
            nodes,
            chosen,
            ask,
            self.history or NoPast(),
            asked=self._asked,
            now=moment,
        )
        again = [item.again_at for item in found.values() if item.again_at is not None]
        answer = Reconciled(nodes, chosen, found)
        self._last = state, min([moment + KEPT_FOR_S, *again]), answer
        return answer

    def launch(self) -> list[Item]:
        """Return what is to be launched now, and remember what each will have read."""
        chosen = self.look().launches
        for item in chosen:
            if self.history is not None:
                # what joins the run of its parent reads something that is not there yet
                self.history.launched(item.place, item.basis if item.state == "ready" else "")
        return chosen

    def current(self, found: Reconciled) -> list[Place]:
        """Return the places of a look that are exactly what they would be made from now."""
        places = [(node, name) for node in found.nodes for name in (found.snapshots if node.partitioned else (None,))]
        return [
            (node.asset, name)
            for node, name in places
            if (node.policy != "by_hand" or node.asset in self._asked.assets)
            and (node.asset, name) not in found.items
            and (look := self.ask((node.asset, name))).made
            and not look.reasons
        ]

    def failed_checks(self, place: Place) -> tuple[str, ...]:
        """Name the checks that a current result did not pass."""
        return self.history.failed_checks(place) if self.history is not None else ()

    def ask(self, place: Place) -> Look:
        """Say what is known of one result; what Dagster was not told is a reason too."""
        key = self._stamp(place)
        kept = self._looks.get(place)
        if kept is not None and kept[0] == key and key is not None:
            look = kept[1]
        else:
            look = self._fresh(place)
            self._looks[place] = key, look
        if self.history is None or look.reasons or not look.made or look.missing:
            return look
        asset, partition = place
        current = self._store.artifacts.current(asset, partition)
        if self._policies[asset].policy == "by_hand" and asset not in self._asked.assets:
            return look
        if current is None or self.history.told(place) != current.data_version:
            return Look(True, (Reason(kind="untold", text="Dagster has no record of it yet"),), "", look.basis)
        if self.history.unchecked(place):
            return Look(True, (Reason(kind="unchecked", text="not all of its checks have run"),), "", look.basis)
        return look

    def _fresh(self, place: Place) -> Look:
        asset, partition = place
        current = self._store.artifacts.current(asset, partition)
        try:
            return self._compared(asset, partition, current)
        except Exception as error:  # whatever one asset stumbles over holds that asset, and nothing else
            logger.debug("%s cannot say what it would be made from", stage_name(asset, partition), exc_info=True)
            own = type(error).__module__.split(".")[0] in ("gem_assets", "resources", "sensors")
            foreseen = own or isinstance(error, dg.Failure)
            text = str(error) if foreseen else f"{type(error).__name__}: {error}"
            kind = "missing" if current is None else "upstream"
            return Look(current is not None, (Reason(kind=kind, text=text),), text, digest(text))

    def _compared(self, asset: str, partition: str | None, current: Artifact | None) -> Look:
        """Compare what there is with what would be made now."""
        by_hand = self._policies[asset].policy == "by_hand" and asset not in self._asked.assets
        if by_hand and not self._shows_taken_down(asset):
            return Look(current is not None)
        if asset == RAW_SHARDS and partition is not None and not self._landed(partition):
            return self._gone(current, partition)
        key, shown_partition = shown((asset, partition))
        found = probe(self.graph.get(key).assets_def, self.settings, shown_partition)
        stage = found.stage
        basis = stage.identity if stage is not None else digest(found.missing)
        if by_hand:
            clean = current is not None and stage is not None and stage.identity != current.identity
            why = Reason(kind="takedown", text="it shows documents that were taken down")
            return Look(current is not None, (why,), "" if clean else "its inputs still hold them", basis)
        if current is None:
            return Look(False, (Reason(kind="missing", text="never made"),), found.missing, basis)
        if found.missing:
            return Look(True, (Reason(kind="upstream", text=found.missing),), found.missing, basis)
        if found.why is not None:
            return Look(True, (found.why,), "", basis)
        if stage is None:
            raise RuntimeError(f"{stage_name(asset, partition)}: the probe found neither a stage nor what is missing")
        if stage.identity != current.identity:
            reasons = differences(current.manifest, stage.wanted, GROWING)
            return Look(True, reasons, "", basis)
        if not self._tables_stand(stage, current):
            return Look(True, (Reason(kind="missing", text="its rows are no longer in their table"),), "", basis)
        return Look(True, (), "", basis)

    def _gone(self, current: Artifact | None, snapshot: str) -> Look:
        """Say what is known of a snapshot whose crawl files are not there."""
        from gem_assets.corpus.dedup.ownership import dangling_texts
        from gem_assets.corpus.shards import DUPLICATES_FILE
        from gem_assets.takedown.blocklist import blocklist_of
        from gem_assets.takedown.request import unapplied

        folder = self.settings.landing / snapshot
        way_out = f"{folder} has no {SUCCESS}: land the snapshot again (gem land … --snapshot {snapshot})"
        if current is None:
            return Look(False, (Reason(kind="missing", text="never made"),), way_out, digest(way_out))
        blocklist = blocklist_of(self.root)
        if blocklist is not None and unapplied(current, blocklist.entries()):
            why = Reason(kind="takedown", text="a request to take documents down concerns it")
            return Look(True, (why,), way_out, digest(way_out))
        keepers = self._store.artifacts.snapshots(RAW_SHARDS).items()
        shards = {name: shard_files(found) for name, found in keepers if name != snapshot}
        with self._store.spill() as spill:
            dangling = dangling_texts(current.path / DUPLICATES_FILE, shards, spill) > 0
        why = (Reason(kind="texts", text="another snapshot let go a text that was left to it"),) if dangling else ()
        return Look(True, why, way_out if dangling else "", digest(way_out))

    def _shows_taken_down(self, asset: str) -> bool:
        from gem_assets.takedown.certificate import shows_blocked

        return self._local and strategy_of(asset, ORDERS, AUDITS) is not None and shows_blocked(self.root, asset)

    def _tables_stand(self, stage: Any, current: Artifact) -> bool:
        """Look once per result: its rows went in with its manifest, and only a torn disk takes them away."""
        if current.manifest_sha256 not in self._tables:
            self._tables[current.manifest_sha256] = stage.tables_stand(current)
        return self._tables[current.manifest_sha256]

    def _landed(self, snapshot: str) -> bool:
        return (self.settings.landing / snapshot / SUCCESS).is_file()

    def _stamp(self, place: Place) -> Any:
        """Return what an answer was read from; None when that is not known."""
        asset, partition = place
        # prepared tokens and orders read files that are not results
        if not self._local or asset == PROXY_TOKENS or strategy_of(asset, ORDERS):
            return None
        read: list[Any] = [self._asked.assets, self._stamps.common, self._stamps.pointer(place)]
        if asset == RAW_SHARDS:
            current = self._store.artifacts.current(asset, partition)
            refs = current.manifest.inputs if current is not None else ()
            keepers = [self._stamps.pointer((RAW_SHARDS, ref.partition)) for ref in refs if ref.asset == RAW_SHARDS]
            return (*read, self._stamps.landed.get(partition or ""), *keepers)
        for parent in self._policies[asset].parents:
            of_snapshot = partition is not None and parent in self._policies and self._policies[parent].partitioned
            read.append(self._stamps.pointer((parent, partition)) if of_snapshot else self._stamps.pointers_of(parent))
        if asset == CARRIED_EVIDENCE:  # it looks through recipes and swarms of the past
            read.extend([self._stamps.pointers_of(f"{RECIPES}/"), self._stamps.pointers_of(PROXY_SWARM)])
        return tuple(read)


def _imagined(place: Place) -> Look:
    kind = "landing" if place[0] == RAW_SHARDS else "missing"
    return Look(False, (Reason(kind=kind, text="not landed yet"),))
