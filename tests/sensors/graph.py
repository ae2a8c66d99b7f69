"""A graph with the real keys and the real conditions, but no work: data versions are set by the test."""

from dataclasses import dataclass, field
from functools import partial

import dagster as dg

from sensors.conditions import with_policy

NOWHERE = "/nonexistent/gem-assets"
SNAPSHOT = dg.DynamicPartitionsDefinition(name="snapshot")


def every(asset: str) -> dg.AssetDep:
    return dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping())


FITTED_FROM = {
    "embedding_space": ["embedding_space"],
    "teacher_clusters": ["embedding_space", "teacher_clusters"],
    "student_model": ["embedding_space", "teacher_clusters", "student_model"],
    "gis_taxonomy": ["embedding_space", "teacher_clusters", "gis_taxonomy"],
}
LAYOUT = [
    ("raw_shards", ["landing"], True, "content"),
    ("embedding_space", [every("raw_shards")], False, "fitted"),
    ("embeddings", ["raw_shards", "embedding_space"], True, "content"),
    ("teacher_clusters", ["embedding_space", every("embeddings")], False, "fitted"),
    ("student_model", ["teacher_clusters", every("raw_shards")], False, "fitted"),
    ("student_labels", ["raw_shards", "student_model"], True, "content"),
    ("gis_taxonomy", ["teacher_clusters", every("raw_shards")], False, "fitted"),
    ("domain_inventory", [every("student_labels"), "gis_taxonomy"], False, "fan_in"),
    ("recipe", ["domain_inventory", "gis_taxonomy"], False, "fan_in"),
]


@dataclass
class World:
    """Landed versions, code versions, failing snapshots, and an instance on which ticks are evaluated."""

    instance: dg.DagsterInstance
    landed: dict[str, str] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    unsound: set[str] = field(default_factory=set)
    cursor: object = None
    root: str = NOWHERE
    resolved: dict[tuple[tuple[str, str], ...], dg.Definitions] = field(default_factory=dict)

    def definitions(self) -> dg.Definitions:
        """The graph at the present code versions, resolved once for each: that takes longer than its runs."""
        at = tuple(sorted(self.code.items()))
        if at not in self.resolved:
            self.resolved[at] = self._definitions()
        return self.resolved[at]

    def _definitions(self) -> dg.Definitions:
        assets: list = [dg.AssetSpec("landing", partitions_def=SNAPSHOT)]
        assets += [self._asset(*row) for row in LAYOUT]

        @dg.asset_check(asset="raw_shards", partitions_def=SNAPSHOT, blocking=True)
        def sound(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=context.partition_key not in self.unsound)

        return dg.Definitions(assets=assets, asset_checks=[sound], executor=dg.in_process_executor).map_asset_specs(
            func=partial(with_policy, root=self.root)
        )

    def _asset(self, name: str, deps: list, partitioned: bool, policy: str) -> dg.AssetsDefinition:
        @dg.asset(
            name=name,
            deps=deps,
            partitions_def=SNAPSHOT if partitioned else None,
            tags={"gem/refresh": policy},
            code_version=self.code.get(name, "1"),
        )
        def stage(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            code = self.code.get(name, "1")
            if not partitioned:
                if policy == "fitted":
                    made_from = [f"{n}={self.code.get(n, '1')}" for n in FITTED_FROM[name]]
                else:
                    made_from = [f"{k}={v}" for k, v in sorted(self.landed.items()) if k not in self.failing]
                return dg.MaterializeResult(data_version=dg.DataVersion(f"{code}|{','.join(made_from)}"))
            snapshot = context.partition_key
            if name == "raw_shards" and snapshot in self.failing:
                raise dg.Failure("bad snapshot", allow_retries=False)
            return dg.MaterializeResult(
                data_version=dg.DataVersion(
                    f"{self.landed[snapshot]}:{name}{code}{self.fitted() if name != 'raw_shards' else ''}"
                )
            )

        return stage

    def fitted(self) -> str:
        return self.code.get("teacher_clusters", "1")

    def land(self, snapshot: str, version: str) -> None:
        self.landed[snapshot] = version
        self.instance.add_dynamic_partitions("snapshot", [snapshot])
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization("landing", partition=snapshot, tags={"dagster/data_version": version})
        )

    def requested(self) -> dict[str, set[str]]:
        """Evaluate one tick; assets requested, with their partitions ("" for none)."""
        outcome = dg.evaluate_automation_conditions(defs=self.definitions(), instance=self.instance, cursor=self.cursor)
        self.cursor = outcome.cursor
        found = {}
        for name, *_ in LAYOUT:
            keys = outcome.get_requested_partitions(dg.AssetKey(name))
            if keys:
                found[name] = {key or "" for key in keys}
        return found

    def execute(self, requested: dict[str, set[str]]) -> None:
        """Run what a tick asked for, one run a partition, as the daemon does."""
        defs = self.definitions()
        by_partition: dict[str, list[str]] = {}
        for name, partitions in requested.items():
            for partition in partitions:
                by_partition.setdefault(partition, []).append(name)
        for partition, names in sorted(by_partition.items()):
            job = defs.resolve_implicit_global_asset_job_def()
            selection = dg.AssetSelection.assets(*names)
            graph = defs.resolve_asset_graph()
            job.get_subset(
                asset_selection=selection.resolve(graph),
                asset_check_selection=selection.resolve_checks(graph),
            ).execute_in_process(instance=self.instance, partition_key=partition or None, raise_on_error=False)

    def settle(self, ticks: int = 12) -> list[dict[str, set[str]]]:
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
