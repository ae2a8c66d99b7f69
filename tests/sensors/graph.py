"""A small graph with the real keys, the real condition and a real store; its stages write a line each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

import dagster as dg

from gem_assets.orchestration.places import place_of, shown
from gem_assets.orchestration.stage import Making, Stage, staged
from gem_assets.storage.manifest import InputRef
from resources import SettingsResource, StoreResource
from sensors.conditions import with_policy

NOWHERE = "/nonexistent/gem-assets"
SNAPSHOT = dg.DynamicPartitionsDefinition(name="snapshot")


def every(asset: str) -> dg.AssetDep:
    return dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping())


LAYOUT = [
    ("raw_shards", ["landing"], True, "content"),
    ("page_history", [every("raw_shards")], False, "fan_in"),
    ("embedding_space", [every("raw_shards")], False, "fitted"),
    ("embeddings", ["raw_shards", "embedding_space"], True, "content"),
    ("teacher_clusters", ["embedding_space", every("embeddings")], False, "fitted"),
    ("student_model", ["teacher_clusters", every("raw_shards")], False, "fitted"),
    ("student_labels", ["raw_shards", "student_model"], True, "content"),
    ("gis_taxonomy", ["teacher_clusters", every("raw_shards")], False, "fitted"),
    ("proxy_tokens", ["teacher_clusters", every("student_labels")], False, "fitted"),
    ("cluster_counts", ["student_labels", "proxy_tokens", "page_history"], True, "content"),
    ("domain_inventory", [every("student_labels"), "gis_taxonomy"], False, "fan_in"),
    ("recipe", ["domain_inventory", every("cluster_counts")], False, "fan_in"),
    ("recipes/uniform", ["domain_inventory"], False, "fan_in"),
    ("recipes/balanced", ["domain_inventory"], False, "fan_in"),
    ("training_order/uniform", ["recipes/uniform"], False, "by_hand"),
    ("training_order/balanced", ["recipes/balanced"], False, "fan_in"),
    ("mixture_audit/uniform", ["training_order/uniform"], False, "by_hand"),
    ("mixture_audit/balanced", ["training_order/balanced"], False, "fan_in"),
]
ORDER = [row[0] for row in LAYOUT]
STRATEGIES = {
    "recipe_rules": dg.StaticPartitionsDefinition(["uniform", "balanced"]),
    "training_order": dg.StaticPartitionsDefinition(["balanced", "uniform"]),
    "mixture_audit": dg.StaticPartitionsDefinition(["balanced", "uniform"]),
}
SAME = dg.StaticPartitionMapping({"uniform": "uniform", "balanced": "balanced"})
NOT_READ = {("student_model", "raw_shards"), ("gis_taxonomy", "raw_shards")}
"""Parents that an asset waits for and that are not in its identity, as in the real graph."""


def _nodes():
    """The nodes with strategies, each with what its strategies read and their policy."""
    found = {}
    for name, deps, _, policy in LAYOUT:
        node, strategy = shown((name, None))
        if strategy is not None:
            found.setdefault(node.to_user_string(), {})[strategy] = deps, policy
    return found.items()


@dataclass
class World:
    """A data root, code versions, faults that are switched on, and an instance on which ticks are evaluated.

    Attributes
    ----------
    latest
        As ``recrawls.use = "latest"``: a snapshot's page is not counted when a later one holds the same.
    during
        Called while a result is being made.
    blocked
        Contents that were taken down.
    in_vain
        Places of runs that succeeded and made nothing.
    """

    instance: dg.DagsterInstance
    root: Path
    code: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    failing: set[tuple[str, str | None]] = field(default_factory=set)
    killed: set[tuple[str, str | None]] = field(default_factory=set)
    unsound: set[str] = field(default_factory=set)
    warned: set[str] = field(default_factory=set)
    made: list[tuple[str, str | None]] = field(default_factory=list)
    ran: list[tuple[str, str | None]] = field(default_factory=list)
    latest: bool = False
    during: dict[tuple[str, str | None], Callable[[], None]] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    in_vain: list[tuple[str, str | None]] = field(default_factory=list)
    cursor: object = None
    resolved: dict[tuple, dg.Definitions] = field(default_factory=dict)

    @property
    def store(self) -> StoreResource:
        return StoreResource(root=str(self.root))

    def definitions(self) -> dg.Definitions:
        """The graph at the present code versions and settings, as a code server loads it once for each."""
        at = (*sorted(self.code.items()), *sorted(self.settings.items()))
        if at not in self.resolved:
            self.resolved[at] = self._definitions()
        return self.resolved[at]

    def reload(self) -> None:
        """Load the code again, and lose the daemon's cursor."""
        self.resolved.clear()
        self.cursor = None

    def _definitions(self) -> dg.Definitions:
        assets: list = [dg.AssetSpec("landing", partitions_def=SNAPSHOT)]
        assets += [self._asset(*row) for row in LAYOUT if "/" not in row[0]]
        assets += [self._by_strategy(*nodes) for nodes in _nodes()]

        @dg.asset_check(asset="raw_shards", partitions_def=SNAPSHOT, blocking=True)
        def sound(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            bad = context.partition_key in self.unsound
            severity = dg.AssetCheckSeverity.ERROR if bad else dg.AssetCheckSeverity.WARN
            passed = not bad and context.partition_key not in self.warned
            return dg.AssetCheckResult(passed=passed, severity=severity, description="rows are missing")

        resources = {"store": self.store, "settings": SettingsResource(data_root=str(self.root))}
        return dg.Definitions(
            assets=assets, asset_checks=[sound], resources=resources, executor=dg.in_process_executor
        ).map_asset_specs(func=partial(with_policy, root=str(self.root)))

    def _asset(self, name: str, deps: list, partitioned: bool, policy: str) -> dg.AssetsDefinition:
        @dg.asset(
            key=name,
            deps=deps,
            partitions_def=SNAPSHOT if partitioned else None,
            tags={"gem/refresh": policy},
            code_version=self.code.get(name, "1"),
        )
        @staged
        def stage(context: dg.AssetExecutionContext, store: StoreResource) -> Making:
            return (yield from self._make(store, (name, context.partition_key if partitioned else None), deps))

        return stage

    def _by_strategy(self, node: str, rows: dict[str, tuple[list, str]]) -> dg.AssetsDefinition:
        parents = {shown((dep, None))[0].to_user_string() for deps, _ in rows.values() for dep in deps}
        deps = [dg.AssetDep(name, partition_mapping=SAME if name in STRATEGIES else None) for name in sorted(parents)]
        policies = {f"gem/refresh.{strategy}": policy for strategy, (_, policy) in rows.items()}

        @dg.asset(key=node, deps=deps, partitions_def=STRATEGIES[node], tags={"gem/refresh": "by_hand", **policies})
        @staged
        def stage(context: dg.AssetExecutionContext, store: StoreResource) -> Making:
            place = place_of(dg.AssetKey(node), context.partition_key)
            return (yield from self._make(store, place, rows[context.partition_key][0]))

        return stage

    def _make(self, store: StoreResource, place: tuple[str, str | None], deps: list) -> Making:
        name, snapshot = place
        made = Stage(
            store,
            name,
            partition=snapshot,
            config={"setting": self.settings.get(name, "")},
            code_version=self.code.get(name, "1"),
            inputs=[*self._inputs(store, name, deps, snapshot)],
        )
        yield made
        if made.done is None:
            if place in self.failing:
                raise dg.Failure(f"{name} cannot be made", allow_retries=False)
            if place in self.during:
                self.during[place]()
            with made.write() as draft:
                (draft.path / "made.txt").write_text(made.identity)
                draft.counts = {"kept": 1, "tokens": 1}
            self.made.append(place)
        self.ran.append(place)
        return made.result()

    def _inputs(self, store: StoreResource, name: str, deps: list, snapshot: str | None):
        for dep in deps:
            if dep == "landing":
                data = (self.root / "landing" / str(snapshot) / "pages.txt").read_bytes()
                yield InputRef(asset="landing", partition=snapshot, data_version=sha256(data).hexdigest())
                if data.decode() in self.blocked:
                    yield InputRef(asset="blocklist", data_version=data.decode())
            elif (name, "page_history") == ("cluster_counts", dep):
                pages = store.input(dep)  # compared by the snapshot itself
                if self.latest:
                    yield InputRef(asset=dep, partition=snapshot, data_version=self._replaced(store, pages, snapshot))
            elif isinstance(dep, str):
                partitioned = any(row[0] == dep and row[2] for row in LAYOUT)
                yield store.input(dep, snapshot if partitioned else None)
            else:
                found = store.inputs(dep.asset_key.to_user_string())
                if (name, dep.asset_key.to_user_string()) not in NOT_READ:
                    yield from found

    def _replaced(self, store: StoreResource, pages: InputRef, snapshot: str | None) -> str:
        shards = [ref for ref in store.artifact(pages).manifest.inputs if ref.asset == "raw_shards"]
        landed = {ref.partition: store.artifact(ref).manifest.inputs[0].data_version for ref in shards}
        later = [version for name, version in landed.items() if str(name) > str(snapshot)]
        return str(landed.get(snapshot) in later)

    def land(self, snapshot: str, version: str) -> None:
        """Land a snapshot and let the landing sensor register it."""
        folder = self.root / "landing" / snapshot
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pages.txt").write_text(version)
        (folder / "_SUCCESS").touch()
        self.register(snapshot)

    def register(self, snapshot: str) -> None:
        self.instance.add_dynamic_partitions("snapshot", [snapshot])
        version = (self.root / "landing" / snapshot / "pages.txt").read_text()
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization("landing", partition=snapshot, tags={"dagster/data_version": version})
        )

    def requested(self) -> dict[str, set[str]]:
        """Evaluate one tick; assets requested, with their partitions ("" for none)."""
        outcome = dg.evaluate_automation_conditions(defs=self.definitions(), instance=self.instance, cursor=self.cursor)
        self.cursor = outcome.cursor
        found = {}
        for name, *_ in LAYOUT:
            key, strategy = shown((name, None))
            asked = outcome.get_requested_partitions(key)
            partitions = asked & {strategy} if strategy is not None else asked
            if partitions:
                found[name] = {place_of(key, partition)[1] or "" for partition in partitions}
        return found

    def execute(self, requested: dict[str, set[str]]) -> None:
        """Run what a tick asked for, one run per set of partitions and partition, as the daemon does."""
        defs = self.definitions()
        runs: dict[tuple[str, str], list[str]] = {}
        for name, snapshots in requested.items():
            node, strategy = shown((name, None))
            partitions = defs.resolve_asset_graph().get(node).partitions_def
            for snapshot in snapshots:
                runs.setdefault((str(partitions), strategy or snapshot), []).append(name)
        for (_, partition), names in sorted(runs.items()):
            names.sort(key=ORDER.index)
            places = [place_of(shown((name, None))[0], partition or None) for name in names]
            killed = [i for i, place in enumerate(places) if place in self.killed]
            alive = names[: killed[0]] if killed else names
            job = defs.resolve_implicit_global_asset_job_def()
            if alive:
                keys = [shown((name, None))[0] for name in alive]
                made = len(self.made)
                outcome = job.execute_in_process(
                    instance=self.instance,
                    asset_selection=keys,
                    partition_key=partition or None,
                    raise_on_error=False,
                )
                if outcome.success and len(self.made) == made:
                    self.in_vain += places[: len(alive)]
            if killed:
                rest = {shown((name, None))[0] for name in names[killed[0] :]}
                self.instance.create_run_for_job(
                    job_def=job.get_subset(asset_selection=rest),
                    tags={"dagster/partition": partition} if partition else {},
                    asset_selection=rest,
                    status=dg.DagsterRunStatus.STARTED,
                )
                self.cut_off()

    def cancel(self, place: tuple[str, str | None]) -> None:
        """A run of one place that a person cancels in the UI before it has made anything."""
        key, partition = shown(place)
        job = self.definitions().resolve_implicit_global_asset_job_def().get_subset(asset_selection={key})
        tags = {"dagster/partition": partition} if partition else {}
        run = self.instance.create_run_for_job(job_def=job, tags=tags, asset_selection={key})
        self.instance.report_run_canceling(run)
        self.instance.report_run_canceled(self.instance.get_run_by_id(run.run_id))

    def cut_off(self) -> None:
        """What the start of a server does with a run whose process is gone."""
        for run in self.instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
            self.instance.report_run_canceled(run, message="The process of this run ended while it was under way.")

    def settle(self, ticks: int = 20) -> list[dict[str, set[str]]]:
        """Tick and run until nothing is requested; returns what each tick asked for."""
        history = []
        for _ in range(ticks):
            requested = self.requested()
            if not requested:
                return history
            history.append(requested)
            self.execute(requested)
        raise AssertionError(f"still requesting after {ticks} ticks: {history[-3:]}")

    def runs_of(self, history: list[dict[str, set[str]]], asset: str) -> list[str]:
        return sorted(partition for tick in history for partition in tick.get(asset, ()))
