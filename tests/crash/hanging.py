"""A reader that hangs on one file; importable by worker processes at little cost."""

import time

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.fragments import FileJob, FileTally, extract_file


def hang_on(name: str, job: FileJob, *, scratch: str, config: CorpusConfig) -> FileTally:
    if job.relative == name:
        time.sleep(3600)
    return extract_file(job, scratch=scratch, config=config)
