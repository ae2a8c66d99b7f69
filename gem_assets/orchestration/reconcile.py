"""What is stale, what of it runs next, and what is held back and why.

The one place that decides this. The daemon, ``gem run``, ``gem plan`` and ``gem status`` all ask :func:`reconcile`. Its
answer follows from the state of the store, the landing folder and the runs that ended badly; no event has to announce
anything, so none can be lost. Running what it calls ready, until nothing is, ends in the same state from any history.

Assets run in the order of the graph. One whose upstream is about to change waits for it; snapshots do not wait for each
other, and what reads all snapshots waits until none is under way, so that a landing makes each mixture once. What is
held never blocks anything but what needs it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gem_assets.orchestration.plan import Reason, ReasonKind, State, is_automatic
from gem_assets.stages import GROWING, PAGE_HISTORY
from gem_assets.storage.manifest import stage_name

Place = tuple[str, str | None]
"""An asset and its snapshot; None for an asset without snapshots."""
MOVING: frozenset[State] = frozenset({"ready", "waiting", "running"})
PAUSES_S = (60.0, 300.0, 1800.0)
"""How long a failed try rests before the next one, while nothing that it reads has changed."""
KILLED_PAUSES_S = (0.0, *PAUSES_S)
"""The same for a try whose process was killed."""
COMPARED = frozenset({PAGE_HISTORY})
"""Whether these concern a snapshot is compared by that snapshot itself: that they are made again is not a reason."""
UNSAID: frozenset[ReasonKind] = frozenset({"untold", "unchecked"})
"""The result stands; a run only reports it or checks it, and changes nothing downstream."""


@dataclass(frozen=True)
class Node:
    """One asset of the graph.

    Attributes
    ----------
    partitioned
        It has one result per snapshot.
    run
        Assets without snapshots share a run when this is the same.
    """

    asset: str
    policy: str | None
    partitioned: bool
    parents: tuple[str, ...]
    run: str = ""


@dataclass(frozen=True)
class Look:
    """What is known of one result.

    Attributes
    ----------
    missing
        Which input is not there, in words with the way out; empty when all are.
    basis
        Names everything that a try would read, as far as that is known.
    """

    made: bool
    reasons: tuple[Reason, ...] = ()
    missing: str = ""
    basis: str = ""


@dataclass(frozen=True)
class Attempt:
    """The last try at a result, which ended badly.

    Attributes
    ----------
    tries
        How often in a row it ended so with the same basis.
    ended
        Seconds since the epoch.
    """

    outcome: Literal["failed", "killed", "canceled"]
    message: str
    run_id: str
    tries: int
    ended: float
    basis: str = ""


class Past(Protocol):
    """What runs left behind that the store does not know."""

    @property
    def running(self) -> frozenset[Place]:
        """Places of runs that are queued or under way."""
        ...

    def attempt(self, place: Place, basis: str) -> Attempt | None:
        """Return the last try if it ended badly and nothing succeeded since; ``basis`` is what would be read now."""
        ...

    def blocked(self, place: Place) -> str:
        """Name the critical check that the current result failed, with what it found; empty when none did."""
        ...


class NoPast:
    """The past of a store on which nothing ever ran."""

    running: frozenset[Place] = frozenset()

    def attempt(self, place: Place, basis: str) -> None:  # noqa: ARG002
        """Return nothing."""
        return

    def blocked(self, place: Place) -> str:  # noqa: ARG002
        """Return nothing."""
        return ""


@dataclass(frozen=True)
class Asked:
    """What a person asked for, beyond what runs by itself.

    Attributes
    ----------
    everything
        Also what differs only by settings or libraries, and what failed before.
    keep_fitted
        Fitted assets among them stay while they differ only by snapshots that they have not seen.
    since
        When the person asked, in seconds since the epoch: what failed before is tried again at once, and what fails
        after it is not.
    """

    everything: bool = False
    assets: frozenset[str] = frozenset()
    keep_fitted: bool = True
    since: float | None = None


@dataclass(frozen=True)
class Item:
    """One result that is not current, or is being made.

    Attributes
    ----------
    state
        ``ready`` runs next, ``waiting`` after something upstream, ``running`` now. ``held`` does not run until what
        ``because`` says is mended, ``by_hand`` not before a person asks.
    made
        There is an older result, which stays in force meanwhile.
    because
        What it waits for, or why it is held.
    way_out
        What a person can do; empty when nothing is to be done.
    again_at
        When a held try runs again by itself, in seconds since the epoch; None when it does not.
    behind
        The held place that keeps this one from running; None when that is this one.
    """

    asset: str
    partition: str | None
    state: State
    reasons: tuple[Reason, ...]
    made: bool
    basis: str = ""
    because: str = ""
    way_out: str = ""
    again_at: float | None = None
    behind: Place | None = None

    @property
    def place(self) -> Place:
        """Asset and snapshot."""
        return self.asset, self.partition

    @property
    def name(self) -> str:
        """``asset`` or ``asset[snapshot]``."""
        return stage_name(self.asset, self.partition)

    @property
    def changes(self) -> bool:
        """Whether its result may come out otherwise, so that what is made from it has to follow."""
        return self.state in MOVING and any(reason.kind not in UNSAID for reason in self.reasons)


@dataclass
class _Reconciliation:
    nodes: Mapping[str, Node]
    snapshots: Sequence[str]
    look: Callable[[Place], Look]
    past: Past
    asked: Asked
    now: float
    items: dict[Place, Item] = field(default_factory=lambda: {})

    def judge(self, node: Node, partition: str | None) -> Item | None:
        place, found = (node.asset, partition), self.look((node.asset, partition))
        running = place in self.past.running
        reasons = found.reasons
        if node.policy == "fitted" and found.made and not self._wanted(node, reasons):
            reasons = tuple(reason for reason in reasons if reason.kind != "snapshots")
        if not (reasons and found.made) or self._wanted(node, reasons):
            reasons = (*reasons, *self._carried(node, partition, found.made))
        if not reasons and not running:
            return None
        item = Item(node.asset, partition, "ready", reasons, found.made, found.basis)
        if running:
            return _with(item, "running")
        if not self._wanted(node, reasons):
            return _with(item, "by_hand") if node.policy != "by_hand" else None
        return self._placed(item, node, found)

    def _placed(self, item: Item, node: Node, found: Look) -> Item:
        """Say whether a wanted result runs next, waits or is held."""
        parents = self.parents(node, item.partition)
        moving = [parent for parent in parents if (one := self.items.get(parent)) and one.state in MOVING]
        own = [parent for parent in parents if parent[1] in (None, item.partition)]
        failed = {parent: said for parent in own if parent not in moving and (said := self.past.blocked(parent))}
        # looked up whatever comes of it: what a failed try had read is written down when it is first seen
        attempt = self.past.attempt(item.place, found.basis)
        if moving:
            behind = next(iter(failed), None) or self._without(node, parents)
            return _with(item, "waiting", f"waits for {_names(moving)}", behind=behind)
        for parent, said in failed.items():
            return _with(
                item,
                "held",
                f"{stage_name(*parent)} failed its check {said}",
                way_out=f"mend what the check names, then {_again(parent)}",
                behind=parent,
            )
        if found.missing:
            for parent in own:
                held = self.items.get(parent)
                if held is not None and held.state == "held":
                    root = held.behind or parent
                    return _with(item, "held", f"{stage_name(*root)} is held", behind=root)
            return _with(item, "held", found.missing)
        if attempt is None or attempt.basis not in ("", found.basis):
            return item
        if self.asked.since is not None:
            tried = attempt.ended >= self.asked.since
            return _with(item, "held", f"failed: {attempt.message}", way_out=_again(item.place)) if tried else item
        return self._rested(item, attempt)

    def _without(self, node: Node, parents: Sequence[Place]) -> Place | None:
        """Return what holds an input of which nothing is there and nothing is coming; None when there is no such."""
        for name in node.parents:
            ends = [self.items.get(parent) for parent in parents if parent[0] == name]
            held = [one for one in ends if one is not None and one.state == "held" and not one.made]
            if held and len(held) == len(ends):
                return held[0].behind or held[0].place
        return None

    def _rested(self, item: Item, attempt: Attempt) -> Item:
        way_out = _again(item.place)
        if attempt.outcome == "canceled":
            return _with(item, "held", f"run {attempt.run_id[:8]} was canceled by a person", way_out=way_out)
        pauses = KILLED_PAUSES_S if attempt.outcome == "killed" else PAUSES_S
        if attempt.tries > len(pauses):
            tried = f"failed {attempt.tries} times" if attempt.tries > 1 else "failed"
            return _with(item, "held", f"{tried}: {attempt.message}", way_out=way_out)
        again = attempt.ended + pauses[attempt.tries - 1]
        if self.now >= again:
            return item
        return _with(item, "held", f"failed: {attempt.message}", way_out=way_out, again_at=again)

    def _wanted(self, node: Node, reasons: Sequence[Reason]) -> bool:
        if node.asset in self.asked.assets:
            kept = node.policy == "fitted" and self.asked.keep_fitted
            return any(reason.kind != "snapshots" for reason in reasons) if kept else bool(reasons)
        if self.asked.everything and node.policy != "by_hand":
            return any(node.policy != "fitted" or reason.kind != "snapshots" for reason in reasons)
        return is_automatic(node.policy, reasons)

    def _carried(self, node: Node, partition: str | None, made: bool) -> Sequence[Reason]:
        """Say what is made before this one; a fitted thing that exists is not moved by snapshots."""
        if node.policy == "by_hand" and node.asset not in self.asked.assets:
            return ()
        fitted = node.policy == "fitted" and made
        changing = [
            parent
            for parent in self.parents(node, partition)
            if (one := self.items.get(parent)) is not None
            and one.changes
            and not (fitted and parent[0] in GROWING)
            and not (partition is not None and parent[0] in COMPARED and made)
        ]
        return (Reason(kind="upstream", text=f"runs after {_names(changing)}"),) if changing else ()

    def parents(self, node: Node, partition: str | None) -> list[Place]:
        return list(_parents(self.nodes, node, partition, self.snapshots))


def reconcile(
    nodes: Sequence[Node],
    snapshots: Sequence[str],
    look: Callable[[Place], Look],
    past: Past,
    *,
    asked: Asked | None = None,
    now: float = 0.0,
) -> dict[Place, Item]:
    """Say what is not current, in the order in which it would run.

    Parameters
    ----------
    nodes
        The graph, each asset after its parents.
    asked
        What a person asked for; by default nobody asked, and what runs by itself is ready.
    now
        Seconds since the epoch.
    """
    work = _Reconciliation({node.asset: node for node in nodes}, snapshots, look, past, asked or Asked(), now)
    for node in nodes:
        for partition in snapshots if node.partitioned else (None,):
            item = work.judge(node, partition)
            if item is not None:
                work.items[item.place] = item
    return work.items


def launches(nodes: Sequence[Node], snapshots: Sequence[str], items: Mapping[Place, Item]) -> list[Item]:
    """Return what is launched now: all that is ready, with what can follow it in the same run.

    A run holds one snapshot, or assets without snapshots that may share one. What waits for nothing but members of its
    own run joins it, which saves starting a process for each stage. A snapshot that has never been read is read alone:
    what can follow is known only then, and what something held keeps from running joins nothing.
    """
    graph = {node.asset: node for node in nodes}
    chosen: dict[Place, Item] = {}
    for place, item in items.items():
        if item.state == "ready":
            chosen[place] = item
        elif item.state == "waiting" and item.behind is None:
            parents = _parents(graph, graph[item.asset], item.partition, snapshots)
            moving = [parent for parent in parents if parent in items and items[parent].state in MOVING]
            if moving and all(
                parent in chosen
                and parent[1] == item.partition
                and graph[parent[0]].run == graph[item.asset].run
                and (chosen[parent].made or any(name in graph for name in graph[parent[0]].parents))
                for parent in moving
            ):
                chosen[place] = item
    return list(chosen.values())


def holds_up(items: Mapping[Place, Item]) -> dict[Place, list[str]]:
    """Return the names of the results that wait for each held one."""
    found: dict[Place, list[str]] = {}
    for item in items.values():
        if item.behind is not None and item.behind in items:
            found.setdefault(item.behind, []).append(item.name)
    return found


def _parents(graph: Mapping[str, Node], node: Node, partition: str | None, snapshots: Sequence[str]) -> Iterable[Place]:
    for name in node.parents:
        if name not in graph:
            continue
        if not graph[name].partitioned:
            yield name, None
        elif partition is not None:
            yield name, partition
        else:
            yield from ((name, snapshot) for snapshot in snapshots)


def _with(
    item: Item,
    state: State,
    because: str = "",
    *,
    way_out: str = "",
    again_at: float | None = None,
    behind: Place | None = None,
) -> Item:
    return Item(
        item.asset, item.partition, state, item.reasons, item.made, item.basis, because, way_out, again_at, behind
    )


def _names(places: Sequence[Place]) -> str:
    names = list(dict.fromkeys(stage_name(*place) for place in places))
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _again(place: Place) -> str:
    asset, snapshot = place
    return f"gem run --until {asset}" + (f" --snapshot {snapshot}" if snapshot else "")
