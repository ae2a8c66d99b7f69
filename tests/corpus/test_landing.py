import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.dedup.known import NothingKnown
from gem_assets.corpus.ingest import ingest_snapshot
from gem_assets.corpus.landed import landed_path, printable
from gem_assets.corpus.landing import (
    LandingError,
    fingerprint,
    land,
    landed_files,
    list_snapshots,
    validate_snapshot_name,
)
from tests.corpus.making import ingest, write


@pytest.mark.parametrize("name", ["2026-11", "CC-MAIN-2026-05", "a", "dt=2026-01-01", "v1.0+fix_2", "x" * 100])
def test_names_that_are_allowed(name):
    assert validate_snapshot_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "../x",
        "/abs",
        "a\\b",
        ".hidden",
        "a..b",
        "x" * 101,
        "a b",
        "a\n",
        "a\x00b",
        "ä",
        "-x",
        "_x",
    ],
)
def test_names_that_are_refused(name, tmp_path):
    with pytest.raises(LandingError, match="use 1 to 100 letters"):
        validate_snapshot_name(name)
    (tmp_path / "f.txt").write_text("hello")
    with pytest.raises(LandingError, match="not a name for a snapshot"):
        land([tmp_path / "f.txt"], tmp_path / "landing", name)


@given(st.text(max_size=30))
def test_an_accepted_name_is_one_plain_folder(name):
    try:
        validate_snapshot_name(name)
    except LandingError:
        return
    assert os.path.basename(os.path.normpath(name)) == name  # noqa: PTH119
    assert name.isascii()


@pytest.fixture
def sources(tmp_path):
    return write(tmp_path / "sources", {"a.jsonl": b"{}\n", "deep/er/b.txt": b"text", ".hidden": b"x"})


@pytest.mark.parametrize("mode", ["copy", "hardlink", "link"])
def test_a_folder_lands_with_its_layout(tmp_path, sources, mode):
    root = tmp_path / "landing"
    seen = []
    landed = land([sources], root, "s1", mode=mode, progress=lambda *about: seen.append(about))
    assert (landed.complete, landed.n_files, landed.n_bytes, landed.problem) == (True, 2, 7, None)
    files = landed_files(root / "s1")
    assert [(f.relative, f.n_bytes, f.problem) for f in files] == [("a.jsonl", 3, None), ("deep/er/b.txt", 4, None)]
    assert (root / "s1/deep/er/b.txt").read_bytes() == b"text"
    assert seen == [(0, 2, "a.jsonl"), (1, 2, "deep/er/b.txt"), (2, 2, "")]
    assert not list((root / "s1").rglob("*.tmp"))


def test_modes_hold_the_same_content(tmp_path, sources):
    prints = set()
    for mode in ("copy", "hardlink", "link"):
        landed = land([sources], tmp_path / "landing", mode, mode=mode)
        prints.add(fingerprint(landed.path, None))
    assert len(prints) == 1


def test_a_landed_snapshot_is_not_touched_unless_told(tmp_path, sources):
    root = tmp_path / "landing"
    land([sources], root, "s1")
    (sources / "a.jsonl").write_bytes(b"other\n")
    (sources / "deep/er/b.txt").unlink()
    with pytest.raises(LandingError, match="landed already"):
        land([sources], root, "s1")
    assert (root / "s1/a.jsonl").read_bytes() == b"{}\n"
    landed = land([sources], root, "s1", replace=True)
    assert [f.relative for f in landed_files(landed.path)] == ["a.jsonl"]
    assert (root / "s1/a.jsonl").read_bytes() == b"other\n"


def test_a_stopped_landing_is_repeated_but_not_mixed(tmp_path, sources):
    root = tmp_path / "landing"
    write(root / "s1", {"a.jsonl": b"half"}, success=False)
    assert land([sources], root, "s1").complete
    assert (root / "s1/a.jsonl").read_bytes() == b"{}\n"
    write(root / "s2", {"stranger.txt": b"?"}, success=False)
    with pytest.raises(LandingError, match=r"stranger\.txt"):
        land([sources], root, "s2")
    assert not (root / "s2/_SUCCESS").exists()


def test_failure_half_way_leaves_no_mark(tmp_path, sources):
    def stop(done, total, name):
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        land([sources], tmp_path / "landing", "s1", progress=stop)
    assert [(s.name, s.complete) for s in list_snapshots(tmp_path / "landing")] == [("s1", False)]


def test_two_sources_of_one_name(tmp_path):
    write(tmp_path / "x", {"part.jsonl": b"1"})
    write(tmp_path / "y", {"part.jsonl": b"2"})
    with pytest.raises(LandingError, match=r"both land as part\.jsonl"):
        land([tmp_path / "x" / "part.jsonl", tmp_path / "y" / "part.jsonl"], tmp_path / "landing", "s1")


