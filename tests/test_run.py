import os
import signal
import time

import pytest

from gem_assets.run import materialize_everything
from gem_assets.settings import load_settings
from tests.tiny import land_jsonl, passages, write_settings


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_in_a_step_ends_the_run_and_the_next_one_makes_the_step(tmp_path, monkeypatch, ending):
    write_settings(tmp_path)
    land_jsonl(tmp_path, "2026-01", passages()[:40])
    settings = load_settings(tmp_path)

    def interrupted(*_args, **_kwargs):
        os.kill(os.getpid(), ending)
        time.sleep(60)

    with monkeypatch.context() as patched:
        patched.setattr("gem_assets.corpus.ingest.ingest_snapshot", interrupted)
        with pytest.raises(KeyboardInterrupt):
            materialize_everything(settings, only=["raw_shards", "page_history"])

    again = materialize_everything(settings, only=["raw_shards", "page_history"])
    assert [(step.asset, step.succeeded) for step in again.steps] == [("raw_shards", True), ("page_history", True)]
