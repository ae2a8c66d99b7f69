"""The map as a file for a viewer: every document that has a place, and nothing that was taken down."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from gem_assets.cli.app import app
from gem_assets.explorer.atlas import SCHEMA, write_atlas
from gem_assets.explorer.errors import NothingYetError
from gem_assets.explorer.points import GRID
from gem_assets.explorer.views import Views
from gem_assets.settings import load_settings
from gem_assets.takedown.blocklist import Blocklist
from gem_assets.takedown.entries import parse_entry
from gem_assets.takedown.request import find_documents, new_request


def test_the_file_holds_what_the_map_shows(views, tmp_path):
    out = tmp_path / "atlas.parquet"
    assert write_atlas(views, out) == len(views.documents())
    table = pq.read_table(out)
    assert table.schema.equals(SCHEMA)
    assert list(tmp_path.iterdir()) == [out]
    rows = {row["doc_id"]: row for row in table.to_pylist()}
    names = {row["id"]: row["name"] for row in views.overview().clusters()}
    places = views.points().places
    for row, (_, doc_id) in enumerate(views.documents().ids(range(0, len(places), 7))):
        written, at = rows[doc_id], places[row * 7]
        assert [written["x"], 1 - written["y"]] == pytest.approx(at / (GRID - 1), abs=1e-6)
        assert written["cluster"] == names[int(views.documents().clusters[row * 7])]
    first = views.texts([0])[0]
    assert rows[first["doc_id"]]["text"] == first["text"][:1000]
    assert np.isfinite(table.column("x").to_numpy()).all()


def test_what_was_taken_down_is_not_written(own_root, tmp_path):
    views = Views(load_settings(own_root))
    gone = views.documents().ids([3])[0][1]
    entries = [parse_entry(f"doc_id:{gone}")]
    Blocklist(own_root).append(new_request(entries, find_documents(views.store.artifacts, entries)))
    write_atlas(views, tmp_path / "atlas.parquet")
    written = pq.read_table(tmp_path / "atlas.parquet").column("doc_id").to_pylist()
    assert gone not in written
    assert len(written) == len(views.documents())


def test_the_command_replaces_nothing_unasked(made, tmp_path):
    out = tmp_path / "atlas.parquet"
    command = ["export-atlas", str(out), "--data-root", str(made)]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert "embedding-atlas" in first.output
    before = out.read_bytes()
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert out.read_bytes() == before
    assert CliRunner().invoke(app, [*command, "--force"]).exit_code == 0
    nowhere = CliRunner().invoke(app, ["export-atlas", str(tmp_path / "no" / "x.parquet"), "--data-root", str(made)])
    assert (nowhere.exit_code, "is not a folder" in nowhere.output) == (1, True)


def test_without_a_map_nothing_is_left_behind(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "gem.toml").write_text("")
    with pytest.raises(NothingYetError, match="gem run"):
        write_atlas(Views(load_settings(tmp_path / "root")), tmp_path / "atlas.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
