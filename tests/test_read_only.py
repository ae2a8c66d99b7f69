"""A data root that may only be read answers questions; what it remembers lies elsewhere."""

import ctypes
import os
import stat
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from gem_assets.orchestration.instance import open_history, open_instance
from gem_assets.settings import load_settings
from gem_assets.storage.durable import local_folder
from tests.tiny import land_parquet, passages, write_settings


def as_plain_user() -> None:
    """Give up what lets root write to whatever it likes."""
    libc = ctypes.CDLL(None)
    for capability in (1, 2, 3):
        libc.prctl(24, capability, 0, 0, 0)


def everything(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in root.rglob("*")}


@pytest.mark.skipif(sys.platform != "linux", reason="gives up capabilities of Linux")
def test_commands_that_only_look_answer_on_a_read_only_data_root(tmp_path: Path):
    root, home = tmp_path / "root", tmp_path / "home"
    root.mkdir()
    home.mkdir()
    write_settings(root)
    land_parquet(root, "2026-01", passages()[:20])
    (root / "artifacts").mkdir()
    with open_instance(load_settings(root)) as instance:
        instance.add_dynamic_partitions("snapshot", ["2026-01"])
    paths = [root, *root.rglob("*")]
    before = everything(root)
    for path in paths:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)
    try:
        for command in (["status"], ["plan"], ["recipes"], ["trace", "https://example.org/nowhere"], ["doctor"]):
            done = subprocess.run(
                [sys.executable, "-m", "gem_assets.cli", *command, "--data-root", str(root)],
                env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": ""},
                capture_output=True,
                text=True,
                check=False,
                preexec_fn=as_plain_user,
            )
            assert "ermission" not in done.stdout + done.stderr, command
            assert "Traceback" not in done.stderr, command
            assert "raw_shards" in done.stdout or command != ["plan"]
        assert everything(root) == before
    finally:
        for path in paths:
            path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o200)


def test_caches_lie_below_the_data_root_or_with_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, cache = tmp_path / "root", tmp_path / "cache"
    assert local_folder(root, "cache", "trace") == root / "cache" / "trace"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr("gem_assets.storage.durable.os.access", lambda path, _: Path(path).is_relative_to(cache))
    one, two = local_folder(root, "cache", "trace"), local_folder(tmp_path / "other", "cache", "trace")
    assert one.is_relative_to(cache / "gem-assets")
    assert one != two
    monkeypatch.setattr("gem_assets.storage.durable.os.access", lambda *_: False)
    monkeypatch.setattr("gem_assets.storage.durable.tempfile.gettempdir", lambda: str(tmp_path))
    last = local_folder(root, "scratch")
    assert last.is_relative_to(tmp_path / f"gem-assets-{os.getuid()}")
    assert stat.S_IMODE((tmp_path / f"gem-assets-{os.getuid()}").stat().st_mode) == 0o700
    (tmp_path / f"gem-assets-{os.getuid()}").rename(tmp_path / "theirs")
    (tmp_path / f"gem-assets-{os.getuid()}").symlink_to(tmp_path / "theirs")
    with pytest.raises(PermissionError):
        local_folder(root, "scratch")


def test_history_that_cannot_be_written_is_looked_at_in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = load_settings(tmp_path)
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions("snapshot", ["a"])
        instance.report_runless_asset_event(dg.AssetMaterialization("x"))
    before = everything(settings.dagster_home)
    monkeypatch.setattr("gem_assets.run.os.access", lambda path, _: not Path(path).is_relative_to(tmp_path))
    with open_history(settings) as instance:
        assert instance.get_dynamic_partitions("snapshot") == ["a"]
        assert instance.get_latest_materialization_event(dg.AssetKey("x")) is not None
        instance.add_dynamic_partitions("snapshot", ["b"])
    assert everything(settings.dagster_home) == before
