"""What a plan says of manifests and past runs, without a graph."""

import pytest

from gem_assets.orchestration.plan import Observation, Rate, Reason, differences, is_automatic, wanted_of, work_of
from gem_assets.storage.manifest import FileRef, InputRef, Manifest

SNAPSHOTS = ("landing", "raw_shards", "embeddings")


def manifest(**changes):
    inputs = [
        InputRef(asset="embedding_space", data_version="a"),
        InputRef(asset="embeddings", partition="01", data_version="b"),
    ]
    fields = {"config": {"k": 24, "near": {"threshold": 0.8}}, "libraries": {"numpy": "2.0"}, "inputs": tuple(inputs)}
    return Manifest(asset="teacher_clusters", identity="0" * 64, data_version="x", **fields | changes)


def wanted(**changes):
    now = manifest()
    inputs = {ref.key: ref.data_version for ref in now.inputs}
    fields = {
        "config": now.config, "code_version": "1", "seed": None, "libraries": now.libraries, "inputs": inputs
    }  # fmt: skip
    return wanted_of(**fields | changes)


def kinds(now):
    return [reason.kind for reason in differences(manifest(), now, SNAPSHOTS)]


def test_nothing_changed_gives_no_reason():
    assert differences(manifest(), wanted(), SNAPSHOTS) == ()


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"code_version": "2"}, "code", "code version 1 → 2"),
        ({"config": {"k": 48, "near": {"threshold": 0.8}}}, "settings", "k 24 → 48"),
        ({"config": {"k": 24, "near": {"threshold": 0.7}}}, "settings", "near.threshold 0.8 → 0.7"),
        ({"seed": 3}, "settings", "seed None → 3"),
        ({"libraries": {"numpy": "2.1"}}, "library", "numpy 2.0 → 2.1"),
        ({"inputs": {"embedding_space": "a", "embeddings[01]": "c"}}, "snapshots", "embeddings[01] changed"),
        ({"inputs": {"embedding_space": "z", "embeddings[01]": "b"}}, "inputs", "embedding_space changed"),
        ({"inputs": {"embedding_space": "a"}}, "snapshots", "embeddings[01] gone"),
    ],
)
def test_each_difference_is_named(changes, kind, text):
    assert differences(manifest(), wanted(**changes), SNAPSHOTS) == (Reason(kind=kind, text=text),)


def test_the_teacher_before_is_no_reason_for_a_refit():
    inputs = {"embedding_space": "a", "embeddings[01]": "b", "teacher_clusters": "x"}
    assert differences(manifest(), wanted(inputs=inputs), SNAPSHOTS) == ()


def test_many_snapshots_are_counted_not_listed():
    inputs = {"embedding_space": "a", "embeddings[01]": "b"} | {f"embeddings[1{i}]": "b" for i in range(9)}
    (reason,) = differences(manifest(), wanted(inputs=inputs), SNAPSHOTS)
    assert reason.text == "embeddings[10], embeddings[11], embeddings[12] and 6 more new"


@pytest.mark.parametrize(
    ("policy", "kind", "automatic"),
    [
        ("content", "landing", True),
        ("content", "settings", False),
        ("fan_in", "snapshots", True),
        ("fitted", "snapshots", False),
        ("fitted", "inputs", True),
        ("fitted", "code", True),
        ("by_hand", "missing", False),
        (None, "missing", False),
    ],
)
def test_policies_decide_what_runs_by_itself(policy, kind, automatic):
    assert is_automatic(policy, [Reason(kind=kind, text="")]) is automatic


def test_rates_are_lines_without_negative_parts():
    assert Rate.learn([]) is None
    assert Rate.learn([Observation(0, 1.0), Observation(0, 3.0)]) == Rate(2.0, 0.0)
    one = Rate.learn([Observation(100, 5.0)])
    assert one is not None
    assert one.seconds(1000) == pytest.approx(50)
    line = Rate.learn([Observation(w, 2 + w / 100) for w in (10, 100, 1000)])
    assert line is not None
    assert line.seconds(10_000) == pytest.approx(102)
    falling = Rate.learn([Observation(10, 5.0), Observation(1000, 4.0)])
    assert falling is not None
    assert falling.per_unit == 0
    assert falling.seconds(10**6) == pytest.approx(4.5, abs=0.5)


def test_work_is_landed_bytes_for_reading_and_documents_else():
    files = (FileRef(path="a", bytes=70, sha256="1" * 64), FileRef(path="b", bytes=30, sha256="2" * 64))
    landed = InputRef(asset="landing", partition="01", data_version="v", files=files)
    raw = Manifest(
        asset="raw_shards", partition="01", identity="0" * 64, data_version="x", inputs=(landed,), counts={"kept": 3}
    )
    assert work_of(raw) == 100
    assert work_of(manifest(counts={"documents": 12})) == 12
