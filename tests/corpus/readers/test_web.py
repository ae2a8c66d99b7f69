import pytest

from gem_assets.corpus.readers.web import clean_url, web_page
from tests.corpus.making import page, prose


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
