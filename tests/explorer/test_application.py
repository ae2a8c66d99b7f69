"""The explorer over HTTP: views answer, what cannot be answered is a sentence, and what was taken down stays hidden."""

import asyncio
import json
import struct

import numpy as np
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from gem_assets.explorer.application import TOKEN_HEADER, Explorer, Lazily
from gem_assets.explorer.views import Views
from gem_assets.mixing.methods.saved import FILE
from gem_assets.mixing.recipe import Recipe
from gem_assets.ordering.training_order import order_files
from gem_assets.settings import load_settings
from gem_assets.storage.store import Store
from gem_assets.takedown.blocklist import Blocklist
from gem_assets.takedown.entries import parse_entry
from gem_assets.takedown.request import find_documents, new_request
from tests.direct import run_step
from tests.explorer.conftest import HOSTILE
from tests.tiny import land_parquet, passages

READ = ("home", "clusters", "clusters/0", "clusters/0/sample", "map", "documents?rows=0,1", "desk", "history", "plan")


def client_of(views, **more):
    explorer = Explorer(views, **more)
    return explorer, TestClient(explorer.application(), base_url="http://127.0.0.1")


@pytest.fixture(scope="module")
def client(views):
    return client_of(views)[1]


def columns(answer):
    length = struct.unpack_from("<I", answer.content)[0]
    header = json.loads(answer.content[4 : 4 + length])
    values = np.frombuffer(answer.content, "<u2", offset=4 + length)
    return header, values.reshape(-1, header["points"])


