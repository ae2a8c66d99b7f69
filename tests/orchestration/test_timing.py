import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.orchestration.timing import DOING, RunTime, StageTime, time_spent


def run(name, created, launched, end, *stages):
    made = tuple(StageTime(asset=asset, snapshot=None, start=start, end=stop) for asset, start, stop in stages)
    return RunTime(run_id=name, created=created, launched=launched, end=end, stages=made)


def test_every_second_is_accounted_for_once():
    runs = [run("a", 5, 7, 30, ("shards", 10, 20), ("vectors", 22, 29)), run("b", 31, 40, 60, ("labels", 44, 58))]
    spent = time_spent(0, runs)
    assert spent is not None
    assert spent.seconds == {"work": 31, "starting": 12, "queued": 11, "waiting": 6}
    assert spent.longest_gap == 15
    assert spent.runs == 2
    assert [(stage.asset, stage.seconds) for stage in spent.stages] == [("labels", 14), ("shards", 10), ("vectors", 7)]


def test_what_runs_beside_something_else_is_no_gap():
    spent = time_spent(0, [run("a", 0, 0, 50, ("long", 1, 50)), run("b", 2, 3, 20, ("short", 5, 19))])
    assert spent is not None
    assert spent.longest_gap == 0
    assert spent.seconds["work"] == 49


def test_what_comes_much_later_has_another_cause():
    spent = time_spent(0, [run("later", 500, 501, 510, ("audit", 502, 509)), run("a", 1, 2, 10, ("shards", 3, 9))])
    assert spent is not None
    assert (spent.until, spent.runs) == (10, 1)


def test_nothing_ran():
    assert time_spent(0, []) is None


@given(st.lists(st.tuples(*[st.floats(0, 50)] * 5), min_size=1, max_size=6))
def test_the_parts_add_up_to_the_whole(drawn):
    runs = []
    for number, lengths in enumerate(drawn):
        created, launched, start, stop, end = (sum(lengths[: k + 1]) for k in range(5))
        runs.append(run(str(number), created, launched, end, ("stage", start, stop)))
    spent = time_spent(0, runs)
    assert spent is not None
    assert set(spent.seconds) == set(DOING)
    assert all(seconds >= -1e-6 for seconds in spent.seconds.values())
    assert sum(spent.seconds.values()) == pytest.approx(spent.until - spent.since, abs=1e-6)
