"""Demo data: three crawl snapshots made from the real text in any Python environment.

``finding`` lists the files, ``passages`` cuts them into documents, ``crawl`` decides which snapshot saw which of them,
``formats`` writes WARC, parquet and JSONL, and ``landing.build_demo_landing`` is the one call that does it all.
"""
