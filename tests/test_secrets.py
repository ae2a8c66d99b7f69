"""Secrets of the environment: cleaned before use, and in nothing that is printed, logged or stored."""

import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.orchestration.instance import open_instance
from gem_assets.run import materialize_everything
from gem_assets.secrets import SecretError, check_secret, clean_environment, hide_in_logs, is_secret, redact
from gem_assets.settings import SettingsError, load_settings
from gem_assets.taxonomy.config import NamerConfig
from gem_assets.taxonomy.llm_namer import ClusterBrief, LlmNamer, NamerWarning
from tests.direct import CORE, write_small_settings
from tests.tiny import land_parquet, passages

CANARY = "sk-canary+4711/0815=="
DAMAGED = [
    f"{CANARY[:8]}\r{CANARY[8:]}",
    f"{CANARY}\r\nX: y",
    f"{CANARY} {CANARY}",
    f"{CANARY}é",
    f"“{CANARY}”",
    "a\0b",
]


@pytest.mark.parametrize("value", DAMAGED)
def test_a_damaged_secret_is_refused_without_being_shown(value):
    with pytest.raises(SecretError, match="DAGSTER_PG_URL cannot be used: character") as caught:
        clean_environment({"DAGSTER_PG_URL": value})
    assert "canary" not in str(caught.value)
    assert "4711" not in str(caught.value)


def test_blanks_and_line_ends_around_a_secret_are_taken_off():
    environment = {"GEM_NAMER_API_KEY": f" {CANARY}\r\n", "AWS_SECRET_ACCESS_KEY": CANARY, "OTHER": " kept "}
    clean_environment(environment)
    assert environment == {"GEM_NAMER_API_KEY": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY, "OTHER": " kept "}
    assert check_secret("X", f"\n{CANARY}\t") == CANARY


