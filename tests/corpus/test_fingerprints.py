"""The record that ``gem land`` leaves of what it landed."""

import os

import pytest

from gem_assets.corpus.fingerprints import check_landing, landed_digests
from gem_assets.corpus.landing import LandingError, land
from gem_assets.storage.faults import StorageError
from tests.corpus.making import write


@pytest.fixture
def landed(tmp_path):
    source = write(tmp_path / "source", {"a.txt": b"12345", "b/c.txt": b"67890"}, success=False)
    return land([source], tmp_path / "landing", "s1").path


def check(folder):
    check_landing(folder, landed_digests(folder))


def test_what_lies_there_as_it_was_landed_passes(landed):
    check(landed)
    (landed / "more.txt").write_bytes(b"added by hand")
    check(landed)


def test_a_file_that_is_gone_is_an_error_of_the_storage(landed):
    (landed / "b" / "c.txt").unlink()
    with pytest.raises(StorageError, match=r"cannot read .*b/c\.txt: it was landed and is no longer there"):
        check(landed)
    (landed / "a.txt").unlink()
    with pytest.raises(StorageError, match=r"landed files are gone: a\.txt, b/c\.txt"):
        check(landed)


def test_a_file_with_other_bytes_of_the_same_length_is_named(landed):
    (landed / "a.txt").write_bytes(b"54321")
    with pytest.raises(LandingError, match=r"s1: a\.txt no longer as landed.*--replace.*touch .*_SUCCESS"):
        check(landed)


def test_a_mark_that_was_written_anew_takes_the_folder_as_it_is(landed):
    (landed / "a.txt").write_bytes(b"54321")
    os.utime(landed / "_SUCCESS")
    check(landed)


@pytest.mark.parametrize("mode", ["link", "hardlink"])
def test_of_a_linked_file_the_size_is_compared(tmp_path, mode):
    source = write(tmp_path / "source", {"a.txt": b"12345"}, success=False)
    folder = land([source], tmp_path / "landing", "s1", mode=mode).path
    check(folder)
    (source / "a.txt").write_bytes(b"123456")
    with pytest.raises(LandingError, match=r"a\.txt no longer as landed"):
        check(folder)


def test_a_link_that_gem_land_made_to_a_file_that_is_away_is_an_error_of_the_storage(tmp_path):
    source = write(tmp_path / "source", {"a.txt": b"12345"}, success=False)
    folder = land([source], tmp_path / "landing", "s1", mode="link").path
    (source / "a.txt").unlink()
    with pytest.raises(FileNotFoundError):
        landed_digests(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"mark": 1}', b'{"mark": 1, "files": {"a.txt": 3}}', b"\xff"])
def test_a_damaged_record_is_named_with_the_way_out(landed, content):
    (landed.parent.parent / "landing-records" / "s1.files").write_bytes(content)
    with pytest.raises(LandingError, match=r"s1\.files, which says what was landed, is damaged"):
        check(landed)


def test_a_folder_that_was_filled_by_hand_has_no_record(tmp_path):
    folder = write(tmp_path / "landing" / "s1", {"a.txt": b"12345"})
    check(folder)
    (folder / "a.txt").write_bytes(b"54321")
    check(folder)
