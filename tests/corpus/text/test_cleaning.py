import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.text.cleaning import clean_text, content_digest, document_id, file_source, host_source

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("a  \t\nb   ", "a\nb"),
        ("\n\n  indented\n\n\n\n\n\nfar", "  indented\n\n\nfar"),
        ("zero\u200bwidth\ufeff and so\u00adft", "zerowidth and soft"),
        ("nul\x00 bell\x07 del\x7f", "nul bell del"),
        ("e\u0301", "\u00e9"),
        ("e\u200b\u0301", "\u00e9"),
        ("page\x0cbreak\u2028line", "page\nbreak\nline"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("I\x92ll say \x93Don\x92t\x94 \x96 once\x85", "I\u2019ll say \u201cDon\u2019t\u201d \u2013 once\u2026"),
        ("\x80 5, \x8athe\x81\x8d\x8f\x90\x9d end", "\u20ac 5, \u0160the end"),
        ("Wait\x85 what", "Wait\u2026 what"),
        ("one\x85two\x85three", "one\ntwo\nthree"),
        ("one\ntwo\x85 three\x85", "one\ntwo\u2026 three\u2026"),
        ("It\xe2\x80\x99s \xe2\x80\x9cthere\xe2\x80\x9d", "It\u2019s \u201cthere\u201d"),
        ("d\xe9j\xe0 vu\x92s", "d\xe9j\xe0 vu\u2019s"),
        ("", ""),
        (" \n\t\n ", ""),
    ],
)
def test_cleaning_rules(dirty, clean):
    assert clean_text(dirty) == clean


@given(TEXTS)
def test_cleaning_twice_changes_nothing(text):
    once = clean_text(text)
    assert clean_text(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert "\r" not in once
    assert "\n\n\n\n" not in once


def test_lone_surrogates_are_refused():
    with pytest.raises(UnicodeEncodeError):
        clean_text("half a pair \ud83d here")


def test_blank_runs_are_linear():
    # a pattern that backtracks would need hours for this
    assert clean_text(" " * 2_000_000 + "x\t\ny") == " " * 2_000_000 + "x\ny"


MARKS = "\u0301\u0327\u0316\u0344\u0f73\u05b0\u0345\u0340"


@given(st.text("e\u00e9\u1ea1 \ud55c" + MARKS, max_size=120), st.text(MARKS, min_size=31, max_size=90))
def test_long_runs_of_marks_are_normalised_like_short_ones(text, run):
    dirty = f"e{run}{text}"
    assert clean_text(dirty) == unicodedata.normalize("NFC", dirty).rstrip()


def test_runs_of_marks_are_linear():
    # left to the normalisation, a run of this length would take an hour
    text = "a" + "\u0301\u0327" * 500_000
    assert len(clean_text(text)) > 900_000


@given(TEXTS)
def test_digest_ignores_case_and_blanks(text):
    digest = content_digest(clean_text(text))
    assert len(digest) == 32
    assert int(digest, 16) >= 0
    spaced = "  ".join(text.split(" ")) + "\n"
    assert content_digest(clean_text(spaced)) == content_digest(clean_text(text))


def test_digest_sees_words():
    assert content_digest("One Two\n three") == content_digest("one two three")
    assert content_digest("one two three") != content_digest("one twothree")


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS.map(clean_text)), unique=True, max_size=20))
def test_ids_name_source_place_and_content(places):
    ids = {place: document_id(*place) for place in places}
    again = {place: document_id(*place) for place in reversed(places)}
    assert ids == again
    by_meaning = {(source, place, content_digest(text)) for source, place, text in places}
    assert len(set(ids.values())) == len(by_meaning)


def test_ids_keep_their_parts_apart():
    assert document_id("ab", "c", "text") != document_id("a", "bc", "text")
    assert document_id("a", "b", "text") != document_id("b", "a", "text")


def test_ids_are_fixed():
    # a change of this value makes every stored id foreign
    assert document_id("example.org", "https://example.org/a", "Some text.") == "f26b57ba8854efe2e5f81136bdf2fde5"


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://www.example.org/a?b", "example.org"),
        ("http://news.bbc.co.uk/1", "bbc.co.uk"),
        ("http://a.b.c.example.com:8080/", "example.com"),
        ("http://192.168.0.1/x", "192.168.0.1"),
        ("http://[2001:db8::1]/x", "2001:db8::1"),
        ("HTTPS://EXAMPLE.ORG", "example.org"),
        ("ftp://example.org/x", None),
        ("pages/common/tar.md", None),
        ("http://[broken/x", None),
        ("http:///x", None),
        (None, None),
    ],
)
def test_source_of_an_address(url, source):
    assert host_source(url) == source


@pytest.mark.parametrize(
    ("relative", "source"),
    [("wiki/en/part-0.jsonl.gz", "wiki"), ("crawl.warc.gz", "crawl"), ("notes.md", "notes"), (".gz", ".gz")],
)
def test_source_of_a_file(relative, source):
    assert file_source(relative) == source
