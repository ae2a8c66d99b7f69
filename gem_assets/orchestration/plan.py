"""What a change costs, before anything runs: why each asset is stale, how much it has to read, and how long that takes.

Reasons come from comparing a recorded manifest with what the same stage would be made from now. Times come from past
runs: a line through (work, seconds) of each asset, where work is landed bytes for reading and documents for all else.
Nothing here computes or writes anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from gem_assets.frozen import Frozen
from gem_assets.stages import LANDING, RAW_SHARDS
from gem_assets.storage.identity import plain
from gem_assets.storage.manifest import Manifest, input_versions

ReasonKind = Literal[
    "missing", "code", "settings", "library", "snapshots", "inputs", "upstream", "landing", "texts",
    "takedown", "untold", "unchecked",
]  # fmt: skip
State = Literal["ready", "waiting", "running", "held", "by_hand"]
POLICY_TAG = "gem/refresh"
"""Tag of an asset that names its policy; ``gem/refresh.<strategy>`` names that of one strategy."""
_ALWAYS: frozenset[ReasonKind] = frozenset({"missing", "code", "inputs", "upstream", "takedown", "untold", "unchecked"})
#: Kinds that the daemon acts on by itself, by policy of the asset.
AUTOMATIC: Mapping[str, frozenset[ReasonKind]] = {
    "content": _ALWAYS | frozenset[ReasonKind]({"snapshots", "landing", "texts"}),
    "fan_in": _ALWAYS | frozenset[ReasonKind]({"snapshots"}),
    "fitted": _ALWAYS,
    "by_hand": frozenset({"takedown"}),
}


class Reason(Frozen):
    """One thing that makes a result stale."""

    kind: ReasonKind
    text: str


class Wanted(Frozen):
    """What a stage would be made from now."""

    config: dict[str, Any]
    code_version: str
    seed: int | None
    libraries: dict[str, str]
    inputs: dict[str, str]


class Task(Frozen):
    """One asset, or one snapshot of it, that is stale.

    Attributes
    ----------
    automatic
        Whether the daemon runs it by itself; otherwise it is held, or waits to be materialized by hand.
    state, because, way_out
        See :class:`gem_assets.orchestration.reconcile.Item`.
    documents, tokens
        What it has to read; estimated where the snapshot has not been read yet. None when unknown.
    seconds
        Estimate; None when the asset never ran here.
    """

    asset: str
    partition: str | None
    reasons: tuple[Reason, ...]
    automatic: bool
    state: State
    because: str = ""
    way_out: str = ""
    documents: int | None
    tokens: int | None
    seconds: float | None


class Plan(Frozen):
    """Everything that is stale, in the order in which it would run.

    ``kept`` counts, for fitted assets that stay as they are, the snapshots that they have not seen.
    """

    tasks: tuple[Task, ...]
    kept: dict[str, int]

    @property
    def automatic(self) -> tuple[Task, ...]:
        """What the daemon runs by itself."""
        return tuple(task for task in self.tasks if task.automatic)

    @property
    def seconds(self) -> float | None:
        """Work time of what runs by itself; None when no part of it is known."""
        known = [task.seconds for task in self.automatic if task.seconds is not None]
        return sum(known) if known else None


@dataclass(frozen=True)
class Observation:
    """One past run: work (bytes or documents) and seconds."""

    work: float
    seconds: float


@dataclass(frozen=True)
class Rate:
    """Seconds of an asset as a line over its work, neither part negative."""

    fixed: float
    per_unit: float

    @classmethod
    def learn(cls, observed: Iterable[Observation]) -> "Rate | None":
        """Fit by non-negative least squares on relative errors; None without an observation.

        One run, or runs of one size, say nothing about a fixed part: the rate then goes through the origin. Runs
        without any countable work, such as those of a recipe, take what they took on average.
        """
        seen = [run for run in observed if run.seconds > 0]
        runs = [run for run in seen if run.work > 0]
        if not runs:
            return cls(float(np.mean([run.seconds for run in seen])), 0.0) if seen else None
        work = np.array([run.work for run in runs])
        seconds = np.array([run.seconds for run in runs])
        if np.ptp(work) < 0.5 * work.max():
            return cls(0.0, float(seconds.sum() / work.sum()))
        from scipy.optimize import nnls

        # relative errors: else the largest snapshot alone decides, and small ones are misjudged by their fixed part
        fixed, per_unit = nnls(np.column_stack([1 / seconds, work / seconds]), np.ones(len(runs)))[0]
        return cls(float(fixed), float(per_unit))

    def seconds(self, work: float) -> float:
        """Estimate."""
        return self.fixed + self.per_unit * work


def work_of(manifest: Manifest) -> float:
    """Work that a committed result took: landed bytes for ``raw_shards``, documents or rows for all else, or 0."""
    if manifest.asset == RAW_SHARDS:
        return float(sum(file.bytes for ref in manifest.inputs if ref.asset == LANDING for file in ref.files))
    counts = manifest.counts
    return float(counts.get("documents") or counts.get("rows") or counts.get("trained_on") or 0)


def differences(manifest: Manifest, wanted: Wanted, snapshot_assets: Sequence[str]) -> tuple[Reason, ...]:
    """Say in what a result differs from what would be made now.

    A change in ``snapshot_assets``, those with one result per snapshot, never refits a fitted thing by itself.
    """
    found: list[Reason] = []
    if manifest.code_version != wanted.code_version:
        found.append(Reason(kind="code", text=f"code version {manifest.code_version} → {wanted.code_version}"))
    before, now = _flat(manifest.config), _flat(wanted.config)
    found += [
        Reason(kind="settings", text=f"{name} {before.get(name)} → {now.get(name)}")
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if manifest.seed != wanted.seed:
        found.append(Reason(kind="settings", text=f"seed {manifest.seed} → {wanted.seed}"))
    for name in sorted(manifest.libraries.keys() | wanted.libraries.keys()):
        if manifest.libraries.get(name) != wanted.libraries.get(name):
            old, new = manifest.libraries.get(name, "none"), wanted.libraries.get(name, "none")
            found.append(Reason(kind="library", text=f"{name} {old} → {new}"))
    versions = input_versions(manifest.inputs)
    # a refit takes the present result as its input: its own past is not a reason for one
    past, future = ({k: v for k, v in inputs.items() if k != manifest.asset} for inputs in (versions, wanted.inputs))
    return (*found, *_inputs(past, future, snapshot_assets))


def wanted_of(
    config: BaseModel | Mapping[str, Any],
    code_version: str,
    seed: int | None,
    libraries: Mapping[str, str],
    inputs: Mapping[str, str],
) -> Wanted:
    """Put what a stage is made from into comparable form."""
    return Wanted(
        config=plain(config), code_version=code_version, seed=seed, libraries=dict(libraries), inputs=dict(inputs)
    )


def is_automatic(policy: str | None, reasons: Sequence[Reason]) -> bool:
    """Tell whether the daemon acts on any of the reasons, given the policy of the asset."""
    return any(reason.kind in AUTOMATIC.get(policy or "by_hand", frozenset()) for reason in reasons)


def _inputs(before: Mapping[str, str], now: Mapping[str, str], snapshot_assets: Sequence[str]) -> list[Reason]:
    found: list[Reason] = []
    changes = {
        "new": sorted(now.keys() - before.keys()),
        "changed": sorted(key for key in now.keys() & before.keys() if now[key] != before[key]),
        "gone": sorted(before.keys() - now.keys()),
    }
    for change, keys in changes.items():
        of_snapshots = [key for key in keys if "[" in key and key.split("[")[0] in snapshot_assets]
        for kind, names in (("snapshots", of_snapshots), ("inputs", [key for key in keys if key not in of_snapshots])):
            if names:
                kind_: ReasonKind = "landing" if names[0].startswith("landing") else kind  # type: ignore[assignment]
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                found.append(Reason(kind=kind_, text=f"{', '.join(names[:3])}{more} {change}"))
    return found


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")  # type: ignore[arg-type]
        else:
            flat[f"{prefix}{name}"] = value
    return flat
