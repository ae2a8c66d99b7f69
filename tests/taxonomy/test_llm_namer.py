import json
import threading
import time
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from gem_assets.taxonomy import llm_namer
from gem_assets.taxonomy.config import NAMER_KEY_VARIABLE, NamerConfig
from gem_assets.taxonomy.llm_namer import (
    PARENT_PROMPT,
    SYSTEM_PROMPT,
    ClusterBrief,
    ClusterName,
    LlmNamer,
    NamerWarning,
    parse_answer,
)


class Endpoint:
    """A stand-in for an OpenAI-compatible server that answers what the test says."""

    def __init__(self, answer, status=200, delay=0.0):
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append(body | {"path": self.path})
                endpoint.headers.append(dict(self.headers))
                time.sleep(delay)
                content = answer(len(endpoint.requests), body) if callable(answer) else answer
                payload = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def serve():
    started = []

    def start(*args, **kwargs):
        started.append(Endpoint(*args, **kwargs))
        return started[-1]

    yield start
    for endpoint in started:
        endpoint.server.shutdown()
        endpoint.server.server_close()


GOOD = '{"name": "Type 2 Diabetes Care", "description": "Questions and answers on treatment."}'
BRIEFS = [
    ClusterBrief(0, ("diabetes", "insulin"), ("Insulin lowers blood sugar.",)),
    ClusterBrief(1, ("court", "law"), ("The court may order.",)),
]


def config_for(endpoint, **changes):
    return NamerConfig(base_url=endpoint.url, model="tiny", **changes)


def test_names_come_from_the_model_and_are_asked_once(serve, tmp_path):
    endpoint = serve(GOOD)
    namer = LlmNamer(config_for(endpoint), tmp_path / "cache")
    names = namer(BRIEFS)
    assert names == [ClusterName("Type 2 Diabetes Care", "Questions and answers on treatment.")] * 2
    assert namer(BRIEFS) == names
    assert len(endpoint.requests) == 2
    assert len(list((tmp_path / "cache").iterdir())) == 2
    asked = endpoint.requests[0]
    assert asked["path"] == "/v1/chat/completions"
    assert asked["model"] == "tiny"
    assert asked["temperature"] == 0
    assert "insulin" in asked["messages"][1]["content"]


def test_another_model_or_other_text_is_asked_anew(serve, tmp_path):
    endpoint = serve(GOOD)
    LlmNamer(config_for(endpoint), tmp_path)(BRIEFS[:1])
    LlmNamer(NamerConfig(base_url=endpoint.url, model="other"), tmp_path)(BRIEFS[:1])
    LlmNamer(config_for(endpoint), tmp_path)([ClusterBrief(0, ("diabetes",), ("Other text.",))])
    assert len(endpoint.requests) == 3


def test_a_parent_is_asked_about_by_its_topics_with_a_prompt_of_its_own(serve, tmp_path):
    endpoint = serve(GOOD)
    parent = ClusterBrief(0, ("diabetes", "insulin"), (), ("Type 2 Diabetes Care: treatment.", "Insulin Pumps"))
    LlmNamer(config_for(endpoint), tmp_path)([BRIEFS[0], parent])
    cluster, section = (request["messages"] for request in endpoint.requests)
    assert cluster[0] == {"role": "system", "content": SYSTEM_PROMPT}
    assert section[0] == {"role": "system", "content": PARENT_PROMPT}
    assert "- Insulin Pumps" in section[1]["content"]
    assert len(list(tmp_path.iterdir())) == 2


def test_prompts_are_plain_text_without_leftovers_of_their_source():
    for prompt in (SYSTEM_PROMPT, PARENT_PROMPT):
        assert "\\" not in prompt
        assert prompt == prompt.strip()
        assert max(len(line) for line in prompt.splitlines()) < 120


