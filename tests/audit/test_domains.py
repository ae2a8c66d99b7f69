import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gem_assets.audit.domains import count_domains, listed, registrable_domain, shares_of
from gem_assets.lineage.audit import DOCUMENTS_NAME


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.bbc.co.uk", "bbc.co.uk"),
        ("BBC.co.uk.", "bbc.co.uk"),
        ("someone.github.io", "github.io"),
        ("a.b.example.com", "example.com"),
        ("help.invalid", "help.invalid"),
        ("co.uk", "co.uk"),
        ("localhost", "localhost"),
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("www.münchen.de", "xn--mnchen-3ya.de"),
        ("www.straße.de", "xn--strae-oqa.de"),
        ("ｅxample．com", "example.com"),
        ("=cmd()", None),
        ("-x.com", None),
        ("a" * 80 + "ü.de", None),
        ("", None),
    ],
)
def test_registrable_domains(host, domain):
    assert registrable_domain(host) == domain


def test_bytes_count_every_repetition_and_hosts_of_one_domain_add_up(pack, account):
    table = count_domains(pack / DOCUMENTS_NAME)
    rows = {row["domain"]: row for row in table.to_pylist()}
    # document 0 is shown three times at 50 bytes, document 1 once at 100
    assert rows["bbc.co.uk"] == {"domain": "bbc.co.uk", "documents": 2, "exposures": 4, "tokens": 50, "bytes": 250}
    assert set(rows) == {"bbc.co.uk", "github.io", "xn--mnchen-3ya.de", "192.0.2.7", "[2001:db8::1]"}
    assert table.column("bytes").to_pylist() == sorted(table.column("bytes").to_pylist(), reverse=True)
    first = shares_of(table, account.facts.report.n_bytes, 1)
    assert len(first) == 1
    assert first[0].share == pytest.approx(first[0].bytes / account.facts.report.n_bytes)


def test_spellings_of_a_host_count_for_one_domain(tmp_path):
    urls = ["https://www.straße.de/a", "HTTP://XN--strae-oqa.DE", "//straße.de/b", "xn--strae-oqa.de/c",
            "https:\\\\me@ｓtraße.de.\\d", "https://strasse.de/", "no address", None]  # fmt: skip
    ones = [1] * len(urls)
    rows = pa.table({"url": pa.array(urls, pa.string()), "multiplicity": ones, "n_tokens": ones, "n_bytes": ones})
    pq.write_table(rows, tmp_path / DOCUMENTS_NAME)
    found = {row["domain"]: row["documents"] for row in count_domains(tmp_path / DOCUMENTS_NAME).to_pylist()}
    assert found == {"xn--strae-oqa.de": 5, "strasse.de": 1}


@pytest.mark.parametrize(
    ("domains", "all_providers", "small"), [(0, 0, 0), (1, 1, 1), (5, 1, 1), (101, 11, 6), (50_000, 5_000, 1_000)]
)
def test_how_many_domains_a_summary_names(domains, all_providers, small):
    assert listed(domains) == all_providers
    assert listed(domains, small_provider=True) == small
