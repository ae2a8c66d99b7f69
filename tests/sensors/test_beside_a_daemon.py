"""``gem refit`` and ``gem run`` beside a live daemon: nothing fails, and nothing is made twice."""

import dagster as dg
import pytest

from gem_assets import run
from gem_assets.orchestration.dagster_home import LOCK_NAME, lock_file
from gem_assets.orchestration.instance import open_instance
from gem_assets.settings import load_settings
from tests.sensors.graph import World


class Daemon:
    """Holds the lock of the home as a server does, and ticks whenever the command looks or waits."""

    def __init__(self, world):
        self.world, self.history = world, []

    def tick(self):
        wanted = self.world.requested()
        if wanted:
            self.history.append(wanted)
            self.world.execute(wanted)


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    settings = load_settings(tmp_path)
    with open_instance(settings) as instance:
        world = World(instance, tmp_path)
        world.land("01", "v1")
        world.land("02", "v1")
        world.settle()
        daemon = Daemon(world)
        monkeypatch.setattr("gem_assets.definitions.code_location", lambda root: world.definitions())
        monkeypatch.setattr(run, "_register_landed", lambda defs, instance: None)
        monkeypatch.setattr(run.time, "sleep", lambda seconds: daemon.tick())
        with (settings.dagster_home / LOCK_NAME).open("a+") as handle:
            assert lock_file(handle.fileno())
            handle.write('{"pid": 1, "url": "here"}')
            handle.flush()
            yield settings, daemon


def made_since(world, before):
    return sorted((asset, partition or "") for asset, partition in world.made[before:])


def failed_runs(world):
    return world.instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))


def test_sample_d_a_refit_makes_the_teacher_and_leaves_the_rest_to_the_daemon(daemon):
    settings, server = daemon
    world = server.world
    world.land("03", "v1")
    world.settle()
    before = len(world.made)
    summary = run.refit_everything(settings)
    assert summary.failed == ()
    assert [step.asset for step in summary.steps] == ["teacher_clusters"]
    made = made_since(world, before)
    assert len(made) == len(set(made))
    assert [part for asset, part in made if asset == "student_labels"] == ["01", "02", "03"]
    assert [part for asset, part in made if asset == "student_model"] == [""]
    assert failed_runs(world) == []
    assert world.requested() == {}


def test_a_run_beside_a_daemon_waits_for_what_the_daemon_makes(daemon):
    settings, server = daemon
    world = server.world
    world.land("03", "v1")
    before = len(world.made)
    summary = run.run_until(settings, until="recipe")
    assert summary.failed == ()
    assert summary.steps == ()
    made = made_since(world, before)
    assert len(made) == len(set(made))
    assert ("student_labels", "03") in made
    assert failed_runs(world) == []
