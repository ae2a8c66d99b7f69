"""Which shard starts next: never held up by a slow one, in order at the end, bounded in bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.parallel.window import Window


def started(window):
    found = []
    while (index := window.start()) is not None:
        found.append(index)
    return found


def test_a_slow_shard_holds_up_no_other():
    window = Window(1000)
    assert started(window) == list(range(1000))
    for index in range(1, 1000):
        window.finish(index, index, 10)
    assert list(window.due()) == []
    window.finish(0, 0, 10)
    assert list(window.due()) == list(range(1000))
    assert not window.open


def test_results_that_wait_are_bounded_in_bytes():
    window = Window(100, held_bytes=50)
    assert [window.start() for _ in range(10)] == list(range(10))
    for index in range(1, 10):
        window.finish(index, index, 10)
    assert window.start() is None
    window.finish(0, 0, 10)
    assert list(window.due()) == list(range(10))
    assert window.start() == 10


def test_what_is_due_starts_however_much_is_held():
    window = Window(3, held_bytes=5)
    assert window.start() == 0
    window.finish(0, "a", 10**9)
    assert list(window.due()) == ["a"]
    assert window.start() == 1
    window.finish(1, "b", 10**9)
    assert list(window.due()) == ["b"]
    assert window.start() == 2


def test_of_several_failures_the_first_in_order_is_raised_after_what_comes_before_it():
    window = Window(10)
    assert [window.start() for _ in range(6)] == list(range(6))
    window.fail(4, ValueError("4"))
    window.fail(2, ValueError("2"))
    assert window.start() is None
    window.fail(5, ValueError("5"))
    window.finish(3, 3, 1)
    window.finish(1, 1, 1)
    window.finish(0, 0, 1)
    results = window.due()
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        next(results)


@given(st.permutations(range(8)), st.integers(1, 40))
def test_any_order_of_ends_gives_the_order_of_the_items(order, held):
    window, found, working = Window(8, held_bytes=held), [], set()
    while window.open:
        while (index := window.start()) is not None:
            working.add(index)
        index = min(working, key=order.index)
        working.remove(index)
        window.finish(index, index, 10)
        found += window.due()
    assert found == list(range(8))
