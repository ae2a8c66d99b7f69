"""The real crawl files, sound and damaged."""

import pytest

from gem_assets.corpus.schema import QUARANTINE_REASONS
from tests.corpus.making import documents, items, quarantined, skipped

# file below crawl/messy: documents that can be read, reasons in quarantine, records without a document
MESSY = {
    "fastwarc-clipped.warc.gz": (0, ["truncated_record"], 0),
    "fastwarc-block-sized-records.warc": (0, ["unknown_record_type"] * 3, 0),
    "warcio-example-bad.warc.gz": (1, [], 5),
    "warcio-example-bad-non-chunked.warc.gz": (1, [], 5),
    "warcio-example-trunc.warc": (1, ["damaged_warc"], 4),
    "warcio-example-digest.warc": (0, [], 4),
    "warcio-example-wrong-chunks.warc.gz": (1, [], 2),
    "warcio-space-in-target-uri.warc.gz": (0, [], 2),
    "warcio-bad.arc": (1, ["damaged_arc"] * 3, 0),
    "iipc-multiple-headers.warc": (1, [], 0),
}

SOUND = {
    "whirlwind.warc.gz": (1, 3),
    "whirlwind.warc.wet.gz": (1, 1),
    "whirlwind.warc.wat.gz": (0, 2),
    "dolma-sample-0000.warc.gz": (22, 26),
    "aut-IAH-blackbook.warc.gz": (97, 725),
    "fastwarc-warcfile.warc.gz": (16, 34),
    "warcio-example.warc.gz": (1, 5),
    "nodewarc-parseMe.warc.gz": (1, 29),
    "iipc-IAH-urls-wget.warc.gz": (2, 34),
    "cc-text-extraction-test.warc": (1, 3),
    "cc-html-lang-attribute.warc": (5, 0),
}


@pytest.mark.parametrize("name", MESSY)
def test_damaged_files_give_rows(shared_corpora, name):
    found = items(shared_corpora / "crawl" / "messy" / name)
    reasons = [reason for _, reason in quarantined(found)]
    assert (len(documents(found)), reasons, len(skipped(found))) == MESSY[name]
    assert set(reasons) <= set(QUARANTINE_REASONS)


def test_every_damaged_file_is_covered(shared_corpora):
    assert {path.name for path in (shared_corpora / "crawl" / "messy").iterdir()} == set(MESSY)


@pytest.mark.parametrize("name", SOUND)
def test_sound_files(shared_corpora, name):
    found = items(shared_corpora / "crawl" / name)
    assert (len(documents(found)), len(skipped(found))) == SOUND[name]
    assert quarantined(found) == []


def test_text_of_real_pages(shared_corpora):
    by_url = {d.url: d for d in documents(items(shared_corpora / "crawl" / "dolma-sample-0000.warc.gz"))}
    text = by_url["https://soldaini.net/lineage/"].text
    assert "Luca Soldaini" in text
    assert "<" not in text
    [escopete] = documents(items(shared_corpora / "crawl" / "whirlwind.warc.gz"))
    [wet] = documents(items(shared_corpora / "crawl" / "whirlwind.warc.wet.gz"))
    assert escopete.url == wet.url
    # our main content is a part of what Common Crawl extracted
    ours = set(escopete.text.split())
    assert len(ours & set(wet.text.split())) / len(ours) > 0.9
    assert len(escopete.text) < len(wet.text)
