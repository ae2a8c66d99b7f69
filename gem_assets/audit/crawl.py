"""When the documents of a mixture were fetched, as far as their records say.

The dates are those that came with the records (WARC-Date; of parquet and JSONL whatever the date column holds), joined
by document id from the ingested shards; only the two columns are read. They also date the forms that demand a date of
creation: no clock is read, so the same mixture gives the same bytes whenever it is written.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

NO_DATE: Final = "1970-01-01"
_DAY: Final = r"^[12]\d{3}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?)?"


class Month(BaseModel):
    """What training reads of the documents of one month; ``month`` is ``YYYY-MM``, or a year alone."""

    model_config = ConfigDict(frozen=True)

    month: str
    documents: int
    tokens: int


class CrawlPeriod(BaseModel):
    """First and last date of the documents, as stated: a day, a month or a year; None where no record has a date.

    ``dated_share`` is the part of the tokens, as trained, that has one.
    """

    model_config = ConfigDict(frozen=True)

    first: str | None
    last: str | None
    dated_share: float
    months: list[Month]

    @property
    def day(self) -> str:
        """Date of the forms: the last date, its first day where only a month or year is known; else 1970-01-01."""
        return first_day(self.last) if self.last else NO_DATE

    @property
    def instant(self) -> str:
        """The same as a point in time, midnight UTC."""
        return f"{self.day}T00:00:00Z"

    @property
    def why(self) -> str:
        """What the date of the forms is taken from."""
        if self.last is None:
            return "No document has a date, so 1970-01-01 stands for it; no clock was read."
        return "The date is the last date of any document of the mixture; no clock was read."


def first_day(date: str) -> str:
    """Return the first day of a year, a month or a day: ``2026-05`` is ``2026-05-01``."""
    return date + "-01-01"[len(date) - len("2026") :]


def crawl_period(documents: Path, shards: Sequence[Path], tokens: int) -> CrawlPeriod:
    """Return the period in which the documents of ``documents.parquet`` were fetched.

    Parameters
    ----------
    documents
        ``documents.parquet`` of an audit.
    shards
        Parquet shards of the ingested snapshots; the columns ``doc_id`` and ``date`` are read.
    """
    if not shards:
        return CrawlPeriod(first=None, last=None, dated_share=0.0, months=[])
    import duckdb

    with duckdb.connect() as database:
        database.read_parquet(str(documents)).create_view("d")
        database.read_parquet([str(path) for path in shards]).create_view("s")
        rows = database.execute(
            "WITH dated AS (SELECT doc_id, min(nullif(regexp_extract(date, ?), '')) AS day FROM s "
            "SEMI JOIN d USING (doc_id) GROUP BY doc_id) "
            "SELECT left(day, 7) AS month, count(*), sum(multiplicity * n_tokens)::BIGINT, min(day), max(day) "
            "FROM d JOIN dated USING (doc_id) WHERE day IS NOT NULL GROUP BY month ORDER BY month",
            [_DAY],
        ).fetchall()
    months = [Month(month=str(m), documents=int(n), tokens=int(t)) for m, n, t, _, _ in rows]
    return CrawlPeriod(
        first=min((str(row[3]) for row in rows), default=None),
        last=max((str(row[4]) for row in rows), default=None),
        dated_share=sum(month.tokens for month in months) / max(tokens, 1),
        months=months,
    )
