"""Readers that hang on one file, or end over it; importable by worker processes at little cost."""

import os
import signal
import time

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.fragments import FileJob, FileTally, extract_file


def hang_on(name: str, job: FileJob, *, scratch: str, config: CorpusConfig) -> FileTally:
    if job.relative == name:
        time.sleep(3600)
    return extract_file(job, scratch=scratch, config=config)


def end_on(how: str, name: str, job: FileJob, *, scratch: str, config: CorpusConfig) -> FileTally:
    # what a reader leaves behind when it ends counts for nothing
    tally = extract_file(job, scratch=scratch, config=config)
    if job.relative == name:
        if how == "abort":
            os.abort()
        if how == "memory":
            bytearray(1 << 50)
        os.kill(os.getpid(), signal.SIGKILL)
    return tally
