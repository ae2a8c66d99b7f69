import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from dagster import DagsterInstance

from gem_assets.orchestration import dev_server as launcher
from gem_assets.orchestration.dagster_home import (
    LaunchError,
    port_is_free,
    prepare_home,
    running_server,
    write_workspace,
)
from gem_assets.orchestration.dev_server import DevServer, outside
from gem_assets.orchestration.instance import open_instance
from gem_assets.settings import Settings, load_settings

REPOSITORY = Path(__file__).resolve().parents[2]
linux_only = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "data")


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes_on(home: Path) -> list[int]:
    """Return the live processes that were given this DAGSTER_HOME."""
    wanted = f"DAGSTER_HOME={home}".encode()
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


class FakeServer(DevServer):
    """Starts a program that answers like the webserver, with a child that does not want to end."""

    script = """
        import http.server, json, signal, subprocess, sys
        child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
        subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE).stdout.readline()
        print("2026-11-20 12:00:00 +0000 - dagster - WARNING - look at this", flush=True)
        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                error = {"__typename": "PythonError", "message": "ModuleNotFoundError: no such thing"}
                entry = {"name": "gem_assets", "locationOrLoadError": error}
                body = json.dumps({"data": {"workspaceOrError": {"locationEntries": [entry]}}}).encode()
                self.send_response(200); self.end_headers(); self.wfile.write(body)
            do_GET = do_POST = answer
            def log_message(self, *arguments): pass
        http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
    """  # noqa: E501

    def command(self, workspace: Path) -> list[str]:
        return [sys.executable, "-c", textwrap.dedent(self.script), str(self.port)]


class StubbornServer(FakeServer):
    """Outlives its launcher, as a server does that is busy with a run."""

    script = FakeServer.script.replace(
        "import http.server,",
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n        import http.server,",
    )


