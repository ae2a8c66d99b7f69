"""An asset declares its stage by the first thing that it yields; whoever only asks goes no further."""

import dagster as dg
import pytest

from gem_assets.assets import ALL_ASSETS
from gem_assets.orchestration.probe import declaration, probe
from gem_assets.orchestration.stage import Making, Stage, finish, staged
from gem_assets.settings import load_settings
from gem_assets.storage.store import MissingInputError
from resources import StoreResource

MADE = [asset for asset in ALL_ASSETS if isinstance(asset, dg.AssetsDefinition)]


@pytest.mark.parametrize("asset", MADE, ids=lambda asset: asset.key.to_user_string())
def test_every_asset_declares_its_stage(asset):
    assert declaration(asset.op.compute_fn.decorated_fn).__name__ in (asset.key.path[-1], "recipe")


def asset_of(function):
    return dg.asset(name="made")(staged(function))


def test_a_question_makes_nothing(tmp_path):
    def made(store: StoreResource) -> Making:
        stage = Stage(store, "made", config={"k": 3}, code_version="1")
        yield stage
        raise AssertionError("resumed")

    found = probe(asset_of(made), load_settings(tmp_path))
    assert found.stage.config == {"k": 3}
    assert (found.missing, found.why) == ("", None)
    assert not (tmp_path / "artifacts").exists()


def test_a_missing_input_is_an_answer(tmp_path):
    def made(store: StoreResource) -> Making:
        yield Stage(store, "made", config={}, code_version="1", inputs=[store.input("other")])
        raise MissingInputError("never reached")

    found = probe(asset_of(made), load_settings(tmp_path))
    assert found.stage is None
    assert "other has not been materialized" in found.missing


def test_an_asset_without_a_declaration_is_refused(tmp_path):
    @dg.asset
    def made(store: StoreResource) -> dg.MaterializeResult:
        return dg.MaterializeResult()

    with pytest.raises(TypeError, match="declares no stage"):
        probe(made, load_settings(tmp_path))


def test_a_second_declaration_is_refused(tmp_path):
    stage = Stage(StoreResource(root=str(tmp_path)), "made", config={}, code_version="1")
    making = iter([stage, stage])
    next(making)
    with pytest.raises(RuntimeError, match="declares one stage"):
        finish(making)
