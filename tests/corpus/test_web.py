import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.web import clean_url, iso_date, web_page
from tests.corpus.making import page, prose


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02", "2026-01-02"),
        (" 2026-01-02 03:04 ", "2026-01-02 03:04"),
        ("2026-01", "2026-01"),
        ("2026", "2026"),
        ("20260102030405", "2026-01-02T03:04:05Z"),
        ("20260102", "2026-01-02T00:00:00Z"),
        ("Fri, 02 Jan 2026 03:04:05 GMT", "2026-01-02T03:04:05+00:00"),
        ("20261302", None),
        ("2026-13", None),
        ("last Tuesday", None),
        ("", None),
        (None, None),
    ],
)
def test_dates(value, date):
    assert iso_date(value) == date


@given(st.text(max_size=40))
def test_no_text_breaks_a_date(value):
    assert iso_date(value) is None or value.strip()


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("<https://x.org/a>", "https://x.org/a"),
        (" https://x.org/a b\n", "https://x.org/a%20b"),
        ("https://x.org/\x00\ta", "https://x.org/a"),
        ("", None),
        ("<>", None),
        (None, None),
    ],
)
def test_addresses(url, clean):
    assert clean_url(url) == clean


@pytest.mark.parametrize(
    ("media_type", "body", "is_document"),
    [
        ("text/html", page(prose(1)), True),
        ("application/xhtml+xml", page(prose(1)), True),
        ("text/plain", prose(1).encode(), True),
        ("", page(prose(1)), True),
        ("", b"  <HTML><p>x", True),
        ("", b"\x89PNG", False),
        ("application/json", b"{}", False),
        ("image/png", page(prose(1)), False),
    ],
)
def test_media_types(media_type, body, is_document):
    assert (web_page(media_type, None, body).text is not None) == is_document
