from collections import Counter
from pathlib import Path

import pytest

from gem_assets.corpus.config import CorpusConfig
from gem_assets.corpus.readers.records import Item, Quarantined, RawDocument, Skipped
from gem_assets.corpus.readers.registry import read_file
from gem_assets.corpus.text.cleaning import clean_text, content_digest
from gem_assets.demo import formats
from gem_assets.demo.crawl import Page
from gem_assets.demo.passages import Passage
from tests.corpus.making import one_by_one

PROSE = "A first paragraph, as long as it has to be.\n\n- one item\n- another item\n\n    indented <code> & more\n\n"
CODE = "int main(void) {\n\treturn a < b && c > d;  /* \u00e9 */\n}\n\n\n" * 8
SNAPSHOT = "2026-01"


def page(number: int, kind: str = "guides", text: str | None = None) -> Page:
    body = text if text is not None else f"Document {number}.\n\n" + PROSE * 4
    return Page(Passage(f"https://{kind}.example/p/{number}", body, kind, "MIT", "en"), "new")


PAGES = [page(number) for number in range(12)]


def read(path: Path) -> list[Item]:
    return list(one_by_one(read_file(path, path.name, CorpusConfig())))


def documents(path: Path) -> dict[str | None, str]:
    return {item.url: content_digest(clean_text(item.text)) for item in read(path) if isinstance(item, RawDocument)}


def reasons(path: Path) -> Counter[str]:
    return Counter(item.reason for item in read(path) if isinstance(item, Quarantined))


WHOLE = {page.passage.url: content_digest(clean_text(page.passage.text)) for page in PAGES}


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.warc.gz", formats.write_warc),
        ("a.parquet", formats.write_parquet),
        ("a.jsonl.gz", formats.write_jsonl_gz),
    ],
)
def test_each_format_gives_back_the_same_documents(tmp_path: Path, name: str, write):
    write(tmp_path / name, PAGES, SNAPSHOT)
    assert documents(tmp_path / name) == WHOLE
    assert reasons(tmp_path / name) == Counter()
    again = tmp_path / f"again-{name}"
    write(again, PAGES, SNAPSHOT)
    if name != "a.warc.gz":  # its first record holds the file's name
        assert again.read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("kind", ["c-headers", "html", "guides"])
def test_markup_survives_the_web_page(tmp_path: Path, kind: str):
    text = CODE + "<p>not markup</p> &amp; &lt;"
    path = tmp_path / "a.warc.gz"
    formats.write_warc(path, [page(0, kind, text)], SNAPSHOT)
    assert list(documents(path).values()) == [content_digest(clean_text(text))]


def test_the_same_page_has_the_same_place_in_every_format(tmp_path: Path):
    formats.write_warc(tmp_path / "a.warc.gz", PAGES[:1], SNAPSHOT)
    formats.write_parquet(tmp_path / "a.parquet", PAGES[:1], SNAPSHOT)
    formats.write_jsonl_gz(tmp_path / "a.jsonl.gz", PAGES[:1], SNAPSHOT)
    found = [item for name in ("a.warc.gz", "a.parquet", "a.jsonl.gz") for item in read(tmp_path / name)]
    places = {(item.source, item.url, item.date) for item in found if isinstance(item, RawDocument)}
    assert len(places) == 1
    assert [item.kind for item in found if isinstance(item, Skipped)] == ["warcinfo"]


def test_dates_lie_in_the_month_of_the_snapshot():
    dates = {formats.crawl_date("2026-02", f"https://a.example/{number}") for number in range(200)}
    assert all("2026-02-01T00:00:00Z" <= date < "2026-03-01" for date in dates)
    assert len(dates) > 190


def test_a_truncated_gzip_keeps_its_beginning(tmp_path: Path):
    path = tmp_path / "a.jsonl.gz"
    formats.write_truncated_gzip(
        path, [page(n, text=f"{n} " + "".join(map(chr, range(33, 900)))) for n in range(40)], "x"
    )
    assert reasons(path)["truncated_gzip"] == 1


def test_a_cut_line_costs_that_line_only(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    formats.write_cut_line(path, PAGES, SNAPSHOT)
    assert set(documents(path)) == set(list(WHOLE)[:-1])
    assert reasons(path) == Counter({"truncated_json": 1})


def test_invalid_bytes_cost_their_lines_only(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    formats.write_invalid_utf8(path, PAGES, SNAPSHOT)
    assert len(documents(path)) == 8
    assert reasons(path) == Counter({"invalid_utf8": 4})


def test_parquet_without_a_footer_is_one_quarantine_row(tmp_path: Path):
    path = tmp_path / "a.parquet"
    formats.write_broken_parquet(path, PAGES, SNAPSHOT)
    assert documents(path) == {}
    assert reasons(path) == Counter({"damaged_parquet": 1})