def test_which_variables_hold_secrets():
    secret = ("GEM_NAMER_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "DAGSTER_PG_URL", "PGPASSWORD", "MY_APIKEY")
    assert [name for name in secret if not is_secret(name)] == []
    plain = ("PATH", "HOME", "TOKENIZERS_PARALLELISM", "GEM_DATA_ROOT", "SSH_KEY_PATH", "KEYBOARD", "MONKEY")
    assert [name for name in plain if is_secret(name)] == []


def test_every_spelling_of_a_secret_is_hidden(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GEM_NAMER_API_KEY", CANARY)
    monkeypatch.setenv("DAGSTER_PG_URL", "postgresql+psycopg2://gem:p@ss/word@db:5432/dagster")
    for text in (
        f"Illegal header value b'Bearer {CANARY}'",
        json.dumps({"key": CANARY}),
        "https://x.example/?key=sk-canary%2B4711%2F0815%3D%3D",
        "Could not parse URL from string 'postgresql+psycopg2://gem:p@ss/word@db:5432/dagster'",
        "could not translate host name: p@ss/word",
        "https://user:else@host/path",
    ):
        hidden = redact(text)
        assert "(hidden)" in hidden
        assert not any(part in hidden for part in ("canary", "p@ss", "else"))
    assert redact("s3://bucket/a mail@example.org: fine") == "s3://bucket/a mail@example.org: fine"


@given(st.text(min_size=6, max_size=20), st.text(max_size=10), st.text(max_size=10))
def test_what_is_redacted_holds_no_secret(secret, before, after):
    with pytest.MonkeyPatch.context() as patch:
        try:
            patch.setenv("GEM_NAMER_API_KEY", secret)
        except (ValueError, UnicodeEncodeError):
            return
        assert secret in "(hidden)" or secret not in redact(f"{before}{secret}{after}")


def test_log_records_and_their_traces_hold_none(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setenv("GEM_NAMER_API_KEY", CANARY)
    before = logging.getLogRecordFactory()
    try:
        hide_in_logs()
        hide_in_logs()
        try:
            raise ValueError(f"refused {CANARY}")
        except ValueError:
            logging.getLogger("x").exception("sent %s", CANARY)
        logging.getLogger("x").warning("nothing %d", 3)
    finally:
        logging.setLogRecordFactory(before)
    assert "canary" not in caplog.text
    assert "sent (hidden)" in caplog.text
    assert "refused (hidden)" in caplog.text
    assert "nothing 3" in caplog.text


class Echo:
    """An endpoint that sends back what it was sent, in one of several ways."""

    def __init__(self, how: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                key = self.headers.get("Authorization", "")
                name = json.dumps({"name": key, "description": key})
                body = {
                    "status": f"invalid key {key}",
                    "text": f"invalid key {key}",
                    "name": json.dumps({"choices": [{"message": {"content": name}}]}),
                    "prose": json.dumps({"choices": [{"message": {"content": f"no name for {key}"}}]}),
                    "redirect": "",
                    "reason": "",
                }[how].encode()
                if how == "reason":
                    self.send_response(401, f"no {key}")
                elif how == "redirect":
                    self.send_response(302)
                    self.send_header("Location", f"http://127.0.0.1:1/{key}")
                else:
                    self.send_response(401 if how == "status" else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *values: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.mark.parametrize("how", ["status", "text", "name", "prose", "redirect", "reason"])
def test_an_endpoint_that_sends_the_key_back_gets_it_nowhere(how, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GEM_NAMER_API_KEY", CANARY)
    endpoint = Echo(how)
    try:
        namer = LlmNamer(NamerConfig(base_url=endpoint.url, model="m"), tmp_path / "cache")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert namer([ClusterBrief(0, ("a",), ("b",))]) == [None]
    finally:
        endpoint.server.shutdown()
        endpoint.server.server_close()
    assert [one.category for one in caught] == [NamerWarning]
    assert "canary" not in str(caught[0].message)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("value", DAMAGED[:-1])
def test_a_damaged_key_of_the_namer_is_said_once_and_never_sent(value, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("GEM_NAMER_API_KEY", value)
    namer = LlmNamer(NamerConfig(base_url="http://127.0.0.1:9/v1", model="m"), tmp_path)
    with pytest.warns(NamerWarning, match="GEM_NAMER_API_KEY cannot be used") as caught:
        assert namer([ClusterBrief(n, ("a",), ("b",)) for n in range(3)]) == [None] * 3
    assert len(caught) == 1
    assert "canary" not in str(caught[0].message)


@pytest.mark.parametrize(
    "toml",
    [
        f'[taxonomy.namer]\nbase_url = "http://x/v1"\nmodel = "m"\napi_key = "{CANARY}"\n',
        f'[taxonomy.namer]\nbase_url = "https://user:{CANARY}@x/v1"\nmodel = "m"\n',
        f'api_key = "{CANARY}"\n',
        f'[taxonomy]\nnamer = "{CANARY}"\n',
    ],
)
def test_a_secret_that_was_put_into_the_settings_is_not_quoted(toml, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("GEM_NAMER_API_KEY", CANARY)
    (tmp_path / "gem.toml").write_text(toml)
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("more", [[], ["--debug"]])
def test_a_command_shows_no_secret_when_a_library_quotes_it(tmp_path: Path, more):
    (tmp_path / "landing").mkdir()
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("storage: {postgres: {postgres_url: {env: DAGSTER_PG_URL}}}\n")
    environment = {**os.environ, "DAGSTER_PG_URL": CANARY}
    gem = [sys.executable, "-m", "gem_assets.cli", "plan", "--data-root", str(tmp_path), *more]
    done = subprocess.run(gem, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "canary" not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes()


def test_nothing_in_a_home_holds_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GEM_NAMER_API_KEY", CANARY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    with open_instance(load_settings(tmp_path)) as instance:
        assert instance.get_runs_count() == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_a_run_of_the_graph_leaves_none_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    for name in ("GEM_NAMER_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, CANARY)
    endpoint = Echo("text")
    write_small_settings(tmp_path)
    with (tmp_path / "gem.toml").open("a", encoding="utf-8") as settings:
        settings.write(f'[taxonomy.namer]\nbase_url = "{endpoint.url}"\nmodel = "m"\n')
    land_parquet(tmp_path, "2026-01", passages()[:300])

    def quoting(*_: object) -> None:
        logging.getLogger("a.library").warning("sent %s", CANARY)
        warnings.warn(f"sent {CANARY}", stacklevel=1)
        try:
            raise KeyError(CANARY)
        except KeyError as error:
            raise RuntimeError(f"refused: {json.dumps(CANARY)}") from error

    settings = load_settings(tmp_path)
    wanted = [name for name in CORE if not name.startswith(("training", "mixture"))]
    try:
        with monkeypatch.context() as patch:
            patch.setattr("gem_assets.taxonomy.publish.namer_of", quoting)
            failed = materialize_everything(settings, only=wanted).failed
        assert "gis_taxonomy" in {step.asset for step in failed}
        assert "refused: " in "".join(step.error for step in failed)
        assert "canary" not in "".join(step.error for step in failed)
        assert materialize_everything(settings, only=wanted).failed == ()
    finally:
        endpoint.server.shutdown()
        endpoint.server.server_close()
    assert "canary" not in "".join(capfd.readouterr())
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"refused: " in path.read_bytes() for path in stored if path.suffix == ".db")
    assert [path for path in stored if b"canary" in path.read_bytes()] == []
