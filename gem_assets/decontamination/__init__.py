"""Decontamination: find text of benchmarks in the corpus.

``config``   settings
``items``    read benchmark items from parquet, JSONL or folders
``words``    words and n-grams of texts, compiled
``index``    inverted index of the items' n-grams
``search``   search the shards of a snapshot
``matching`` n-grams in documents and scores of items, compiled
"""
