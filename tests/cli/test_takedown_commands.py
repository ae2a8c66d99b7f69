from typer.testing import CliRunner

from gem_assets.cli import app
from gem_assets.lineage.artifacts import ArtifactStore
from gem_assets.lineage.identity import digest
from tests.direct import write_small_settings


def test_a_result_of_an_asset_that_is_no_more_does_not_stop_a_takedown(tmp_path):
    write_small_settings(tmp_path)
    (tmp_path / "landing").mkdir()
    with ArtifactStore(tmp_path).write("cluster_report/of_an_earlier_version", digest("x")) as draft:
        (draft.path / "report.json").write_text("{}")
    result = CliRunner().invoke(
        app, ["takedown", "https://example.invalid/page", "--apply", "--data-root", str(tmp_path)]
    )
    assert "no asset" not in result.output
    # nothing was there to be found, and that shows too
    assert result.exit_code == 1, result.output
    assert "nothing was found" in result.output
    assert "complete" not in result.output
