"""Dagster's daemon as ``gem dev`` starts it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from dagster import AssetKey

from gem_assets.orchestration.code_server import definitions_of, forget_ended_servers
from gem_assets.orchestration.instance import open_instance
from gem_assets.settings import load_settings

REPOSITORY = Path(__file__).resolve().parents[2]
DAEMON = """
import dagster._daemon.cli as cli, dagster._daemon.sensor as sensors
import dagster._core.remote_representation.grpc_server_registry as servers
before = sensors.execute_sensor_iteration
def show(args, **options):
    print(args, sensors.MIN_INTERVAL_LOOP_TIME, sensors.execute_sensor_iteration is not before,
          servers.GrpcServerRegistry.clear_all_grpc_endpoints.__name__)
cli.cli = show
from gem_assets.orchestration.web_server import daemon
daemon(["run"])
"""
DEFINITIONS = """
import os
import dagster as dg

LOADED_BY = os.getpid()

@dg.asset(automation_condition=dg.AutomationCondition.missing() & ~dg.AutomationCondition.in_progress())
def thing():
    return dg.MaterializeResult(metadata={"forked": os.getpid() != LOADED_BY})

automation = dg.AutomationConditionSensorDefinition(
    "automation", target="*", minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING
)
defs = dg.Definitions([thing], sensors=[automation], executor=dg.in_process_executor)
"""


def started(ended: bool) -> SimpleNamespace:
    return SimpleNamespace(process=SimpleNamespace(server_process=SimpleNamespace(poll=lambda: 1 if ended else None)))


def test_the_daemon_looks_every_second_and_keeps_its_code_server(tmp_path):
    environment = {**os.environ, "GEM_DATA_ROOT": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    found = subprocess.run([sys.executable, "-c", DAEMON], check=True, env=environment, capture_output=True, text=True)
    assert found.stdout.split("\n")[-2] == "['run'] 1 True forget_ended_servers"


def test_only_a_code_server_that_ended_or_did_not_load_is_replaced():
    entries = {"alive": started(False), "ended": started(True), "broken": SimpleNamespace(error="no such module")}
    registry = SimpleNamespace(_lock=threading.Lock(), _active_entries=entries)
    forget_ended_servers(registry)
    assert set(registry._active_entries) == {"alive"}


def test_a_run_has_the_definitions_loaded_that_its_server_was_told_to_load():
    assert definitions_of(["api", "grpc", "--socket", "here", "-m", "small_definitions"]) == "small_definitions"
    assert definitions_of(["api", "grpc", "--socket", "here"]) == "gem_assets.definitions"


@pytest.mark.slow
def test_without_a_web_interface_the_daemon_makes_what_is_missing_in_a_fork(tmp_path):
    (tmp_path / "small_definitions.py").write_text(DEFINITIONS)
    root, out = tmp_path / "data", tmp_path / "out.txt"
    root.mkdir()
    gem = [sys.executable, "-m", "gem_assets.cli", "dev", "--no-ui", "--data-root", str(root)]
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{tmp_path}"}
    with out.open("w") as stream:
        process = subprocess.Popen(
            [*gem, "--module", "small_definitions"], env=environment, stdout=stream, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 150
        while "made thing" not in out.read_text():
            assert process.poll() is None, out.read_text()
            assert time.monotonic() < deadline, out.read_text()
            time.sleep(0.3)
        second = subprocess.run(gem, check=False, env=environment, capture_output=True, text=True)
        assert second.returncode == 1
        assert "Another `gem dev` already runs" in second.stderr
        assert "without a web interface" in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(200)
    assert code == 0, out.read_text()
    assert out.read_text().rstrip().endswith("Stopped.")
    with open_instance(load_settings(root)) as instance:
        event = instance.get_latest_materialization_event(AssetKey("thing"))
        assert event is not None
        # the definitions were loaded by another process than that of the run
        assert event.asset_materialization.metadata["forked"].value is True
