"""Which n-gram counts belong to which prepared tokens: those that were counted with the same tokenizer and windows."""

from typing import Final

from gem_assets.stages import CLUSTER_COUNTS, PROXY_TOKENS
from gem_assets.storage.artifacts import Artifact
from gem_assets.storage.manifest import InputRef
from gem_assets.storage.store import MissingInputError, Store

COUNTING: Final = "counting"
"""Metric of ``proxy_tokens`` that names what counts take from it."""


def counting_of(tokens: Artifact) -> str:
    """Return the version of what counts take from prepared tokens; older ones do not name it and stand as a whole."""
    return str(tokens.manifest.metrics.get(COUNTING) or tokens.identity)


def counts_of(store: Store, tokens: InputRef) -> list[InputRef]:
    """Pin the counts of every snapshot that was counted with the given tokenizer and windows.

    Raises MissingInputError when there is none.
    """
    counting = counting_of(store.artifact(tokens))
    current = [
        ref
        for ref in store.inputs(CLUSTER_COUNTS)
        if any(i.asset == PROXY_TOKENS and i.data_version == counting for i in store.artifact(ref).manifest.inputs)
    ]
    if not current:
        raise MissingInputError(
            "no snapshot has been counted with the current proxy_tokens; materialize cluster_counts of a snapshot"
        )
    return current
