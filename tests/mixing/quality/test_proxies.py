import numpy as np
import pytest

from gem_assets.mixing.quality.proxies import SelectedProxyError, SelectionJob, run_selections, selected_pool
from gem_assets.proxy.config import TrainingConfig
from gem_assets.proxy.pool import PoolError, TokenPool
from gem_assets.proxy.swarm import SwarmSpec
from tests.mixing.quality.worlds import CONFIG, LENGTH, write_prepared

EVEN = np.array([0.5, 0.5])


@pytest.fixture
def prepared(tmp_path):
    folder = tmp_path / "prepared"
    folder.mkdir()
    return folder, write_prepared(folder)


def spec(folder, config=CONFIG):
    return SwarmSpec(config, folder, "v1", ("0", "1"))


def test_a_pool_holds_each_document_as_often_as_it_is_taken(prepared):
    folder, (_, clusters, _) = prepared
    copies = np.zeros(len(clusters), np.int64)
    copies[[3, 7, 130]] = 1, 3, 2
    found, whole = selected_pool(folder, copies, seed=1), TokenPool.load(folder)
    assert found.sizes.tolist() == [4 * LENGTH, 2 * LENGTH]
    pieces = {bytes(piece) for piece in found.domain(0).reshape(4, LENGTH)}
    source = whole.domain(0).reshape(-1, LENGTH)
    assert pieces == {bytes(source[3]), bytes(source[7])}
    assert selected_pool(folder, copies, seed=1).digest == found.digest
    assert selected_pool(folder, None, seed=1).digest == whole.digest
    with pytest.raises(PoolError, match="3 choices for the 240 documents"):
        selected_pool(folder, copies[:3], seed=1)


def test_what_is_trained_once_is_not_trained_again(prepared, tmp_path):
    folder, (_, _, good) = prepared
    rows = tmp_path / "rows"
    jobs = [
        SelectionJob.of("good", good.astype(np.int64), EVEN, 0),
        SelectionJob.of("noise", (~good).astype(np.int64), EVEN, 0),
        SelectionJob.of("all", None, EVEN, 0),
    ]
    told = []
    first = run_selections(jobs[:2], spec(folder), rows)
    both = run_selections(jobs, spec(folder), rows, progress=lambda *step: told.append(step))
    assert told == [(3, 3, 0.0)]
    assert both[:2].tolist() == first.tolist()
    assert both.shape == (3, 1)
    # the target is of the good documents
    assert both[0, 0] < both[2, 0] < both[1, 0]
    # another label is the same proxy, a torn row is none
    renamed = [SelectionJob.of("other", good.astype(np.int64), EVEN, 0)]
    before = {path.name: path.stat().st_mtime_ns for path in rows.glob("*.json")}
    assert run_selections(renamed, spec(folder), rows)[0, 0] == first[0, 0]
    assert {path.name: path.stat().st_mtime_ns for path in rows.glob("*.json")} == before
    next(rows.glob("*.json")).write_text("{")
    assert run_selections(jobs, spec(folder), rows).tolist() == both.tolist()


def test_a_proxy_that_diverges_is_named(prepared, tmp_path):
    folder, _ = prepared
    wild = CONFIG.model_copy(update={"training": TrainingConfig(tokens=64 * 64, batch=4, lr=1e9, precision="fp32")})
    with pytest.raises(SelectedProxyError, match=r"proxy on 'all' with seed 3 has no losses: .*lower training\.lr"):
        run_selections([SelectionJob.of("all", None, EVEN, 3)], spec(folder, wild), tmp_path / "rows")
