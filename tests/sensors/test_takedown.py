"""A request on the blocklist makes exactly the snapshots stale that it concerns, and is reported once."""

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.corpus.schema import DUPLICATE_SCHEMA
from gem_assets.orchestration.stage import Stage
from gem_assets.takedown.blocklist import parse_entry
from gem_assets.takedown.certificate import read_certificate, request_takedown
from gem_assets.takedown.request import BLOCKED_BY, blocklist_input, stale_snapshots
from resources import StoreResource
from sensors.takedown import takedown_sensor


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def store(tmp_path) -> StoreResource:
    store = StoreResource(root=str(tmp_path))
    for number, snapshot in enumerate(("s1", "s2")):
        commit(store, snapshot, number)
    return store


def commit(store: StoreResource, snapshot: str, number: int, blocked: tuple[str, ...] = ()) -> None:
    """One document of its own, unless it was blocked."""
    stage = Stage(store, "raw_shards", partition=snapshot, config={}, code_version="1", inputs=blocklist_input(blocked))
    with stage.write() as draft:
        rows = pa.table(
            {
                "doc_id": pa.array([f"{number:032x}"], pa.string()),
                "content_digest": pa.array([f"{number + 16:032x}"], pa.string()),
                "url": pa.array([f"https://{snapshot}.example/page"], pa.string()),
                "file": pa.array(["a.jsonl"], pa.string()),
                "offset": pa.array([0], pa.int64()),
            }
        )
        pq.write_table(rows.slice(0, 0 if blocked else 1), draft.path / "part-00000.parquet")
        pq.write_table(DUPLICATE_SCHEMA.empty_table(), draft.path / "duplicates.parquet")
        draft.metrics = {BLOCKED_BY: list(blocked)} if blocked else {}


def take_down(store: StoreResource, what: str):
    return request_takedown(store.artifacts, store.tables, [parse_entry(what)])


def tick(instance, store, cursor=None):
    return takedown_sensor(dg.build_sensor_context(instance=instance, cursor=cursor, resources={"store": store}))


def test_a_request_that_concerns_nothing_makes_nothing_stale(store):
    take_down(store, "nowhere.example")
    assert stale_snapshots(store.root) == {}


def test_the_list_is_reported_once_and_certificates_follow(instance, store):
    assert isinstance(tick(instance, store), dg.SkipReason)
    made = take_down(store, "s1.example")
    first = tick(instance, store)
    (event,) = first.asset_events
    assert event.asset_key == dg.AssetKey("blocklist")
    assert event.metadata["snapshots_to_be_made_again"].value == "s1"
    assert read_certificate(store.root, made.request).state == "pending"
    again = tick(instance, store, first.cursor)
    assert "1 requests, 1 snapshots to be made again" in again.skip_message
    commit(store, "s1", 0, tuple(sorted(stale_snapshots(store.root)["s1"])))
    assert made.request in tick(instance, store, first.cursor).skip_message
    assert read_certificate(store.root, made.request).state == "complete"