class DyingServer(DevServer):
    def command(self, workspace: Path) -> list[str]:
        return [sys.executable, "-c", "import sys; print('no such table: runs'); sys.exit(3)"]


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def fake(settings: Settings, port: int, heard: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setattr(launcher, "_STOP_GROUP_S", 0.5)
    server = FakeServer(settings, port=port, echo=heard.append)
    yield server
    server.stop()


def test_the_template_is_copied_once_and_then_belongs_to_the_user(settings: Settings):
    home = prepare_home(settings)
    assert home.is_absolute()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert prepare_home(settings) == home
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


@pytest.mark.parametrize(
    "config",
    [
        "run_launcher: {module: foreign_code, class: Launcher}\n",
        "custom_instance_class: {module: foreign_code, class: Instance}\n",
        "instance_class: {module: foreign_code, class: Instance}\n",
        "storage: {custom: {module: foreign_code, class: Storage, config: {}}}\n",
        "storage: {postgres: {postgres_url: 'postgresql://evil.example/all'}}\n",
        "storage: {postgres: {postgres_url: {env: AWS_SECRET_ACCESS_KEY}}}\n",
        "storage: {sqlite: {base_dir: /elsewhere}}\n",
        "compute_logs: {module: foreign_code, class: Logs}\n",
        "python_logs: {dagster_handler_config: {handlers: {x: {class: foreign_code.Handler}}}}\n",
        "telemetry: {enabled: false}\nscheduler: {module: foreign_code, class: S}\n",
        "- a list\n",
        "telemetry: [\n",
        "a: !!python/object/apply:os.system ['true']\n",
        "x: " + "[" * 5000,
        "telemetry: {enabled: false}\n" + "#" * 70_000,
    ],
)
def test_a_foreign_configuration_is_set_aside_and_runs_nothing(
    settings: Settings, config: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "foreign_code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.dagster_home.mkdir(parents=True)
    written = settings.dagster_home / "dagster.yaml"
    written.write_text(config)
    with open_instance(settings) as instance:
        assert instance.get_runs_count() == 0
    assert not (tmp_path / "ran").exists()
    assert written.with_name("dagster.yaml.set-aside").read_text() == config
    assert yaml.safe_load(written.read_text())["telemetry"] == {"enabled": False}
    assert "GEM_DAGSTER_YAML" in caplog.text
    caplog.clear()
    prepare_home(settings)
    assert caplog.text == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_configuration_that_is_no_plain_file_is_not_opened(settings: Settings, tmp_path: Path):
    settings.dagster_home.mkdir(parents=True)
    written, own = settings.dagster_home / "dagster.yaml", tmp_path / "own.yaml"
    os.mkfifo(written)
    prepare_home(settings)
    assert written.is_file()
    own.write_text("run_launcher: {module: mine, class: Launcher}\n")
    written.unlink()
    written.symlink_to(own)
    prepare_home(settings)
    assert not written.is_symlink()
    assert own.read_text() == "run_launcher: {module: mine, class: Launcher}\n"


def test_the_operators_own_configuration_is_used_as_it_is(settings: Settings, tmp_path: Path, monkeypatch):
    own = tmp_path / "own.yaml"
    own.write_text("run_launcher: {module: mine, class: Launcher}\n")
    monkeypatch.setenv("GEM_DAGSTER_YAML", str(own))
    home = prepare_home(settings)
    assert (home / "dagster.yaml").read_text() == own.read_text()
    monkeypatch.setenv("GEM_DAGSTER_YAML", str(tmp_path / "absent.yaml"))
    with pytest.raises(LaunchError, match=r"absent\.yaml"):
        prepare_home(settings)


def test_the_server_is_not_started_inside_of_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = tmp_path / "root"
    (root / "landing").mkdir(parents=True)
    (tmp_path / "link").symlink_to(root)
    for inside in (root, root / "landing", tmp_path / "link"):
        monkeypatch.chdir(inside)
        assert outside(root) == tmp_path
        assert outside(tmp_path / "link") == tmp_path
    monkeypatch.chdir(tmp_path)
    assert outside(root) == tmp_path


def test_a_home_that_cannot_be_written_is_named_with_the_way_out(settings, monkeypatch):
    prepare_home(settings)
    monkeypatch.setattr("gem_assets.orchestration.dagster_home.os.access", lambda *_: False)
    with pytest.raises(LaunchError, match="work on a copy of the data root"):
        prepare_home(settings)


def test_dagster_accepts_the_template(settings: Settings):
    home = prepare_home(settings)
    with DagsterInstance.from_config(str(home)) as instance:
        concurrency = instance.get_concurrency_config()
        assert concurrency.pool_config.default_pool_limit == 1
        assert concurrency.run_queue_config is not None
        assert concurrency.run_queue_config.max_concurrent_runs == 2
        assert instance.run_coordinator.dequeue_interval_seconds == 1
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.run_monitoring_enabled


def test_the_postgres_block_of_the_template_names_the_driver():
    lines = (REPOSITORY / "gem_assets/templates/dagster.yaml").read_text().splitlines()
    block = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[lines.index("# storage:") :])
    assert yaml.safe_load(block) == {"storage": {"postgres": {"postgres_url": {"env": "DAGSTER_PG_URL"}}}}
    assert any("postgresql+psycopg2://" in line for line in lines)


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(LaunchError, match=r"file/root/dagster.*--data-root"):
        prepare_home(load_settings(tmp_path / "file" / "root"))


def test_workspace_files_agree_on_the_location(settings: Settings):
    written = yaml.safe_load(write_workspace(prepare_home(settings)).read_text())
    in_repository = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())
    ours, theirs = (entry["load_from"][0]["python_module"] for entry in (written, in_repository))
    assert (ours["module_name"], ours["location_name"]) == (theirs["module_name"], theirs["location_name"])


def test_pyproject_leaves_the_workspace_file_effective():
    import tomllib

    tools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]
    assert not {"dagster", "dg"} & set(tools)


def test_a_taken_port_is_refused_before_anything_starts(fake: FakeServer, port: int):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        assert not port_is_free("127.0.0.1", port)
        with pytest.raises(LaunchError, match=rf"Port {port} .* taken.*--port {port + 1}"):
            fake.start()
    assert not fake.log_path.exists()
    assert running_server(fake.home) is None


def test_a_host_that_is_not_ours_is_named():
    with pytest.raises(LaunchError, match=r"--host no-such-host\.invalid"):
        port_is_free("no-such-host.invalid", 3000)
    with pytest.raises(LaunchError, match=r"--host 192\.0\.2\.1"):
        port_is_free("192.0.2.1", 3000)


def test_one_server_a_home(fake: FakeServer, settings: Settings, port: int):
    assert running_server(fake.home) is None
    fake.start()
    fake.wait_ready(30)
    found = running_server(fake.home)
    assert found is not None
    assert (found.pid, found.url) == (os.getpid(), f"http://127.0.0.1:{port}")
    with pytest.raises(LaunchError, match=rf"Another `gem dev` .*127.0.0.1:{port}, process {os.getpid()}"):
        FakeServer(settings, port=port + 1).start()
    fake.stop()
    assert running_server(fake.home) is None