def test_another_version_of_the_prompt_is_asked_anew(serve, tmp_path, monkeypatch):
    endpoint = serve(GOOD)
    LlmNamer(config_for(endpoint), tmp_path)(BRIEFS[:1])
    monkeypatch.setattr(llm_namer, "PROMPT_VERSION", "next")
    LlmNamer(config_for(endpoint), tmp_path)(BRIEFS[:1])
    assert len(endpoint.requests) == 2


def test_key_comes_from_the_environment_and_is_kept_nowhere(serve, tmp_path, monkeypatch):
    monkeypatch.setenv(NAMER_KEY_VARIABLE, "secret-key-1")
    endpoint = serve(GOOD)
    config = config_for(endpoint)
    LlmNamer(config, tmp_path)(BRIEFS[:1])
    assert endpoint.headers[0]["Authorization"] == "Bearer secret-key-1"
    assert "secret-key-1" not in config.model_dump_json()
    assert all("secret-key-1" not in p.read_text() for p in tmp_path.iterdir())


def test_wrapped_answers_are_read(serve):
    endpoint = serve(f"Sure! Here it is:\n```json\n{GOOD}\n```")
    assert LlmNamer(config_for(endpoint))(BRIEFS[:1])[0].name == "Type 2 Diabetes Care"


def test_one_bad_answer_falls_back_with_a_warning_and_the_next_is_asked(serve, tmp_path):
    endpoint = serve(lambda number, body: "no json here" if number == 1 else GOOD)
    with pytest.warns(NamerWarning, match="cluster 0 keeps its plain name"):
        names = LlmNamer(config_for(endpoint), tmp_path)(BRIEFS)
    assert names[0] is None
    assert names[1] is not None
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("trouble", [{"status": 500}, {"status": 401}, {"delay": 1.0}])
def test_a_failing_endpoint_is_left_alone_after_two_tries(serve, trouble):
    endpoint = serve(GOOD, **trouble)
    with pytest.warns(NamerWarning) as caught:
        names = LlmNamer(config_for(endpoint, timeout_s=0.2))([ClusterBrief(k, ("w",), ()) for k in range(10)])
    assert [("asking no further" in str(w.message)) for w in caught] == [False, True]
    assert names == [None] * 10
    assert len(endpoint.requests) == 2


def test_no_endpoint_at_all_falls_back():
    config = NamerConfig(base_url="http://127.0.0.1:9/v1", model="tiny", timeout_s=1)
    with pytest.warns(NamerWarning, match="ConnectError"):
        assert LlmNamer(config)(BRIEFS) == [None, None]


def test_a_torn_cache_file_is_asked_again(serve, tmp_path):
    endpoint = serve(GOOD)
    namer = LlmNamer(config_for(endpoint), tmp_path)
    namer(BRIEFS[:1])
    next(tmp_path.iterdir()).write_text('{"name": ')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert namer(BRIEFS[:1])[0].name == "Type 2 Diabetes Care"
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": [{"message": {"content": None}}]},
        {"choices": [{"message": {"content": '{"title": "x"}'}}]},
        {"choices": [{"message": {"content": '{"name": "\\u202e"}'}}]},
        {"choices": [{"message": {"content": '{"name": 3}'}}]},
        {"choices": [{"message": {"content": "{broken}"}}]},
        [],
    ],
)
def test_unusable_answers_are_refused(body):
    with pytest.raises(ValueError):
        parse_answer(body)


def test_a_hostile_name_becomes_one_short_line():
    content = json.dumps({"name": "A\n\n<script>\u202e" + "x" * 500, "description": "d" * 5000})
    answer = parse_answer({"choices": [{"message": {"content": content}}]})
    assert len(answer.name) <= 60
    assert "\n" not in answer.name
    assert len(answer.description) <= 300


@pytest.mark.parametrize("url", ["ftp://x/v1", "http://user:pass@host/v1", "", "file:///etc/passwd"])
def test_addresses_that_are_not_plain_http_are_refused(url):
    with pytest.raises(ValidationError):
        NamerConfig(base_url=url, model="m")
