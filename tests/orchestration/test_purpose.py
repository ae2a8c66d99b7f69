"""What is expensive runs on purpose only: in runs of everything it is left as it is, or left out."""

import dagster as dg
import pytest

from gem_assets.orchestration.purpose import expensive
from gem_assets.orchestration.stage import Making, Stage, staged
from resources import StoreResource


class Bench:
    """An upstream asset, and an expensive one that reads it; the number of times each worked is counted."""

    def __init__(self, root, **options):
        self.worked, self.setting = [], "one"
        self.instance = dg.DagsterInstance.ephemeral()
        store = StoreResource(root=str(root))

        def stage(name, store, inputs, setting):
            made = Stage(store, name, config={"setting": setting}, code_version="1", inputs=inputs)
            yield made
            if made.done is None:
                with made.write():
                    self.worked.append(name)
            return made.result()

        @dg.asset
        @staged
        def upstream(context: dg.AssetExecutionContext, store: StoreResource) -> Making:
            return (yield from stage("upstream", store, [], "one"))

        @dg.asset(deps=[upstream], output_required=False)
        @expensive(**options)
        @staged
        def dear(context: dg.AssetExecutionContext, store: StoreResource) -> Making:
            return (yield from stage("dear", store, [store.input("upstream")], self.setting))

        job = dg.define_asset_job("make_it", selection="*")
        self.defs = dg.Definitions(assets=[upstream, dear], jobs=[job], resources={"store": store})

    def run(self, *names, job=None, tags=None):
        chosen = self.defs.resolve_job_def(job) if job else self.defs.resolve_implicit_global_asset_job_def()
        keys = None if job else [dg.AssetKey(name) for name in names]
        result = chosen.execute_in_process(instance=self.instance, asset_selection=keys, tags=tags)
        assert result.success
        worked, self.worked[:] = list(self.worked), []
        made = [event.asset_key.to_user_string() for event in result.get_asset_materialization_events()]
        return worked, sorted(made)


@pytest.fixture
def bench(tmp_path):
    with_instance = Bench(tmp_path)
    yield with_instance
    with_instance.instance.dispose()


def test_a_run_of_everything_leaves_it_out(bench):
    assert bench.run("upstream", "dear") == (["upstream"], ["upstream"])


def test_selected_alone_it_is_made(bench):
    bench.run("upstream")
    assert bench.run("dear") == (["dear"], ["dear"])


def test_a_job_makes_it(bench):
    assert bench.run(job="make_it") == (["upstream", "dear"], ["dear", "upstream"])


def test_the_daemon_makes_it(bench):
    worked, _ = bench.run("upstream", "dear", tags={"dagster/from_automation_condition": "true"})
    assert worked == ["upstream", "dear"]


def test_what_stands_is_reported_as_it_is(bench):
    bench.run(job="make_it")
    bench.setting = "two"
    assert bench.run("upstream", "dear") == ([], ["dear", "upstream"])
    told = bench.instance.get_latest_materialization_event(dg.AssetKey("dear")).asset_materialization
    assert "gem run --until dear" in told.metadata["Left as it is"].value
    assert bench.run("dear")[0] == ["dear"]


def test_a_first_fit_is_made_in_any_run_and_a_refit_is_not(tmp_path):
    bench = Bench(tmp_path, first=True)
    assert bench.run("upstream", "dear")[0] == ["upstream", "dear"]
    bench.setting = "two"
    assert bench.run("upstream", "dear")[0] == []


def test_what_follows_a_refit_is_made_again_when_it_differs_by_more_than_snapshots(tmp_path):
    bench = Bench(tmp_path, first=True, refits=True)
    bench.run("upstream", "dear")
    bench.setting = "two"
    assert bench.run("upstream", "dear")[0] == ["dear"]


def test_partitions_that_are_cheap_are_made_in_any_run(tmp_path):
    store, made = StoreResource(root=str(tmp_path)), []

    @dg.asset
    def upstream() -> None: ...

    @dg.asset(deps=[upstream], partitions_def=dg.StaticPartitionsDefinition(["cheap", "dear"]), output_required=False)
    @expensive(of="dear".__eq__)
    @staged
    def recipe(context: dg.AssetExecutionContext, store: StoreResource) -> Making:
        stage = Stage(store, f"recipes/{context.partition_key}", config={}, code_version="1")
        yield stage
        if stage.done is None:
            with stage.write():
                made.append(context.partition_key)
        return stage.result()

    defs = dg.Definitions(assets=[upstream, recipe], resources={"store": store})
    for partition in ("cheap", "dear"):
        job = defs.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(partition_key=partition).success
    assert made == ["cheap"]