@linux_only
def test_a_start_right_after_a_kill_works_at_once(fake: FakeServer, settings: Settings, port: int):
    code = (
        "import sys, time; from gem_assets.settings import load_settings"
        "; from tests.orchestration.test_dev_server import StubbornServer"
        "; server = StubbornServer(load_settings(sys.argv[1]), port=int(sys.argv[2])); server.start()"
        "; server.wait_ready(60); print('up', flush=True); time.sleep(99)"
    )
    command = [sys.executable, "-c", code, str(settings.data_root), str(port)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as launched:
        assert any(line == "up\n" for line in launched.stdout or ())
        launched.kill()
    assert running_server(fake.home) is not None, "what it started lives on"
    with fake:
        assert fake.wait_ready(60)
    assert running_server(fake.home) is None


@linux_only
def test_stop_ends_children_that_ignore_the_signal(fake: FakeServer, port: int, heard: list[str]):
    with fake:
        assert fake.wait_ready(30)
        assert len(processes_on(fake.home)) == 2
    assert processes_on(fake.home) == []
    assert port_is_free("127.0.0.1", port)
    assert "12:00:00 warning: look at this" in heard
    assert "look at this" in fake.log_path.read_text()
    fake.stop()


def test_a_project_that_does_not_load_is_reported(fake: FakeServer, heard: list[str]):
    with fake:
        fake.wait_ready(30)
    assert any("gem_assets did not load" in line and "no such thing" in line for line in heard)


def test_a_server_that_dies_is_an_error_with_its_last_words(settings: Settings, port: int):
    words = pytest.raises(LaunchError, match=r"exit code 3(.|\n)*no such table: runs")
    with words, DyingServer(settings, port=port) as server:
        server.wait_ready(30)
    assert running_server(settings.dagster_home) is None


def test_serve_returns_when_told_to_stop(fake: FakeServer, heard: list[str]):
    before = signal.getsignal(signal.SIGTERM)

    def hear(line: str) -> None:
        heard.append(line)
        if line == "Stop with Ctrl-C.":
            # only then is the signal surely the server's and not this process's end
            threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()

    launcher.serve(fake, hear)
    assert heard[-1] == "Stopped."
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:3000"), ("0.0.0.0", "http://127.0.0.1:3000"), ("::1", "http://[::1]:3000")],
)
def test_the_address_can_be_opened_on_this_machine(settings: Settings, host: str, url: str):
    assert DevServer(settings, host=host, port=3000).url == url


@linux_only
@pytest.mark.slow
def test_the_real_server_starts_and_stops_without_a_trace(tmp_path: Path, port: int):
    """Started as a script's background job, where SIGINT is ignored, from another folder."""
    (tmp_path / "small_definitions.py").write_text(
        "import dagster as dg\n\n@dg.asset\ndef thing():\n    return 1\n\ndefs = dg.Definitions([thing])\n"
    )
    gem = [sys.executable, "-m", "gem_assets.cli", "dev", "--data-root", "data", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{tmp_path}"}
    out = tmp_path / "out.txt"
    with out.open("w") as stream:
        process = subprocess.Popen(
            [*gem, "--module", "small_definitions"],
            cwd=tmp_path,
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # noqa: PLW1509
        )
    home = tmp_path / "data" / "dagster"
    try:
        deadline = time.monotonic() + 120
        while "is ready at" not in out.read_text():
            assert process.poll() is None, out.read_text()
            assert time.monotonic() < deadline, out.read_text()
            time.sleep(0.3)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            assert "dagster_version" in client.get("/server_info").json()
            query = {"query": "{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } } } } }"}
            answer = client.post("/graphql", json=query).json()
        assert answer["data"]["repositoriesOrError"]["nodes"] == [{"location": {"name": "gem_assets"}}]
        assert len(processes_on(home)) >= 4
        second = subprocess.run(
            [*gem[:-1], str(port + 1)], check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert second.returncode == 1
        assert "Another `gem dev` already runs" in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(200)
    assert code == 0, out.read_text()
    assert out.read_text().rstrip().endswith("Stopped.")
    assert processes_on(home) == []
    assert port_is_free("127.0.0.1", port)
    assert "Launching Dagster services" in (home / "logs" / "gem-dev.log").read_text()
    assert json.loads((home / "gem-dev.lock").read_text() or "null") is None
