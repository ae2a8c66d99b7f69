"""Crawl files to clean document shards.

The way of the data: ``landing`` (what is there) → ``readers`` (``warc``, ``arc``, ``parquet``, ``jsonl``, ``plain``:
one record at a time, damage as rows) → ``text`` (clean text, ids, language, signals, token counts) → ``fragments`` (one
landed file as Arrow rows) → ``dedup`` (who keeps a text) → ``ingest`` (the shards and the report).
"""
