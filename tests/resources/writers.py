"""What a second process runs: kept apart from the tests, whose imports would cost more than the write."""

from multiprocessing.synchronize import Barrier

from gem_assets.storage.lance import LanceTables
from tests.resources.tables import rows


def write_when_both_are_ready(uri: str, commit: str, seed: int, barrier: Barrier) -> None:
    barrier.wait()
    LanceTables(uri, commit=commit).replace_snapshot("t", rows("s2", 3000, seed=seed), "s2")
