"""Where the documents of a mixture come from: their snapshots and languages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

#: Values of the language column that name no language: not stated, undetermined, code, several, none.
NO_LANGUAGE: Final = frozenset({"unknown", "und", "code", "mul", "mis", "zxx"})
UNDETERMINED: Final = "undetermined"


class LanguageFacts(BaseModel):
    """How many languages there are, and which part of the tokens as trained is in one of them."""

    model_config = ConfigDict(frozen=True)

    languages: int
    token_share: float


def count_languages(documents: Path) -> LanguageFacts:
    """Count the languages of ``documents.parquet``; code and what is undetermined are none."""
    import duckdb

    with duckdb.connect() as database:
        database.read_parquet(str(documents)).create_view("d")
        rows = database.execute(
            "SELECT lower(coalesce(nullif(lang, ''), 'unknown')) AS lang, sum(multiplicity * n_tokens)::BIGINT "
            "FROM d GROUP BY ALL"
        ).fetchall()
    known = [int(tokens) for lang, tokens in rows if lang not in NO_LANGUAGE]
    return LanguageFacts(languages=len(known), token_share=sum(known) / max(sum(int(t) for _, t in rows), 1))


def language_name(value: str) -> str:
    """Return how a page calls a value of the language column."""
    return UNDETERMINED if value.lower() in ("und", "mis") else value


def documents_by_snapshot(documents: Path, shards: Mapping[str, Sequence[Path]]) -> dict[str, int]:
    """Return how many documents of ``documents.parquet`` each snapshot gave; 0 where it gave none.

    ``shards`` are parquet shards by snapshot, of which ``doc_id`` is read.
    """
    owner = {str(path): snapshot for snapshot, paths in shards.items() for path in paths}
    found = dict.fromkeys(shards, 0)
    if not owner:
        return found
    import duckdb

    with duckdb.connect() as database:
        database.read_parquet(str(documents)).create_view("d")
        rows = database.execute(
            "SELECT filename, count(*) FROM read_parquet(?, filename = true) SEMI JOIN d USING (doc_id) GROUP BY ALL",
            [list(owner)],
        ).fetchall()
    for file, count in rows:
        found[owner[str(file)]] += int(count)
    return found
