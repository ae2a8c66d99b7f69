"""Bytes of a page to its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.text.html import DEEP, html_to_text, nesting_depth


@pytest.mark.parametrize(
    ("html", "depth"),
    [
        ("<div></b>" * 50, 50),
        ("<div></span></p></b>" * 50, 50),
        ("<div><span>x</div>" * 50, 2),
        ("<b><div></b>" * 50, 50),
        ("<div><b>x</div>" * 50, 2),
        ("<ul></ol><li>x" * 50, 50),
        ("<p>x<br>" * 50, 0),
        ("<div><b><i>x</b></i></div>" * 50, 3),
    ],
)
def test_depth_is_what_a_parser_builds(html, depth):
    assert depth <= nesting_depth(html)[0] <= depth * 2


NAMES = ("a", "b", "div", "ul", "ol", "li", "td", "h1")
TAGS = [f"<{end}{name}{more}" for end in ("", "/") for name in NAMES for more in (">", " x='1'>", "1>", "")]


@given(st.lists(st.sampled_from([*TAGS, "text"]), max_size=40))
def test_elements_that_are_closed_at_once_count_like_others(parts):
    html = "".join(parts)
    # an empty tag says nothing about depth, and keeps end tags from being the next ones
    assert nesting_depth(html) == nesting_depth(html.replace("</", "<br></"))


@pytest.mark.parametrize(
    "html",
    [
        "<div></b>" * 20_000 + "deep down",
        "<ul></ol><li>x" * 20_000 + "deep down",
        "<form><div></form>" * 20_000 + "deep down",
        "<b><div></b>" * 20_000 + "deep down",
        '<a x=">" ' + " ".join(f"a{i}" for i in range(60_000)) + ">deep down</a>",
        "<a x='>' " + " ".join(f"a{i}=1" for i in range(60_000)) + ">deep down</a>",
    ],
)
def test_pages_that_are_deep_by_any_spelling_are_cheap(html):
    assert "deep down" in html_to_text(html)


def test_quotes_that_are_no_quotes_take_no_text_away():
    html = '<p title="it""><a b"c href=x>one</a> ' + "word " * 3000 + '<a href="y">two</a></p>'
    text = html_to_text(html)
    assert text.split()[0] == "one"
    assert text.split()[-1] == "two"
    assert text.count("word") == 3000


def test_depth_stands_for_layout_only():
    assert "one\n" in html_to_text("<div>" * (DEEP - 1) + "<p>one</p><p>two</p>")
