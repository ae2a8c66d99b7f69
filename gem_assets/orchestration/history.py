"""What Dagster's history adds to the store: runs under way, tries that ended badly, checks, and what Dagster was told.

Everything is read in a handful of queries, and only again when the history has moved.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.dagster_run import RunRecord

from gem_assets.orchestration.places import place_of, shown
from gem_assets.orchestration.reconcile import Attempt, Place

PARTITION_TAG = "dagster/partition"
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
VERSION_TAG = "dagster/data_version"
BASIS_TAG = ".dagster/gem_basis"
"""Tag of a run that ended badly: what each of its assets would have read when that was first seen."""
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
ENDED_BADLY = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
MOST_RUNS = 500
_OURS = ("gem_assets.", "resources.", "sensors.", "dagster._core.definitions.events.Failure")
_EVENTS = {
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.PIPELINE_CANCELING,
    dg.DagsterEventType.PIPELINE_FAILURE,
}


@dataclass(frozen=True)
class _BadEnd:
    """One run that ended badly: what happened to each of its assets."""

    run_id: str
    ended: float
    failed: Mapping[Place, str]
    left: frozenset[Place]
    canceled: bool
    basis: Mapping[str, str]

    def attempt(self, place: Place, tries: int, basis: str) -> Attempt:
        if place in self.failed:
            return Attempt("failed", self.failed[place], self.run_id, tries, self.ended, basis)
        outcome = "canceled" if self.canceled else "killed"
        return Attempt(outcome, f"the process of run {self.run_id[:8]} ended", self.run_id, tries, self.ended, basis)


class History:
    """The past of one data root; see :class:`gem_assets.orchestration.reconcile.Past`.

    ``notes`` writes down what a failed try had read; a command that only looks writes nothing.
    """

    def __init__(self, instance: dg.DagsterInstance, graph: Any, *, notes: bool = True) -> None:
        self.instance, self._graph, self._notes = instance, graph, notes
        self._steps = dict(step_owners(graph))
        self._seen: tuple[Any, ...] | None = None
        self._ends: dict[str, _BadEnd] = {}
        self._by_place: dict[Place, list[_BadEnd]] = {}
        self._told: dict[Place, str] = {}
        self._checks: dict[Place, dict[str, Any]] = {}
        self._said: dict[int, str] = {}
        self._launched: dict[Place, str] = {}
        self.running: frozenset[Place] = frozenset()

    @property
    def version(self) -> tuple[Any, ...]:
        """Something that differs when the history has moved."""
        records = self.instance.get_run_records(limit=1, order_by="update_timestamp")
        last = (records[0].dagster_run.run_id, records[0].update_timestamp) if records else None
        return self.instance.event_log_storage.get_maximum_record_id(), last, self.instance.get_runs_count()

    def refresh(self) -> tuple[Any, ...]:
        """Read what has come since the last look; returns the version that was read at least."""
        version = self.version
        if version == self._seen:
            return version
        self._seen = version
        running = self.instance.get_runs(filters=dg.RunsFilter(statuses=UNDER_WAY))
        self.running = frozenset(place for run in running for place in self._places(run))
        records = self.instance.get_run_records(filters=dg.RunsFilter(statuses=ENDED_BADLY), limit=MOST_RUNS)
        ends = {record.dagster_run.run_id: record for record in records}
        # the status and the tags of an ended run stay, so each is read once
        self._ends = {run_id: self._ends.get(run_id) or self._bad_end(record) for run_id, record in ends.items()}
        self._by_place = {}
        for end in self._ends.values():
            for place in {*end.failed, *end.left}:
                self._by_place.setdefault(place, []).append(end)
        self._read_told()
        self._read_checks()
        return version

    def launched(self, place: Place, basis: str) -> None:
        """Remember what a launched try is about to read, should it end badly."""
        self._launched[place] = basis

    def attempt(self, place: Place, basis: str) -> Attempt | None:
        """Return the last try at a place if it ended badly; tries with another basis do not add to its count."""
        ends = self._by_place.get(place)
        if not ends:
            return None
        key, partition = shown(place)
        wanted = dg.AssetRecordsFilter(key, asset_partitions=None if partition is None else [partition])
        made = self.instance.fetch_materializations(wanted, limit=1).records
        since = [end for end in ends if not made or made[0].run_id == end.run_id or made[0].timestamp < end.ended]
        if not since:
            return None
        last, read = since[0], self._basis(since[0], place, basis)
        tries = 0
        for end in since:
            if self._basis(end, place, basis) != read:
                break
            tries += 1
        return last.attempt(place, tries, read)

    def blocked(self, place: Place) -> str:
        """Name the blocking check that the current result failed with a critical expectation."""
        for name, info in self._checks.get(place, {}).items():
            key = dg.AssetCheckKey(shown(place)[0], name)
            failed = info.latest_execution_status == AssetCheckExecutionRecordStatus.FAILED
            if failed and info.is_current and self._graph.get(key).blocking:
                said = self._critical(place, name, info)
                if said is not None:
                    return f"{name}: {said}"
        return ""

    def failed_checks(self, place: Place) -> tuple[str, ...]:
        """Name every check that the current result did not pass, warnings included."""
        return tuple(
            name
            for name, info in self._checks.get(place, {}).items()
            if info.latest_execution_status == AssetCheckExecutionRecordStatus.FAILED
        )

    def told(self, place: Place) -> str | None:
        """Return the data version that Dagster shows of a place."""
        return self._told.get(place)

    def unchecked(self, place: Place) -> bool:
        """Tell whether a check of the asset did not run on what Dagster shows."""
        done = self._checks.get(place, {})
        names = {key.name for key in self._graph.get(shown(place)[0]).check_keys}
        return not all(
            name in done
            and done[name].is_current
            and done[name].latest_execution_status
            in (AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED)
            for name in names
        )

    def _places(self, run: dg.DagsterRun) -> Iterator[Place]:
        for key in run.asset_selection or self._planned(run.run_id):
            yield from self._places_of(run, key)

    def _places_of(self, run: dg.DagsterRun, key: dg.AssetKey) -> Iterator[Place]:
        """Yield what a run makes of one node."""
        node = self._graph.get(key) if self._graph.has(key) else None
        if node is not None and not node.is_partitioned:
            yield place_of(key, None)
            return
        first, last = (run.tags.get(tag) for tag in RANGE_TAGS)
        partitions: Sequence[str | None] = [run.tags.get(PARTITION_TAG)]
        if first is not None and last is not None:
            definition = node.partitions_def if node is not None else None
            strategies = isinstance(definition, dg.StaticPartitionsDefinition)
            known = definition.get_partition_keys() if strategies else self.instance.get_dynamic_partitions("snapshot")
            partitions = known[known.index(first) : known.index(last) + 1] if {first, last} <= set(known) else [first]
        yield from (place_of(key, partition) for partition in partitions)

    def _planned(self, run_id: str) -> list[dg.AssetKey]:
        events = self._events(run_id, {dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED})
        return [event.asset_key for event in events if event.asset_key is not None]

    def _events(self, run_id: str, kinds: set[dg.DagsterEventType]) -> list[Any]:
        records = self.instance.get_records_for_run(run_id, of_type=kinds).records
        return [event for record in records if (event := record.event_log_entry.dagster_event) is not None]

    def _bad_end(self, record: RunRecord) -> _BadEnd:
        run = record.dagster_run
        events = self._events(run.run_id, _EVENTS)
        of_type = dg.DagsterEventType
        ends = [event for event in events if event.event_type == of_type.STEP_FAILURE]
        failed = {
            place: _message(event)
            for event in ends
            if event.step_key in self._steps and not _interrupted(event)
            for place in self._places_of(run, self._steps[event.step_key])
        }
        made = {
            place_of(event.asset_key, event.partition): event.materialization.metadata.get("identity")
            for event in events
            if event.event_type == of_type.ASSET_MATERIALIZATION
        }
        chosen = set(self._places(run))
        canceled = any(event.event_type == of_type.PIPELINE_CANCELING for event in events)
        # a server that is stopped interrupts its runs, which Dagster counts as failed
        stopped = any(_interrupted(event) for event in events)
        cut_off = not canceled and (stopped or run.status == dg.DagsterRunStatus.CANCELED)
        # what was made and then failed its check is known by what was made
        basis = {asset: str(identity.value) for (asset, _), identity in made.items() if identity is not None}
        basis |= json.loads(run.tags.get(BASIS_TAG, "{}"))
        return _BadEnd(
            run_id=run.run_id,
            ended=record.end_time or record.update_timestamp.timestamp(),
            failed=failed,
            # what stood behind a failed step was not tried, and what ended with its server is nobody's fault
            left=frozenset() if failed or cut_off else frozenset(chosen - made.keys()),
            canceled=canceled,
            basis=basis,
        )

    def _basis(self, end: _BadEnd, place: Place, now: str) -> str:
        """Return what a try had read; at the first look that is what would be read now, and is written down."""
        known = end.basis.get(place[0])
        if known is None:
            known = self._launched.get(place) or now
            basis = {**end.basis, place[0]: known}
            if self._notes:
                self.instance.add_run_tags(end.run_id, {BASIS_TAG: json.dumps(basis, sort_keys=True)})
            noted = _BadEnd(end.run_id, end.ended, end.failed, end.left, end.canceled, basis)
            self._ends[end.run_id] = noted
            for found in self._by_place.values():
                found[:] = [noted if one.run_id == end.run_id else one for one in found]
        return known

    def _read_told(self) -> None:
        storage, told = self.instance.event_log_storage, {}
        keys = sorted(self._graph.materializable_asset_keys)
        for key in keys:
            if self._graph.get(key).is_partitioned:
                tags = storage.get_latest_tags_by_partition(
                    key, dg.DagsterEventType.ASSET_MATERIALIZATION, [VERSION_TAG]
                )
                told |= {place_of(key, name): found[VERSION_TAG] for name, found in tags.items()}
        for record in self.instance.get_asset_records(keys):
            entry, key = record.asset_entry.last_materialization, record.asset_entry.asset_key
            if (
                entry is not None
                and not self._graph.get(key).is_partitioned
                and entry.asset_materialization is not None
            ):
                version = (entry.asset_materialization.tags or {}).get(VERSION_TAG)
                if version is not None:
                    told[(key.to_user_string(), None)] = version
        self._told = told

    def _read_checks(self) -> None:
        self._checks = {}
        infos = self.instance.event_log_storage.get_asset_check_partition_info(sorted(self._graph.asset_check_keys))
        for info in infos:
            place = place_of(info.check_key.asset_key, info.partition_key)
            self._checks.setdefault(place, {})[info.check_key.name] = info

    def _critical(self, place: Place, name: str, info: Any) -> str | None:
        """Return what a failed check said; None when it was but a warning."""
        number = info.latest_check_event_storage_id
        if number not in self._said:
            self._said[number] = ""
            for event in self._events(info.latest_planned_run_id, {dg.DagsterEventType.ASSET_CHECK_EVALUATION}):
                found = event.asset_check_evaluation_data
                if found.check_name == name and found.asset_key == shown(place)[0] and not found.passed:
                    critical = found.severity == dg.AssetCheckSeverity.ERROR
                    self._said[number] = found.description or "it did not pass" if critical else ""
        return self._said[number] or None


def step_owners(graph: Any) -> Iterator[tuple[str, dg.AssetKey]]:
    """Yield each step with the node that it makes or checks."""
    for key in graph.materializable_asset_keys:
        yield graph.get(key).assets_def.op.name, key
    for key in graph.asset_check_keys:
        definition = graph.assets_def_for_key(key)
        if not definition.keys:
            yield definition.op.name, key.asset_key


def _interrupted(event: Any) -> bool:
    data = event.event_specific_data
    error = getattr(data, "error", None)
    while error is not None:
        if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
            return True
        error = error.cause
    return False


def _message(event: Any) -> str:
    error = event.step_failure_data.error
    return in_words((error.cause or error).message.strip()) if error is not None else "no reason was recorded"


def in_words(message: str) -> str:
    """Leave out the class before the message of an error of this project; what no one foresaw keeps it."""
    kind, _, said = message.partition(": ")
    ours = (
        kind.split(".")[0] in ("gem_assets", "resources", "sensors")
        or kind == "dagster._core.definitions.events.Failure"
    )
    return said if said and ours else message
