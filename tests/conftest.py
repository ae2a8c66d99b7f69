"""Fixtures that every test module may use."""

import os
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

if find_spec("absl") is not None:
    from absl import logging as absl_logging

    # mlcroissant loads absl, whose log handler closes the stream that it found as standard error: pytest's own
    absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")

# A busy machine is not a failure: time is measured in benchmarks/. `make test` draws the same examples every time, so
# that it passes on a stranger's machine whenever it passes here; `make test-explore` draws new ones, and many more.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)
settings.register_profile(
    "explore", deadline=None, suppress_health_check=list(HealthCheck), max_examples=1000, print_blob=True
)
settings.load_profile(os.environ.get("GEM_HYPOTHESIS", "suite"))


_NO_SHARED = "no ../shared beside the checkout (set GEM_SHARED to its path)"


def find_shared() -> Path | None:
    """Return the folder of real corpora and golden tables beside the checkout, or None."""
    override = os.environ.get("GEM_SHARED")
    candidates = [Path(override)] if override else []
    candidates.append(Path(__file__).resolve().parents[2] / "shared")
    return next((c for c in candidates if (c / "corpora").is_dir()), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: a long file that starts last leaves the other cores idle at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Name in one line, after all others, the files whose tests were skipped because the real corpora are not there."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    files = Counter(Path(report.nodeid.split("::")[0]).name for report in skipped if _NO_SHARED in str(report.longrepr))
    if files:
        named = ", ".join(f"{name} {count}" for name, count in sorted(files.items()))
        terminalreporter.write_line(f"{files.total()} tests on real corpora were skipped, {_NO_SHARED}: {named}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real corpora and golden data; absent on a machine that has only the repository."""
    found = find_shared()
    if found is None:
        pytest.skip(_NO_SHARED)
    return found


@pytest.fixture(scope="session")
def ray() -> Iterator[ModuleType]:
    """Ray, which is shut down at the end; absent where its extra is not installed."""
    if find_spec("ray") is None:
        absent = "the ray extra is not installed; make test-cluster installs it and runs this"
        pytest.fail(absent) if os.environ.get("GEM_CLUSTER") else pytest.skip(absent)
    import ray

    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def shared_corpora(shared: Path) -> Path:
    """Real corpora."""
    return shared / "corpora"


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    """Published figures and reference results, which the repository holds."""
    return Path(__file__).resolve().parent / "golden"