def test_nothing_to_land(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(LandingError, match="nothing to land"):
        land([tmp_path / "empty"], tmp_path / "landing", "s1")
    with pytest.raises(LandingError, match="neither a file nor a folder"):
        land([tmp_path / "absent"], tmp_path / "landing", "s1")


def test_links_out_of_a_source_folder_are_refused(tmp_path, sources):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (sources / "inside.jsonl").symlink_to(sources / "a.jsonl")
    assert land([sources], tmp_path / "landing", "fine").n_files == 3
    (sources / "escape.txt").symlink_to(secret)
    with pytest.raises(LandingError, match="link out of"):
        land([sources], tmp_path / "landing", "s1")


def test_links_in_the_landing_folder_are_not_followed_out(tmp_path):
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(b'{"text": "a secret that must never be read by anyone at all"}\n')
    folder = write(tmp_path / "landing" / "s1", {"a.txt": b"a text of more than twenty characters"})
    (folder / "escape.jsonl").symlink_to(secret)
    (folder / "broken.jsonl").symlink_to(tmp_path / "nowhere")
    (folder / "folder").symlink_to(tmp_path)
    (folder / "inside.md").symlink_to("a.txt")
    report, out = ingest(tmp_path, {})
    assert report.quarantined == {"outside_landing": 3}
    assert (report.kept, report.duplicates["exact_within"]) == (1, 1)
    assert b"secret that" not in b"".join(path.read_bytes() for path in out.iterdir())


def test_recorded_links_count_only_for_their_target(tmp_path, sources):
    landed = land([sources], tmp_path / "landing", "s1", mode="link")
    assert all(f.problem is None for f in landed_files(landed.path))
    (landed.path / "a.jsonl").unlink()
    (landed.path / "a.jsonl").symlink_to(tmp_path / "landing")
    assert [f.relative for f in landed_files(landed.path) if f.problem] == ["a.jsonl"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_special_files_are_never_opened(tmp_path):
    folder = write(tmp_path / "landing" / "s1", {})
    os.mkfifo(folder / "pipe.jsonl")
    assert landed_files(folder)[0].problem == "unreadable_file: not a regular file"
    report, _ = ingest(tmp_path, {})
    assert report.quarantined == {"unreadable_file": 1}


def test_odd_folders_are_listed_with_their_problem(tmp_path):
    root = tmp_path / "landing"
    write(root / "good", {"a.txt": b"12345"})
    write(root / "waiting", {"a.txt": b"1"}, success=False)
    write(root / "bad name", {"a.txt": b"1"})
    write(root / ".hidden", {"a.txt": b"1"})
    (root / "a-file").write_text("x")
    (root / "link").symlink_to(tmp_path)
    (root / os.fsdecode(b"latin-\xe9")).mkdir()
    found = {s.name: s for s in list_snapshots(root)}
    assert set(found) == {"good", "waiting", "bad name", "link", "latin-\\xe9"}
    assert (found["good"].complete, found["good"].n_files, found["good"].n_bytes) == (True, 1, 5)
    assert not found["waiting"].complete
    assert found["waiting"].problem is None
    for name in ("bad name", "link", "latin-\\xe9"):
        assert found[name].problem
        assert not found[name].complete
    assert list_snapshots(tmp_path / "absent") == []


@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "device", "link", "loop"])
def test_a_mark_that_is_not_a_plain_file_is_that_snapshots_problem_alone(tmp_path, kind):
    root = tmp_path / "landing"
    write(root / "good", {"a.txt": b"12345"})
    mark = write(root / "odd", {"a.txt": b"1"}, success=False) / "_SUCCESS"
    if kind == "pipe":
        os.mkfifo(mark)
    elif kind == "folder":
        mark.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            here = Path.cwd()
            os.chdir(mark.parent)  # the address of a socket is short
            bound.bind(mark.name)
            os.chdir(here)
    elif kind == "device":
        try:
            os.mknod(mark, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("may not make devices")
    elif kind == "link":
        mark.symlink_to("/dev/zero")
    else:
        mark.symlink_to("_SUCCESS")
    good, odd = list_snapshots(root)
    assert (good.complete, good.problem) == (True, None)
    assert not odd.complete
    assert odd.problem is not None
    assert "_SUCCESS is a" in odd.problem
    with pytest.raises(LandingError, match="_SUCCESS is a"):
        ingest_snapshot(root, "odd", tmp_path / "out", CorpusConfig(), known=NothingKnown())
    assert land([root / "good" / "a.txt"], root, "odd", replace=True).complete


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{", b"\xff" * 100, b'{"links": 3}', b'{"links": {"a.txt": []}}'])
def test_what_a_mark_holds_is_never_read(tmp_path, content):
    folder = write(tmp_path / "landing" / "s1", {"a.txt": b"12345"})
    (folder / "_SUCCESS").write_bytes(content)
    assert list_snapshots(folder.parent)[0].complete
    assert len(fingerprint(folder)) == 64


def test_a_delivery_cannot_allow_its_own_links(tmp_path):
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(b'{"text": "a secret that must never be read by anyone at all"}\n')
    folder = write(tmp_path / "landing" / "s1", {"a.txt": b"a text of more than twenty characters"})
    (folder / "escape.jsonl").symlink_to(secret)
    for record in (folder / "_SUCCESS", folder / "s1.json"):
        record.write_text(json.dumps({"links": {"escape.jsonl": str(secret)}, "escape.jsonl": str(secret)}))
    (escaped,) = [f for f in landed_files(folder) if f.relative == "escape.jsonl"]
    assert escaped.problem is not None
    assert escaped.problem.startswith("outside_landing")
    report, out = ingest(tmp_path, {})
    assert report.quarantined["outside_landing"] == 1
    assert b"secret that" not in b"".join(path.read_bytes() for path in out.iterdir())


def test_folders_nested_as_deep_as_a_path_can_be(tmp_path):
    source = tmp_path / "source"
    for depth in range(0, 1001, 100):
        (source / Path(*"d" * depth)).mkdir(parents=True, exist_ok=True)
    (source / Path(*"d" * 1000) / "deep.txt").write_bytes(b"12345")
    folder = land([source], tmp_path / "landing", "s1").path
    write(tmp_path / "landing" / "s2", {"a.txt": b"1"})
    assert [(s.n_files, s.problem) for s in list_snapshots(folder.parent)] == [(1, None), (1, None)]
    here = Path.cwd()
    os.chdir(folder)
    try:
        for _ in range(30):  # beyond what a path may be long
            os.mkdir("e" * 200)  # noqa: PTH102
            os.chdir("e" * 200)
    finally:
        os.chdir(here)
    files = landed_files(folder)
    try:
        assert [f.problem for f in files] == [None, "unreadable_file: a folder that cannot be listed (ENAMETOOLONG)"]
        assert len(fingerprint(folder)) == 64
        (tmp_path / "kept.txt").write_bytes(b"behind a link")
        (folder / "d" / "link").symlink_to(tmp_path)
        land([source], folder.parent, "s1", replace=True)
        assert [f.problem for f in landed_files(folder)] == [None]
        assert (tmp_path / "kept.txt").read_bytes() == b"behind a link"
    finally:  # too deep for pytest to remove
        subprocess.run(["rm", "-rf", tmp_path / "landing", tmp_path / "source"], check=True)


def test_links_in_circles_are_rows(tmp_path):
    folder = write(tmp_path / "landing" / "s1", {"a.txt": b"a text of more than twenty characters"})
    (folder / "self.txt").symlink_to("self.txt")
    (folder / "up").symlink_to("..")
    (folder / "here").symlink_to(".")
    assert [f.relative for f in landed_files(folder) if f.problem is None] == ["a.txt"]
    assert ingest(tmp_path, {})[0].quarantined == {"outside_landing": 3}


NAMES = [
    b"caf\xe9.txt",
    rb"caf\xe9.txt",
    rb"caf\x5cxe9.txt",
    b"caf\xc3\xa9.txt",
    rb"back\slash.txt",
    b"\\\xff.txt",
    b"new\nline.txt",
]


def test_names_that_are_not_utf8_do_not_meet_and_lead_back_to_their_files(tmp_path):
    folder = write(tmp_path / "landing" / "s1", {})
    for number, name in enumerate(NAMES):
        (folder / os.fsdecode(name)).write_bytes(b"text number %d" % number)
    files = {f.relative: f for f in landed_files(folder)}
    assert len(files) == len(NAMES)
    for relative, file in files.items():
        assert landed_path(folder, relative).read_bytes() == file.path.read_bytes()
    assert r"back\slash.txt" in files
    assert "café.txt" in files


@given(
    st.lists(st.binary(min_size=1, max_size=8).filter(lambda b: b"\0" not in b), min_size=2, max_size=2, unique=True)
)
def test_every_name_has_a_text_of_its_own(names):
    texts = [printable(os.fsdecode(name)) for name in names]
    assert texts[0] != texts[1]
    for name, text in zip(names, texts, strict=True):
        assert os.fsencode(landed_path(Path(), text)) == os.fsencode(Path(os.fsdecode(name)))
        text.encode()


LAND = """
import sys
from pathlib import Path
from gem_assets.corpus.landing import LandingError, land
print("ready", flush=True)
sys.stdin.readline()
try:
    land([Path(sys.argv[1])], Path(sys.argv[2]), "s1", replace=True)
except LandingError as error:
    sys.exit(f"refused: {error}")
"""


def test_of_two_landings_at_once_one_is_whole_and_the_other_refused(tmp_path):
    root = tmp_path / "landing"
    for which in "ab":
        write(tmp_path / which, {f"{n:03d}.txt": which.encode() * 2000 for n in range(300)})
    for _ in range(3):
        started = [
            subprocess.Popen(
                [sys.executable, "-c", LAND, tmp_path / which, root],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for which in "ab"
        ]
        assert [process.stdout.readline() for process in started] == ["ready\n"] * 2
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        words = [process.communicate()[1] for process in started]
        refused = [word for word in words if word]
        assert len(refused) <= 1
        assert all("is being landed by another command" in word for word in refused)
        (landed,) = list_snapshots(root)
        assert (landed.complete, landed.n_files) == (True, 300)
        assert len({f.path.read_bytes() for f in landed_files(landed.path)}) == 1


def test_file_names_of_any_bytes(tmp_path):
    folder = write(tmp_path / "landing" / "s1", {})
    (folder / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"a text of more than twenty characters")
    report, _ = ingest(tmp_path, {})
    assert report.kept == 1
    assert report.files[0].file == "caf\\xe9.txt"


class TestFingerprint:
    def test_follows_content_and_nothing_else(self, tmp_path):
        a = write(tmp_path / "a", {"x.txt": b"1", "y/z.txt": b"2"})
        b = write(tmp_path / "b", {"y/z.txt": b"2", "x.txt": b"1", ".hidden": b"?"}, success=False)
        assert fingerprint(a) == fingerprint(b)
        (b / "x.txt").write_bytes(b"3")
        assert fingerprint(a) != fingerprint(b)
        (b / "x.txt").rename(b / "w.txt")
        (b / "w.txt").write_bytes(b"1")
        assert fingerprint(a) != fingerprint(b)

    def test_names_and_contents_cannot_run_together(self, tmp_path):
        a = write(tmp_path / "a", {"x\n.txt": b"1"})
        b = write(tmp_path / "b", {"x": b"1", ".txt": b""})
        assert fingerprint(a) != fingerprint(b)

    def test_cache_saves_reading_and_notices_change(self, tmp_path, monkeypatch):
        folder = write(tmp_path / "s", {"x.txt": b"1" * 10})
        cache = tmp_path / "caches" / "s.json"
        os.utime(folder / "x.txt", ns=(10**18, 10**18))
        later = time.time_ns() + 10**10
        monkeypatch.setattr("gem_assets.corpus.fingerprints.time.time_ns", lambda: later)
        first = fingerprint(folder, cache)
        assert "x.txt" in json.loads(cache.read_bytes())
        read = []
        digest = hashlib.file_digest
        monkeypatch.setattr(
            "gem_assets.corpus.fingerprints.hashlib.file_digest", lambda *about: read.append(about) or digest(*about)
        )
        assert fingerprint(folder, cache) == first
        assert read == []
        # a size and a time that are made the same again do not hide other content
        (folder / "x.txt").write_bytes(b"2" * 10)
        os.utime(folder / "x.txt", ns=(10**18, 10**18))
        assert fingerprint(folder, cache) != first
        assert len(read) == 1

    def test_a_file_that_was_just_written_is_not_remembered(self, tmp_path):
        folder = write(tmp_path / "s", {"x.txt": b"1"})
        cache = tmp_path / "s.json"
        fingerprint(folder, cache)
        assert not cache.exists() or json.loads(cache.read_bytes()) == {}

    @pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"x.txt": 1}', b"\xff"])
    def test_a_broken_cache_is_done_without(self, tmp_path, content):
        folder = write(tmp_path / "s", {"x.txt": b"1"})
        (tmp_path / "s.json").write_bytes(content)
        assert fingerprint(folder, tmp_path / "s.json") == fingerprint(folder)

    def test_empty_snapshot(self, tmp_path):
        assert len(fingerprint(write(tmp_path / "s", {}))) == 64


def test_nothing_that_lies_in_the_landing_folder_is_written_through(tmp_path, sources):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    root = tmp_path / "landing"
    root.mkdir()
    for name in (".s1.lock", "s1.lock", "s2", ".s2.lock"):
        (root / name).symlink_to(victim)
    assert land([sources], root, "s1", mode="link").complete
    with pytest.raises(LandingError, match="is a link"):
        land([sources], root, "s2", replace=True)
    assert victim.read_text() == "mine"
