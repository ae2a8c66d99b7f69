"""The decisions of the reconciler alone, on a graph of three assets."""

import pytest

from gem_assets.orchestration.plan import Reason
from gem_assets.orchestration.reconcile import Asked, Attempt, Look, Node, NoPast, launches, reconcile

NODES = [
    Node("raw_shards", "content", True, ()),
    Node("student_labels", "content", True, ("raw_shards",)),
    Node("recipe", "fan_in", False, ("student_labels",)),
]
FRESH = Look(True, basis="same")


class Past(NoPast):
    def __init__(self, attempt: Attempt | None = None, failed_check: str = "") -> None:
        self._attempt, self._check = attempt, failed_check

    def attempt(self, place, basis):
        return self._attempt if place == ("raw_shards", "01") else None

    def blocked(self, place):
        return self._check if place == ("raw_shards", "01") else ""


def stale(*, missing: str = "") -> Look:
    return Look(True, (Reason(kind="landing", text="landing[01] changed"),), missing, "basis")


def decide(looks, past=None, now=0.0, asked=None):
    items = reconcile(NODES, ["01", "02"], lambda p: looks.get(p, FRESH), past or Past(), now=now, asked=asked)
    return {place: item.state for place, item in items.items()}, items


def test_what_follows_waits_and_joins_the_run_of_its_snapshot():
    states, items = decide({("raw_shards", "01"): stale()})
    assert states == {("raw_shards", "01"): "ready", ("student_labels", "01"): "waiting", ("recipe", None): "waiting"}
    chosen = [item.place for item in launches(NODES, ["01", "02"], items)]
    assert chosen == [("raw_shards", "01"), ("student_labels", "01")]


@pytest.mark.parametrize(
    ("outcome", "tries", "now", "state"),
    [
        ("failed", 1, 59.0, "held"),
        ("failed", 1, 61.0, "ready"),
        ("failed", 2, 299.0, "held"),
        ("failed", 2, 301.0, "ready"),
        ("failed", 4, 1e9, "held"),
        ("killed", 1, 0.0, "ready"),
        ("killed", 2, 59.0, "held"),
        ("canceled", 1, 1e9, "held"),
    ],
)
def test_failures_are_tried_again_after_growing_pauses_and_cancellations_never(outcome, tries, now, state):
    past = Past(Attempt(outcome, "no reason", "run", tries, 0.0, "basis"))
    states, items = decide({("raw_shards", "01"): stale()}, past, now)
    assert states[("raw_shards", "01")] == state
    if state == "held":
        assert items[("raw_shards", "01")].way_out == "gem run --until raw_shards --snapshot 01"
        assert ("recipe", None) not in states, "what is held blocks nothing else"


def test_other_content_or_a_person_asking_tries_again_at_once():
    other = Past(Attempt("canceled", "", "run", 1, 0.0, "another basis"))
    assert decide({("raw_shards", "01"): stale()}, other)[0][("raw_shards", "01")] == "ready"
    same = Past(Attempt("canceled", "", "run", 1, 5.0, "basis"))
    asked = Asked(everything=True, since=6.0)
    assert decide({("raw_shards", "01"): stale()}, same, asked=asked)[0][("raw_shards", "01")] == "ready"
    # and not for ever in the same call
    asked = Asked(everything=True, since=4.0)
    assert decide({("raw_shards", "01"): stale()}, same, asked=asked)[0][("raw_shards", "01")] == "held"


def test_a_failed_check_holds_what_reads_the_snapshot_and_names_itself():
    looks = {("student_labels", "01"): stale(), ("student_labels", "02"): stale()}
    states, items = decide(looks, Past(failed_check="documents_are_sound: rows are missing"))
    assert (states[("student_labels", "01")], states[("student_labels", "02")]) == ("held", "ready")
    assert "documents_are_sound" in items[("student_labels", "01")].because


def test_a_missing_input_is_traced_to_what_is_held():
    looks = {
        ("raw_shards", "01"): stale(missing="needs 300 documents, has 211"),
        ("student_labels", "01"): stale(missing="no raw_shards"),
    }
    _, items = decide(looks)
    assert items[("raw_shards", "01")].because == "needs 300 documents, has 211"
    assert items[("student_labels", "01")].behind == ("raw_shards", "01")


def test_what_something_held_keeps_from_running_joins_no_run():
    """It waits for what is under way, and would fail in one run with it."""
    nodes = [
        *NODES[:1],
        Node("page_history", "fan_in", False, ("raw_shards",)),
        Node("space", "fitted", False, ("raw_shards",)),
        Node("inventory", "fan_in", False, ("page_history", "space")),
    ]
    never = Look(False, (Reason(kind="missing", text="never made"),), "", "b")
    too_few = Look(False, never.reasons, "needs 256 documents and has 211", "b")
    looks = {("page_history", None): never, ("space", None): too_few, ("inventory", None): never}
    items = reconcile(nodes, ["01"], lambda place: looks.get(place, FRESH), Past())
    assert (items["inventory", None].state, items["inventory", None].behind) == ("waiting", ("space", None))
    assert [item.place for item in launches(nodes, ["01"], items)] == [("page_history", None)]


def test_what_a_failed_try_read_is_noted_even_while_its_inputs_are_away():
    seen = []

    class Noting(Past):
        def attempt(self, place, basis):
            seen.append((place, basis))

    decide({("raw_shards", "01"): stale(missing="no landing"), ("student_labels", "01"): stale()}, Noting())
    assert (("raw_shards", "01"), "basis") in seen
