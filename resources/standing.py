"""Whether a result needs no run: it stands in the store, and Dagster's history says of it what a run would say.

A run over a result that stands computes nothing, yet costs Dagster a second or two: a record, a database of its events,
dozens of commits. So a run of the whole graph in one process asks here first. What Dagster shows stays true: a result
counts as standing only while its last event carries its version, the code version of now and the present versions of
what it reads, and while the run of that event ended well, with every check that there is now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from gem_assets.corpus.landing import SUCCESS
from gem_assets.corpus.ownership import dangling_texts
from gem_assets.corpus.shards import DUPLICATES_FILE
from gem_assets.lineage.artifacts import Artifact
from gem_assets.lineage.takedown import unapplied
from gem_assets.plan import differences
from gem_assets.settings import Settings
from resources.probe import probe
from resources.store import RAW_SHARDS, StoreResource, shard_files

VERSION_TAG, CODE_TAG = "dagster/data_version", "dagster/code_version"
READ_TAG, POINTER_TAG = "dagster/input_data_version/", "dagster/input_event_pointer/"


@dataclass(frozen=True)
class Answer:
    """What is known of a result without a run.

    Attributes
    ----------
    stands
        A run would compute nothing and say nothing new.
    kept
        A run would make it anew, which is not wanted: a fitted thing that has not seen some snapshots, or a snapshot
        whose crawl files have left the landing folder.
    failed_checks
        Checks of the standing result that did not pass.
    """

    stands: bool = False
    kept: bool = False
    failed_checks: tuple[str, ...] = ()


RUN = Answer()


class Standing:
    """Asks about one asset after the other while a run goes on.

    Parameters
    ----------
    defs, instance, settings
        Of one data root.
    snapshot_assets
        Assets with one result a snapshot; a change in those alone never refits a fitted thing.
    """

    def __init__(
        self, defs: dg.Definitions, instance: dg.DagsterInstance, settings: Settings, snapshot_assets: Sequence[str]
    ) -> None:
        self._defs, self._instance, self._settings = defs, instance, settings
        self._snapshot_assets = snapshot_assets
        self._graph: Any = defs.resolve_asset_graph()
        self._store = StoreResource(root=str(settings.data_root))

    def ask(self, key: dg.AssetKey, snapshot: str | None) -> Answer:
        """Say what is known of an asset, or of one snapshot of it; nothing is known of those that run by hand."""
        name, policy = key.to_user_string(), self._graph.get(key).tags.get("gem/refresh")
        current = self._store.artifacts.current(name, snapshot) if policy != "by_hand" else None
        if current is None:
            return RUN
        if name == RAW_SHARDS and snapshot is not None and self._left_landing(current, snapshot):
            return Answer(kept=True)
        stage = probe(self._defs.get_assets_def(key), self._settings, snapshot).stage
        if stage is None:
            return RUN
        if stage.identity != current.identity:
            reasons = differences(current.manifest, stage.wanted, self._snapshot_assets)
            return Answer(kept=policy == "fitted" and all(reason.kind == "snapshots" for reason in reasons))
        if not stage.tables_stand(current):
            return RUN
        return self._as_told(key, snapshot, current.manifest.data_version)

    def _left_landing(self, current: Artifact, snapshot: str) -> bool:
        """Tell whether the crawl files are gone and nothing asks for them."""
        if (self._settings.landing / snapshot / SUCCESS).is_file():
            return False
        blocklist = self._store.blocklist
        if blocklist is not None and unapplied(current, blocklist.entries()):
            return False
        keepers = self._store.artifacts.snapshots(RAW_SHARDS).items()
        shards = {name: shard_files(found) for name, found in keepers if name != snapshot}
        with self._store.spill() as spill:
            return dangling_texts(current.path / DUPLICATES_FILE, shards, spill) == 0

    def _as_told(self, key: dg.AssetKey, snapshot: str | None, version: str) -> Answer:
        """Compare what Dagster was last told with what a run would tell it."""
        node, record = self._graph.get(key), self._last(key, snapshot)
        if record is None:
            return RUN
        tags: dict[str, str] = dict(record.asset_materialization.tags or {})
        if (tags.get(VERSION_TAG), tags.get(CODE_TAG)) != (version, node.code_version):
            return RUN
        read = {name.removeprefix(READ_TAG) for name in tags if name.startswith(READ_TAG)}
        if read != {parent.to_user_string() for parent in node.parent_keys}:
            return RUN
        if any(self._moved(parent, snapshot, tags) for parent in node.parent_keys):
            return RUN
        return self._checked(key, record.run_id)

    def _moved(self, parent: dg.AssetKey, snapshot: str | None, tags: Mapping[str, str]) -> bool:
        """Tell whether a parent has another version than the one that was read."""
        name, partitioned = parent.to_user_string(), self._graph.get(parent).is_partitioned
        if partitioned and snapshot is None:
            return False  # all its snapshots are in the identity
        last = self._last(parent, snapshot if partitioned else None)
        if last is None:
            return False
        if not partitioned:
            return _version(last) != tags[READ_TAG + name]
        # of a partition Dagster writes down a digest and the number of the event that was the last one then
        number = tags.get(POINTER_TAG + name, "")
        pointer = int(number) if number.isdigit() else 0
        if last.storage_id <= pointer:
            return False
        seen = self._last(parent, snapshot, before=pointer + 1)
        return seen is None or _version(seen) != _version(last)

    def _checked(self, key: dg.AssetKey, run_id: str) -> Answer:
        run = self._instance.get_run_by_id(run_id) if run_id else None
        if run is None or run.status != dg.DagsterRunStatus.SUCCESS:
            return RUN
        records = self._instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        events = [record.event_log_entry.dagster_event for record in records.records]
        found = [event.asset_check_evaluation_data for event in events if event is not None]
        passed = {check.check_name: check.passed for check in found if check.asset_key == key}
        wanted = dg.AssetSelection.checks_for_assets(key).resolve_checks(self._graph)
        if not {check.name for check in wanted} <= passed.keys():
            return RUN
        return Answer(stands=True, failed_checks=tuple(name for name, good in passed.items() if not good))

    def _last(self, key: dg.AssetKey, snapshot: str | None, before: int | None = None) -> Any:
        partitions = None if snapshot is None else [snapshot]
        wanted = dg.AssetRecordsFilter(key, asset_partitions=partitions, before_storage_id=before)
        records = self._instance.fetch_materializations(wanted, limit=1).records
        return records[0] if records else None


def _version(record: Any) -> str | None:
    return (record.asset_materialization.tags or {}).get(VERSION_TAG)
