"""Blocklist, certificates and landing: killed at each file-system step, they hold the old state or the new one."""

import subprocess
import sys
from pathlib import Path

import pytest

from gem_assets.corpus.landing import fingerprint, list_snapshots
from gem_assets.takedown.blocklist import Blocklist
from gem_assets.takedown.certificate import read_certificate
from tests.crash.small_writers import WRITERS, block_request, certificate

pytestmark = pytest.mark.crash


def killed(writer: str, base: Path) -> list[Path]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash.small_writers", writer, str(base)],
        cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, timeout=280, check=True,
    )  # fmt: skip
    steps = int(done.stdout)
    assert steps > 2
    return [base / str(step) for step in range(1, steps + 1)]


def test_a_request_is_on_the_list_whole_or_not_at_all(tmp_path, ledger):
    seen = []
    for root in killed("blocklist", tmp_path):
        found = Blocklist(root).requests()
        assert found in ([block_request(1)], [block_request(1), block_request(2)])
        seen.append(len(found))
        if len(found) == 1:
            Blocklist(root).append(block_request(2))
        assert Blocklist(root).requests() == [block_request(1), block_request(2)]
    ledger.record("SIGKILL of a blocklist append at each step", trials=len(seen), repaired=seen.count(1))
    assert seen[0] == 1


def test_a_certificate_is_the_old_one_or_the_new_one(tmp_path, ledger):
    states = []
    for root in killed("certificate", tmp_path):
        found = read_certificate(root, f"{0:012x}")
        assert found in (certificate(1), certificate(2))
        states.append(found.state)
        WRITERS["certificate"](root, 2)
        assert read_certificate(root, f"{0:012x}") == certificate(2)
    ledger.record("SIGKILL of a certificate at each step", trials=len(states), repaired=states.count("pending"))


def test_a_landing_is_complete_or_waits_and_can_be_repeated(tmp_path, ledger):
    reference = tmp_path / "reference" / "root"
    reference.mkdir(parents=True)
    for number in (1, 2):
        WRITERS["landing"](reference, number)
    whole = {number: set() for number in (1, 2)}
    whole[2] = fingerprint(reference / "landing" / "s1")
    waiting = 0
    trials = killed("landing", tmp_path / "kills")
    for root in trials:
        (landed,) = list_snapshots(root / "landing")
        if landed.complete:
            assert landed.n_files == 2
        waiting += not landed.complete
        WRITERS["landing"](root, 2)
        assert fingerprint(root / "landing" / "s1") == whole[2]
    ledger.record("SIGKILL of a landing at each step", trials=len(trials), repaired=waiting)
    assert waiting
