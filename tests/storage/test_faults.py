"""What is an error of the storage, and that it is tried again before it ends the run."""

import bz2
import errno
import pickle
import socket

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.storage import faults
from gem_assets.storage.faults import StorageError, is_storage_error, retried


def raised_by(action):
    with pytest.raises(Exception) as caught:
        action()
    return caught.value


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    waited = []
    monkeypatch.setattr(faults.time, "sleep", waited.append)
    return waited


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOENT, errno.EACCES, errno.ETIMEDOUT, errno.ENOSPC])
def test_what_the_operating_system_numbers_is_of_the_storage(number):
    assert is_storage_error(OSError(number, "said the system"))


@pytest.mark.parametrize("error", [TimeoutError("no answer"), ConnectionResetError(), FileNotFoundError("s3://b/k")])
def test_errors_of_remote_storage_have_no_number(error):
    assert is_storage_error(error)


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL])
def test_what_a_delivery_can_bring_about_is_not(number):
    assert not is_storage_error(OSError(number, "of the name"))


def test_what_decoders_raise_over_damaged_bytes_is_not(tmp_path):
    damaged = tmp_path / "a.parquet"
    damaged.write_bytes(b"PAR1" + b"\xff" * 100 + b"\x20\x00\x00\x00PAR1")
    for error in (
        raised_by(lambda: bz2.decompress(b"BZh91AY&SY" + b"\0" * 40)),
        raised_by(lambda: pq.read_schema(damaged)),
        raised_by(lambda: pa.Codec("lz4_raw").decompress(b"\xff" * 20, 100, asbytes=True)),
        ValueError("of the content"),
    ):
        assert not is_storage_error(error), error
    assert is_storage_error(raised_by(lambda: pq.read_schema(tmp_path / "absent.parquet")))


def test_a_fault_that_passes_is_not_noticed(pauses):
    ends = iter([OSError(errno.EIO, "I/O"), OSError(errno.ESTALE, "stale"), None])

    def read():
        if (error := next(ends)) is not None:
            raise error
        return "content"

    assert retried(read, "/landing/a") == "content"
    assert pauses == [0.5, 1.0]


def test_a_fault_that_stays_names_file_node_and_the_way_out(pauses):
    def read():
        raise OSError(errno.EIO, "Input/output error")

    error = raised_by(lambda: retried(read, "/landing/a.warc"))
    assert isinstance(error, StorageError)
    assert f"node {socket.gethostname()} cannot read /landing/a.warc, 6 times in a row" in str(error)
    assert "Input/output error" in str(error)
    assert "run again" in str(error)
    assert sum(pauses) == 15.5
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError("bad bytes"), ValueError("bad value")])
def test_what_waiting_does_not_mend_is_raised_at_once(pauses, error):
    def read():
        raise error

    assert raised_by(lambda: retried(read, "/landing/a")) is error
    assert pauses == []
