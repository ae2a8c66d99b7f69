"""Open the Dagster instance of a data root, to write to it or only to look at it."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from gem_assets.orchestration.dagster_home import prepare_home
from gem_assets.orchestration.old_history import move_old_history
from gem_assets.settings import Settings


@contextmanager
def open_history(settings: Settings) -> Generator[dg.DagsterInstance]:
    """Open the Dagster instance of a data root to look at it; of one that cannot be written, a copy that goes away."""
    home = settings.dagster_home
    if not home.is_dir() or os.access(home, os.W_OK):
        with open_instance(settings) as instance:
            yield instance
        return
    with tempfile.TemporaryDirectory(prefix="gem-history-") as folder:
        copy = settings.model_copy(update={"data_root": Path(folder)})
        left_out = shutil.ignore_patterns("logs", "storage", "processes", "*.lock")
        shutil.copytree(home, copy.dagster_home, ignore=left_out, copy_function=shutil.copyfile)
        for path in (copy.dagster_home, *copy.dagster_home.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)  # a copied folder is as closed as the one it is a copy of
        with open_instance(copy) as instance:
            yield instance


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Open the Dagster instance of a data root, whose home is made when it is not there yet."""
    os.environ["DAGSTER_HOME"] = str(prepare_home(settings))
    instance = dg.DagsterInstance.get()
    move_old_history(instance)
    return instance
