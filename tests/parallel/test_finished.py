"""Shards that were finished before a failure are not made again, and only if all of them is still there."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from gem_assets.parallel.finished import keeping_finished
from gem_assets.parallel.shard_map import serial_map
from resources import EngineResource


@dataclass(frozen=True, slots=True)
class Made:
    number: int
    path: Path
    fit: bool = True


def make(folder: Path, number: int) -> Made:
    if (folder / "stop").exists() and number >= 6:
        raise ValueError("stopped")
    path = folder / f"{number}.txt"
    path.write_text(f"{number} " * 10)
    with (folder / "calls").open("a") as calls:
        calls.write(f"{number}\n")
    return Made(number, path, fit=number != 2)


def files(made: Made) -> list[Path] | None:
    return [made.path, made.path.with_suffix(".absent")] if made.fit else None


def calls(folder: Path) -> list[int]:
    found = [int(line) for line in (folder / "calls").read_text().split()] if (folder / "calls").exists() else []
    (folder / "calls").unlink(missing_ok=True)
    return sorted(found)


@pytest.fixture
def run(tmp_path):
    def run(map_shards=serial_map, count=10):
        return list(
            keeping_finished(map_shards, tmp_path, Made, files)(partial(make, tmp_path), range(count), "making")
        )

    return run


@pytest.fixture
def stopped(tmp_path, run):
    (tmp_path / "stop").touch()
    with pytest.raises(Exception, match="stopped"):
        run()
    (tmp_path / "stop").unlink()
    assert calls(tmp_path) == [0, 1, 2, 3, 4, 5]
    return tmp_path


@pytest.mark.parametrize("engine", ["serial", "local"])
def test_the_next_run_makes_only_what_is_not_there(stopped, run, engine):
    found = run(serial_map if engine == "serial" else EngineResource(workers=2).map)
    assert found == [Made(n, stopped / f"{n}.txt", n != 2) for n in range(10)]
    assert calls(stopped) == [2, 6, 7, 8, 9], "a shard that says it must not be kept is made again"


@pytest.mark.parametrize("how", ["file gone", "file cut", "file more", "manifest cut", "manifest of another kind"])
def test_a_shard_that_is_not_whole_is_made_again(stopped, run, how):
    manifests = {path for path in stopped.glob("*.finished") if str(stopped / "3.txt") in path.read_text()}
    (manifest,) = manifests
    if how == "file gone":
        (stopped / "3.txt").unlink()
    elif how == "file cut":
        (stopped / "3.txt").write_text("3 ")
    elif how == "file more":
        (stopped / "3.absent").touch()
    elif how == "manifest cut":
        manifest.write_text(manifest.read_text()[:20])
    else:
        manifest.write_text('{"files": {}, "result": {"number": "three"}}')
    found = run()
    assert [made.number for made in found] == list(range(10))
    assert 3 in calls(stopped)
    assert (stopped / "3.txt").read_text() == "3 " * 10


def test_what_is_whole_needs_no_worker_at_all(tmp_path, run):
    assert len(run(count=2)) == 2
    calls(tmp_path)

    def no_map(fn, items, label):
        assert list(items) == [], (fn, label)
        return iter(())

    assert [made.number for made in run(no_map, count=2)] == [0, 1]
