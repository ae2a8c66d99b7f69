"""Registrable domains of a mixture, by bytes as trained.

The registrable domain is the label below a public suffix under which a registry sells names: ``bbc.co.uk`` for
``www.bbc.co.uk``. The Public Suffix List comes with the package ``publicsuffixlist``, so nothing is fetched; its ICANN
part is used, by which a page of ``someone.github.io`` counts for ``github.io``, whose holder is the one that can be
asked. Addresses without a name (IP numbers, single labels) count as they are.

Cost: one grouping by host in DuckDB, then one look-up per distinct host, and per address with an unusual one.
"""

import math
import re
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from gem_assets.corpus.addresses import canonical_host, is_number, read_address, suffixes

DOMAIN_SCHEMA: Final = pa.schema(
    [
        ("domain", pa.string()),
        ("documents", pa.int64()),
        ("exposures", pa.int64()),
        ("tokens", pa.int64()),
        ("bytes", pa.int64()),
    ]
)
# addresses with a plain host are grouped by it, so that few are left to be read one by one
_PLAIN: Final = r"^(https?://[a-zA-Z0-9.-]+)(?:[/?#]|$)"
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_][a-z0-9_-]{0,62}(\.[a-z0-9_-]{1,63})*")
_TOP_SHARE, _SME_SHARE, _SME_MOST = 0.10, 0.05, 1000


class DomainShare(BaseModel):
    """One registrable domain; ``bytes`` counts every repetition, ``share`` is of all bytes of the mixture."""

    model_config = ConfigDict(frozen=True)

    domain: str
    documents: int
    exposures: int
    tokens: int
    bytes: int
    share: float


def registrable_domain(host: str) -> str | None:
    """Return the registrable domain of a host name; None where it is not a host name.

    International names are compared in their ASCII form (UTS 46).
    """
    name = canonical_host(host.strip().strip("."))
    if name is None or is_number(name):
        return name
    return (suffixes().privatesuffix(name) or name) if _NAME.fullmatch(name) else None


def count_domains(documents: Path) -> pa.Table:
    """Return one row per registrable domain (``DOMAIN_SCHEMA``), most bytes first.

    ``documents`` is ``documents.parquet`` of an audit; documents without a web address are left out.
    """
    with duckdb.connect() as database:
        database.read_parquet(str(documents)).create_view("d")
        rows = database.execute(
            "SELECT coalesce(nullif(regexp_extract(url, ?, 1), ''), url) AS site, count(*), sum(multiplicity)::BIGINT, "
            "sum(multiplicity * n_tokens)::BIGINT, sum(multiplicity * n_bytes)::BIGINT "
            "FROM d WHERE url IS NOT NULL GROUP BY site",
            [_PLAIN],
        )
        found: dict[str, list[int]] = {}
        while batch := rows.fetchmany(10_000):
            for site, *counts in batch:
                domain = registrable_domain(read_address(site).host or "")
                if domain is not None:
                    total = found.setdefault(domain, [0, 0, 0, 0])
                    for i, count in enumerate(counts):
                        total[i] += int(count)
    ordered = sorted(found.items(), key=lambda item: (-item[1][3], item[0]))
    columns = [[name for name, _ in ordered], *([counts[i] for _, counts in ordered] for i in range(4))]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, DOMAIN_SCHEMA, strict=True)], schema=DOMAIN_SCHEMA)


def shares_of(table: pa.Table, n_bytes: int, most: int) -> list[DomainShare]:
    """Return the first domains of a table with their part of ``n_bytes``."""
    rows = table.slice(0, most).to_pylist()
    return [DomainShare(**row, share=row["bytes"] / max(n_bytes, 1)) for row in rows]


def listed(n_domains: int, *, small_provider: bool = False) -> int:
    """How many domains a summary of training content has to name: the largest tenth.

    Of a small or medium-sized provider the largest twentieth, and no more than a thousand.
    """
    if small_provider:
        return min(math.ceil(_SME_SHARE * n_domains), _SME_MOST)
    return math.ceil(_TOP_SHARE * n_domains)