@pytest.mark.parametrize("path", READ)
def test_every_view_answers_and_a_reload_costs_nothing(client, path):
    first = client.get(f"/api/{path}")
    assert first.status_code == 200
    assert first.json()
    again = client.get(f"/api/{path}", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_home_counts_what_the_inventory_counts(client, views):
    told = client.get("/api/home").json()
    counts = views.store.artifacts.current("domain_inventory").manifest.counts
    assert [told[name] for name in ("documents", "tokens", "bytes")] == [
        counts[name] for name in ("documents", "tokens", "bytes")
    ]
    assert [row["domain"] for row in told["clusters"]] == [0, 1, 2, 3]
    assert sum(row["documents"] for row in told["languages"]) == counts["documents"]
    assert [row["recipe"] for row in told["recipes"] if row["recommended"]] == [told["recommended"]]


def test_points_are_six_bytes_each_with_their_colour(client, views):
    places, colours = client.get("/api/points"), client.get("/api/colours/cluster")
    header, found = columns(places)
    assert found.shape == (2, len(views.documents()))
    names, codes = columns(colours)
    assert codes[0].tolist() == views.documents().clusters.tolist()
    assert len(names["names"]) == 4
    body = len(places.content) + len(colours.content) - len(json.dumps(names)) - len(json.dumps(header))
    assert body / header["points"] < 6.5


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("clusters/99", 404, "the clusters are 0, 1, 2, 3"),
        ("colours/taste", 404, "choose one of cluster, snapshot"),
        ("documents?rows=first", 400, "'first' is not a row number"),
        ("documents?rows=9999999999999999", 400, "is not a row number"),
        ("find?q=ab", 400, "at least 3 characters"),
        ("compare?a=proportional&b=nothing", 404, "no recipe 'nothing'"),
        ("compare?a=%00&b=", 404, "names no mixture"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence(client, path, status, said):
    answer = client.get(f"/api/{path}")
    assert answer.status_code == status
    assert said in answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"shares": "many"}', b'{"shares": [1, 2]}', b'{"shares": [{}]}'])
def test_a_mixture_that_is_none_is_refused(client, body):
    answer = client.post("/api/predict", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_prediction_over_http_is_that_of_the_desk(client, views):
    told = client.post("/api/predict", json={"shares": [4, 3, 2, 1], "against": ["natural", "balanced", "none"]}).json()
    mine = views.desk().predict([4, 3, 2, 1], {"natural": views.desk().natural})
    assert told["mean"]["loss"] == mine["mean"]["loss"]
    assert set(told["mean"]["against"]) == {"natural", "balanced"}


def test_the_page_runs_no_script_but_its_own(client):
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "<script>" not in page.text
    assert "{{" not in page.text
    assert client.get("/static/app.js").headers["content-type"].startswith("text/javascript")
    for path in ("/static/nothing.js", "/static/index.html", "/static/..%2f__init__.py", "/static/%00.js"):
        assert client.get(path).status_code == 404


def test_hostile_text_travels_as_json_only(client, views):
    found = client.get("/api/find", params={"q": "alert('x')"})
    assert found.headers["content-type"] == "application/json"
    assert found.headers["x-content-type-options"] == "nosniff"
    [document] = found.json()["texts"]["documents"]
    assert document["match"] == "alert('x')"
    assert HOSTILE.partition("alert")[0] in document["before"]


def test_words_are_found_whatever_their_case_and_a_percent_is_a_percent(client):
    upper, lower = (client.get("/api/find", params={"q": q}).json()["texts"]["documents"] for q in ("PYTHON", "python"))
    assert [d["doc_id"] for d in upper] == [d["doc_id"] for d in lower]
    assert upper
    assert client.get("/api/find", params={"q": "%%%___"}).json()["texts"]["documents"] == []


def test_a_sentence_is_found_with_its_places_in_every_training_order(own_root):
    run_step(own_root, "training_order/balanced", None)
    views = Views(load_settings(own_root))
    _, client = client_of(views)
    text = views.texts([5])[0]
    told = client.get("/api/find", params={"q": text["text"][10:70]}).json()["texts"]
    assert text["doc_id"] in [d["doc_id"] for d in told["documents"]]
    [drawn] = told["drawn"]
    order = views.store.artifacts.current("training_order/balanced")
    ids = [i for path in order_files(order.path) for i in pq.read_table(path).column("doc_id").to_pylist()]
    assert (drawn["mixture"], drawn["rows"]) == ("balanced", len(ids))
    for document in told["documents"]:
        places = [at for at, doc_id in enumerate(ids) if doc_id == document["doc_id"]]
        assert drawn["positions"].get(document["doc_id"], []) == places
    assert any(drawn["positions"].values())


def test_two_snapshots_are_compared_by_what_the_inventory_counts(client, views):
    told = client.get("/api/snapshots?a=2026-01&b=2026-02").json()
    counts = {
        name: a.manifest.counts["documents"] for name, a in views.store.artifacts.snapshots("student_labels").items()
    }
    assert told["documents"] == [counts["2026-01"], counts["2026-02"]]
    for by in ("clusters", "languages"):
        for side in (0, 1):
            name = ("before", "after")[side]
            assert sum(row[f"documents_{name}"] for row in told[by]) == told["documents"][side]
            assert sum(row[f"share_{name}"] for row in told[by]) == pytest.approx(1)
    assert 0 <= told["total_variation"] <= 1
    assert client.get("/api/snapshots?a=2026-01&b=2026-01").json()["total_variation"] == 0
    unknown = client.get("/api/snapshots?a=2026-01&b=2030-01")
    assert (unknown.status_code, "it counts 2026-01, 2026-02" in unknown.json()["error"]) == (404, True)


def test_a_larger_budget_repeats_more_and_is_saved_with_the_mixture(own_root):
    views = Views(load_settings(own_root))
    explorer, client = client_of(views)
    desk = views.desk()
    natural, budget = desk.natural.tolist(), desk.frame.budget
    once, thrice = (
        client.post("/api/predict", json={"shares": natural, "budget": n * budget}).json()["epochs"] for n in (1, 3)
    )
    assert thrice == pytest.approx([3 * epochs for epochs in once])
    headers = {TOKEN_HEADER: explorer.token}
    refused = client.post("/api/save", json={"shares": natural, "budget": 100 * budget}, headers=headers)
    assert (refused.status_code, "cap" in refused.json()["error"]) == (400, True)
    saved = client.post("/api/save", json={"shares": natural, "budget": 2 * budget}, headers=headers)
    assert saved.status_code == 200, saved.text
    run_step(own_root, "recipes/by_hand", None)
    made = Recipe.read(views.store.artifacts.current("recipes/by_hand").path / "recipe.json")
    assert made.token_budget == 2 * budget
    for wrong in (0, -1, 1.5, True, "many", 10**16):
        answer = client.post("/api/predict", json={"shares": natural, "budget": wrong})
        assert (answer.status_code, "whole number" in answer.json()["error"]) == (400, True)


def test_saving_needs_the_token_of_the_page(own_root):
    explorer, client = client_of(Views(load_settings(own_root)))
    for headers in ({}, {TOKEN_HEADER: "guessed"}):
        assert client.post("/api/save", json={"shares": [1, 1, 1, 1]}, headers=headers).status_code == 403
    assert not (own_root / FILE).exists()
    assert explorer.token in client.get("/").text


def test_a_saved_mixture_becomes_a_recipe_that_says_who_made_it(own_root):
    views = Views(load_settings(own_root))
    explorer, client = client_of(views)
    shares = views.desk().checked([1, 1, 1, 1]) * 0.5 + views.desk().natural * 0.5
    asked = {"shares": shares.tolist(), "note": "more of the rare", "author": "A. Person"}
    told = client.post("/api/save", json=asked, headers={TOKEN_HEADER: explorer.token})
    assert told.status_code == 200
    assert "gem run" in told.json()["message"]
    run_step(own_root, "recipes/by_hand", None)
    home = client.get("/api/home").json()
    [row] = [row for row in home["recipes"] if row["recipe"] == "by_hand"]
    assert "made by hand" in row["verdict"]
    assert np.allclose(home["shares"]["by_hand"], shares)
    recommended = [row["recipe"] for row in home["recipes"] if row["recommended"]]
    assert recommended != ["by_hand"]


def test_a_mixture_beyond_the_caps_is_not_saved_and_the_cluster_is_named(own_root):
    views = Views(load_settings(own_root))
    explorer, client = client_of(views)
    told = client.post("/api/save", json={"shares": [1, 0, 0, 0]}, headers={TOKEN_HEADER: explorer.token})
    assert told.status_code == 400
    assert "cluster 0 (" in told.json()["error"]
    assert "its cap is 4" in told.json()["error"]
    assert not (own_root / FILE).exists()


def test_what_making_the_recipe_says_is_passed_on(own_root):
    async def made():
        await asyncio.sleep(0)
        return {"made": True, "message": "done"}

    explorer, client = client_of(Views(load_settings(own_root)), make_saved=made)
    told = client.post("/api/save", json={"shares": [1, 1, 1, 1]}, headers={TOKEN_HEADER: explorer.token})
    # the smallest cluster may not bear a quarter; then it is refused before anything is made
    assert told.json() == {"made": True, "message": "done"} or "its cap is" in told.json()["error"]


def test_a_taken_down_document_shows_nowhere_before_anything_is_made_again(own_root):
    views = Views(load_settings(own_root))
    _, client = client_of(views)
    before = len(views.documents())
    gone = views.documents().rows.column("doc_id")[0].as_py()
    [shown] = client.get("/api/documents?rows=0").json()
    assert shown["doc_id"] == gone
    entries = [parse_entry(f"doc_id:{gone}")]
    found = find_documents(views.store.artifacts, entries)
    Blocklist(own_root).append(new_request(entries, found))
    told = [client.get(f"/api/{path}").text for path in (*READ, *(f"clusters/{k}" for k in range(4)))]
    assert len(views.documents()) == before - 1
    assert [gone in text for text in told] == [False] * len(told)
    words = shown["text"][:60]
    found = client.get("/api/find", params={"q": words}).json()["texts"]["documents"]
    assert gone not in [document["doc_id"] for document in found]


def test_a_root_with_nothing_says_what_to_run(tmp_path):
    (tmp_path / "gem.toml").write_text("")
    client = TestClient(Lazily(tmp_path), base_url="http://127.0.0.1")
    for path in ("home", "clusters", "map", "points", "desk", "clusters/0"):
        answer = client.get(f"/api/{path}")
        assert answer.status_code == 409
        assert "gem run" in answer.json()["error"]
    assert client.get("/api/history").json()["snapshots"] == []
    assert client.get("/api/find", params={"q": "anything"}).json()["texts"] == {
        "documents": [],
        "more": False,
        "drawn": [],
    }


def test_a_new_recipe_is_seen_without_a_restart(own_root):
    _, client = client_of(Views(load_settings(own_root)))
    assert "uniform" not in client.get("/api/home").json()["shares"]
    run_step(own_root, "recipes/uniform", None)
    assert "uniform" in client.get("/api/home").json()["shares"]


def test_a_further_snapshot_moves_no_point_of_the_others(own_root):
    views = Views(load_settings(own_root))
    before = dict(zip(views.documents().rows.column("doc_id").to_pylist(), views.points().places.tolist(), strict=True))
    land_parquet(own_root, "2026-03", passages()[170:230])
    for asset in ("raw_shards", "embeddings", "student_labels"):
        run_step(own_root, asset, "2026-03")
    run_step(own_root, "page_history", None)
    after = dict(zip(views.documents().rows.column("doc_id").to_pylist(), views.points().places.tolist(), strict=True))
    assert len(after) > len(before)
    assert {doc: after[doc] for doc in before} == before


def test_the_store_is_not_written_by_looking(made, client):
    def state():
        return {str(p): p.stat().st_mtime_ns for p in (made / "artifacts").rglob("*")}

    before = state()
    for path in READ:
        client.get(f"/api/{path}")
    assert state() == before
    assert Store(made).artifacts.current("recipes/by_hand") is None
