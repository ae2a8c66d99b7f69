import io
import os
from collections.abc import Mapping

import pytest

from gem_assets.parallel import machine
from resources import EngineResource

GB = 2**30
NO_LIMIT = str(2**63 - 4096)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch):
    """Pretend to be in a container of a host with 96 cores and 512 GB; takes the files that the kernel shows."""

    def pretend(files: Mapping[str, str], *, affinity: int = 96, memory: int = 512 * GB) -> None:
        opened = io.open

        def fake(file, *arguments, **options):
            name = os.fspath(file) if isinstance(file, str | os.PathLike) else ""
            if not str(name).startswith(("/sys/fs/cgroup", "/proc/self/cgroup")):
                return opened(file, *arguments, **options)
            if name not in files:
                raise FileNotFoundError(name)
            return io.StringIO(files[name])

        monkeypatch.setattr("io.open", fake)
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
        monkeypatch.setattr("os.cpu_count", lambda: 96)
        monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": memory // 4096}.__getitem__)

    return pretend


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 96),
        ({"/sys/fs/cgroup/cpu.max": "max 100000\n"}, 96),
        ({"/sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"/sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
        ({"/sys/fs/cgroup/cpu.max": "torn\n"}, 96),
        ({"/sys/fs/cgroup/cpu.max": "200000 0\n"}, 96),
        (
            {
                "/proc/self/cgroup": "0::/kubepods/burstable/pod1/c1\n",
                "/sys/fs/cgroup/kubepods/burstable/pod1/c1/cpu.max": "max 100000\n",
                "/sys/fs/cgroup/kubepods/burstable/pod1/cpu.max": "300000 100000\n",
                "/sys/fs/cgroup/kubepods/cpu.max": "800000 100000\n",
            },
            3,
        ),
        (
            {
                "/proc/self/cgroup": "12:cpu,cpuacct:/docker/abc/inner\n3:memory:/docker/abc\n0::/\n",
                "/sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us": "400000\n",
                "/sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                "/proc/self/cgroup": "1:cpu:/\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            96,
        ),
        ({"/proc/self/cgroup": "0::/../other\n", "/sys/fs/cgroup/cpu.max": "500000 100000\n"}, 5),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/unified/cpu.max": "600000 100000\n"}, 6),
    ],
)
def test_the_smallest_quota_on_the_way_up_counts(host, files, cores):
    host(files)
    assert machine.usable_cores() == cores
    assert machine.worker_allowance().workers == cores


def test_affinity_counts_where_it_is_less_than_the_quota(host):
    host({"/sys/fs/cgroup/cpu.max": "800000 100000\n"}, affinity=3)
    assert machine.usable_cores() == 3
    allowed = machine.worker_allowance()
    assert (allowed.workers, allowed.reason) == (3, "this process may run on 3 of 96 cores")


@pytest.mark.parametrize(
    ("files", "workers"),
    [
        ({"/sys/fs/cgroup/memory.max": f"{4 * GB}\n"}, 5),
        ({"/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.high": f"{4 * GB}\n"}, 5),
        ({"/sys/fs/cgroup/memory.max": f"{GB // 2}\n"}, 1),
        ({"/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{NO_LIMIT}\n"}, 96),
        ({"/proc/self/cgroup": "4:memory:/a/b\n", "/sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{4 * GB}\n"}, 5),
    ],
)
def test_workers_fit_into_the_memory_of_the_container(host, files, workers):
    host(files)
    assert machine.worker_allowance().workers == workers
    assert machine.usable_cores() == 96


def test_the_engine_follows_the_container_and_says_so_once(host, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    host({"/sys/fs/cgroup/cpu.max": "250000 100000\n"})
    assert EngineResource()._plan(1000, 1)[1] == 3
    assert EngineResource()._plan(1000, 2)[1] == 1
    assert EngineResource()._plan(2, 1)[1] == 2
    said = [record.getMessage() for record in caplog.records if "CPU quota of 2.5 cores" in record.getMessage()]
    assert len(said) == 1
    assert "GEM_WORKERS" in said[0]


def test_a_number_that_was_given_is_used_as_it_is(host):
    host({"/sys/fs/cgroup/cpu.max": "100000 100000\n"})
    assert EngineResource(workers=7)._plan(1000, 1)[1] == 7
