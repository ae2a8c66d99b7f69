"""The same results on every engine: the demo, once on the local one and once on Ray."""

import pytest

from benchmarks.engine import demo_on


@pytest.mark.cluster
@pytest.mark.slow
def test_the_demo_gives_equal_digests_on_ray(tmp_path, ray):
    ray.shutdown()  # the demo starts its own
    local = demo_on("local", tmp_path / "local")
    assert len(local) > 30
    assert demo_on("ray", tmp_path / "ray") == local
