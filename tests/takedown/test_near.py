import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.takedown.blocklist import Matcher, parse_entry
from gem_assets.takedown.near import MOST_NEAR, NearMisses
from tests.corpus.test_addresses import neighbours, spelling


def near(entry: str, *places: tuple[str | None, str | None], found: bool = False):
    asked = parse_entry(entry)
    misses = NearMisses([asked], [asked.id] if found else [])
    for number, (url, source) in enumerate(places):
        misses.see(f"{number:032x}", f"{number + 99:032x}", url, source)
    return [(one.what, one.differs, one.documents) for one in misses.of(asked)]


@pytest.mark.parametrize(
    ("entry", "url", "differs"),
    [
        ("https://a.example/m", "https://a.example/m/", "trailing slash"),
        ("https://a.example/m", "https://www.a.example/m", "www."),
        ("https://www.a.example/m", "https://a.example/M/", "www., trailing slash, case"),
        ("https://a.example/m", "https://b.a.example/m", "subdomain"),
        ("http://a.example:443/m", "https://a.example/m", "scheme, port"),
        ("ftp://a.example/m", "https://a.example/m", "scheme"),
        ("https://a.example:8080/m", "https://a.example/m", "port"),
        ("https://a.example/m_(x)", "https://a.example/m_%28x%29", "percent escapes"),
        ("https://a.example/%C3%BCber", "https://a.example/%FCber", "percent escapes"),
        ("https://a.example/m?a=1&b=2", "https://a.example/m?b=2&a=1", "order of the query"),
        ("https://a.example/m?a=1", "https://a.example/m", "query"),
        ("https://a.example/", "https://a.example/index.html", "name of the index page"),
        ("https://a.example/m", "https://a.example/m//", "trailing slash"),
        ("https://a.example/m/", "https://a.example/m//", "spelling"),
        ("https://strasse.de/m", "https://straße.de/m", "spelling of the host"),
        ("https://نامهای.example/m", "https://نامه\u200cای.example/m", "spelling of the host"),
    ],
)
def test_an_address_that_may_have_been_meant_is_named_with_what_differs(entry, url, differs):
    ((what, why, count),) = near(entry, (url, None), (url, None))
    assert (why, count) == (differs, 2)
    # asking for what was named hits the page
    assert parse_entry(what).value == parse_entry(url).value
    # also where the request found a page of its own
    assert near(entry, (url, None), found=True) == [(what, differs, 1)]


def test_other_pages_are_named_only_where_nothing_was_found():
    places = [("https://a.example/m/one", None), ("https://a.example/m/two", None), ("https://a.example/n", None)]
    assert near("https://a.example/m", *places) == [("prefix:https://a.example/m", "it is below that address", 2)]
    assert near("https://a.example/x", *places) == [("domain:a.example", "another page of the site", 3)]
    assert near("https://a.example/m", *places, found=True) == []


def test_hosts_beside_a_domain_that_has_nothing_are_named():
    places = [
        ("https://a.example/", None),
        ("https://blog.a.example/1", None),
        (None, "a.example"),
        ("//b.example", None),
    ]
    assert near("www.a.example", *places) == [
        ("domain:blog.a.example", "subdomain", 1), ("domain:a.example", "www.", 2),
    ]  # fmt: skip
    assert near("www.a.example", *places, found=True) == []


def test_names_and_digests_that_may_have_been_meant():
    assert near("source:common-pile", (None, "Common Pile")) == [("source:Common Pile", "spelling", 1)]
    assert near("source:pile", (None, "Common Pile")) == [("source:Common Pile", "a part of the name", 1)]
    assert near("source:a.example", ("https://a.example/x", "b")) == [
        ("domain:a.example", "it is the host of addresses", 1)
    ]
    assert near(f"doc_id:{99:032x}", (None, None)) == [(f"content:{99:032x}", "the kind of digest", 1)]
    assert near(f"content:{0:032x}", (None, None)) == [(f"doc_id:{0:032x}", "the kind of digest", 1)]


def test_the_list_is_short_and_safe_to_print():
    many = [(f"https://h{number}.a.example/m", None) for number in range(40)]
    assert len(near("https://a.example/m", *many)) == MOST_NEAR
    ((what, _, _),) = near("source:evil name", (None, "evil\x1b\u202e name"))
    assert what.isprintable()


@given(neighbours().flatmap(lambda two: st.tuples(spelling(two[0]), spelling(two[1]))))
def test_what_is_named_is_never_what_the_entry_covers(drawn):
    asked, seen = drawn
    entry = parse_entry(f"url:{asked.strip()}")
    covered = bool(Matcher([entry]).named(pa_row(seen)))
    names = near(f"url:{asked.strip()}", (seen, None), found=covered)
    assert not (covered and names)
    for what, differs, _ in names:
        assert differs
        assert parse_entry(what) != entry


def pa_row(url: str):
    return pa.RecordBatch.from_pydict({"url": [url]})
