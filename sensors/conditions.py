"""The automation of the graph: one condition for every asset, which asks the reconciler.

An asset's policy is its tag ``gem/refresh`` (``gem/refresh.<strategy>`` for one strategy);
:data:`gem_assets.orchestration.plan.AUTOMATIC` says what each acts on.

``content``
    A snapshot-wise asset: made again when anything it reads has other content.
``fan_in``
    An asset over all snapshots that exist, made once none of them is under way.
``fitted``
    Made once, and again when its code or a fitted thing before it changed; a new snapshot alone never refits it.
``by_hand``
    Made when a person asks, and when it shows a document that was taken down.

Dagster's own conditions wait for events, and an event that passes while a run is under way or the daemon is down is
lost. This one compares what there is with what there should be, so a tick asks for the same whatever happened before.
"""

import logging
import weakref
from typing import Any

import dagster as dg
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.instigation_logger import InstigationLogger

from gem_assets.orchestration.places import shown
from gem_assets.orchestration.plan import AUTOMATIC, POLICY_TAG
from gem_assets.orchestration.reconciler import Reconciler

_reconcilers: "weakref.WeakKeyDictionary[Any, dict[str, Reconciler]]" = weakref.WeakKeyDictionary()
_ticks: "weakref.WeakKeyDictionary[Any, dict[str, dict[dg.AssetKey, set[str | None]]]]" = weakref.WeakKeyDictionary()


class Stale(dg.AutomationCondition):
    """True for what the reconciler launches next."""

    _root: str

    def __init__(self, root: str) -> None:
        object.__setattr__(self, "_root", root)

    @property
    def name(self) -> str:
        """Label in the UI."""
        return "stale"

    @property
    def description(self) -> str:
        """What the UI says of this condition."""
        return "not what it would be made from now, and nothing upstream is under way (see gem plan and gem status)"

    def get_node_unique_id(self, *, parent_unique_id: Any, index: Any, target_key: Any) -> str:
        """Identify this node across ticks."""
        return f"stale/{parent_unique_id}/{index}/{target_key}"

    def evaluate(self, context: Any) -> Any:
        """Ask once per tick, and answer for one asset."""
        wanted = _launched(self._root, context.asset_graph_view).get(context.key, set())
        stale = {AssetKeyPartitionKey(context.key, partition) for partition in wanted}
        subset = context.asset_graph_view.get_asset_subset_from_asset_partitions(context.key, stale)
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection(subset))


def reconciler_of(root: str, graph: Any, instance: dg.DagsterInstance) -> Reconciler:
    """Return the one reconciler of a data root and a graph in this process."""
    known = _reconcilers.setdefault(graph, {})
    reconciler = known.get(root)
    if reconciler is None or not reconciler.serves(instance):
        reconciler = known[root] = Reconciler(root, graph, instance)
    return reconciler


def _launched(root: str, view: Any) -> dict[dg.AssetKey, set[str | None]]:
    """Return the partitions to launch by asset, worked out once for each tick."""
    answers = _ticks.setdefault(view, {})
    if root not in answers:
        reconciler = reconciler_of(root, view.asset_graph, view.instance)
        found: dict[dg.AssetKey, set[str | None]] = {}
        for item in reconciler.launch():
            key, partition = shown(item.place)
            found.setdefault(key, set()).add(partition)
        answers[root] = found
    return answers[root]


def with_policy(spec: dg.AssetSpec, root: str) -> dg.AssetSpec:
    """Give an asset spec that has a policy the automation condition.

    Raises ValueError when the tag names no known policy.
    """
    policies = {name: value for name, value in spec.tags.items() if name.partition(".")[0] == POLICY_TAG}
    if not policies:
        return spec
    for name, policy in policies.items():
        if policy not in AUTOMATIC:
            raise ValueError(f"{spec.key.to_user_string()}: unknown {name} {policy!r}")
    return spec.replace_attributes(automation_condition=Stale(root))


class Automation(dg.AutomationConditionSensorDefinition):
    """Dagster's own, without a file of 230 kB about each tick that says of every asset that it was looked at."""

    def evaluate_tick(self, context: Any) -> Any:
        """Ask every condition; only warnings are logged, on the server's output."""
        context._logger = InstigationLogger(level=logging.WARNING)
        return super().evaluate_tick(context)


automation = Automation(
    "automation",
    target=dg.AssetSelection.all(include_sources=True),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=1,
    use_user_code_server=True,
    # a backfill is looked at every half minute, and until then the next ticks ask for the same again
    emit_backfills=False,
    description="Requests what is not what it would be made from now; see gem plan.",
)
