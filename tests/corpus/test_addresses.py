"""All spellings of one address meet, and no two addresses do."""

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.addresses import canonical_host, canonical_page, canonical_url, read_address

ONE_ADDRESS = [
    ["https://example.org/", "HTTP://EXAMPLE.ORG", "https://example.org:443", "http://example.org:80/", "example.org",
     "//example.org", "https:\\\\example.org\\", "https://example.org./", "https://me:pw@example.org/",
     "https:example.org",
     "https://ｅｘａｍｐｌｅ．org/", "https://ex\u00adample.org/", "https://ex%61mple.org/", "https://example。org/",
     " https://example.org/\n", "https://exam\tple.org/", "<https://example.org/>", "https://example.org/#top",
     "https://example.org/a/..", "https://example.org/?"],
    ["https://example.org/~jane/", "https://example.org/%7Ejane/", "https://example.org/%7ejane/",
     "example.org/%7e%6Aane/", "https://example.org\\~jane\\", "https://example.org/x/../~jane/./"],
    ["https://example.org/über-uns", "https://example.org/%C3%BCber-uns", "https://example.org/%c3%bcber%2duns"],
    ["https://example.org/rights", "https://example.org/ri%67hts", "https://example.org/%72%69ghts",
     "https://example.org/x/%2e%2E/rights", "https://example.org/%2E/rights"],
    ["https://example.org/a%2Fb", "https://example.org/a%2fb"],
    ["https://example.org/100%25", "https://example.org/100%"],
    ["https://example.org/a b|c", "https://example.org/a%20b%7Cc", "https://example.org/a%20b%7cc"],
    ["https://example.org/?q=~a&b=ü", "https://example.org?q=%7ea&b=%C3%BC"],
    ["https://straße.de/", "https://xn--strae-oqa.de/", "https://XN--Strae-oqa.de", "STRAßE.de"],
    ["https://faß.example/a", "https://xn--fa-hia.example/a"],
    ["https://σας.example/", "https://xn--mxa8ab.example/"],
    ["https://نامه\u200cای.example/", "https://xn--mgba3gch31f060k.example/"],
    ["https://192.0.2.7/a", "https://0xc0.0.2.7/a", "https://3221225991/a", "https://192.0.519/a", "192.0.2.7/a"],
    ["https://[2001:db8::1]/", "https://[2001:DB8:0:0::1]", "//[2001:0db8::0001]:443"],
    ["https://example.org:8080/a", "http://example.org:08080/a", "example.org:8080/a"],
]  # fmt: skip
NEIGHBOURS = [
    "https://strasse.de/", "https://fass.example/a", "https://σασ.example/", "https://نامهای.example/",
    "https://www.example.org/", "https://sub.example.org/", "https://example.org:444/", "http://example.org:443/",
    "https://example.org/Rights", "https://example.org/rights/", "https://example.org/rights?a=1&b=2",
    "https://example.org/rights?b=2&a=1", "https://example.org/rights?", "https://example.org//rights",
    "https://example.org/a/b", "https://example.org/a%252Fb", "https://example.org/100%2525", "https://example.org/%FCber-uns",
    "https://example.org/a(b)", "https://example.org/a%28b%29", "https://example.org/?q=a+b", "https://example.org/?q=a%20b",
    "https://xn--a.de/", "ftp://example.org/", "https://example.com/", "https://192.0.2.70/a",
]  # fmt: skip


@pytest.mark.parametrize("spellings", ONE_ADDRESS, ids=lambda spellings: spellings[0])
def test_spellings_of_one_address_meet(spellings):
    assert {canonical_url(one) for one in spellings} == {canonical_url(spellings[0])}


def test_different_addresses_do_not_meet():
    apart = [spellings[0] for spellings in ONE_ADDRESS] + [one for one in NEIGHBOURS if not one.endswith("?")]
    assert len({canonical_url(one) for one in apart}) == len(apart)


@pytest.mark.parametrize(
    "text", ["", "u17", "3.5", "file.txt", "a b.org/c", "s3://bucket/Key", "urn:isbn:1", "joe@example.org", "https://",
             "http://./x", "/just/a/path", "README", "localhost/x"],
)  # fmt: skip
def test_what_is_not_a_web_address_stands_for_itself(text):
    assert read_address(text) == (text, None, "")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://a\u200db.site.example/x", "a\u200db.site.example"),
        ("https://xn--a.site.example:99999/x", "xn--a.site.example"),
        ("https://Sité.example:port/x", "xn--sit-dma.example"),
    ],
)
def test_a_host_that_a_browser_refuses_is_still_read_label_by_label(text, host):
    assert read_address(text).host == host
    assert read_address(text).key == canonical_url(text.removesuffix("/x") + "/./%78")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Straße.DE.", "xn--strae-oqa.de"), ("ｅxample．org", "example.org"), ("[2001:DB8::1]", "[2001:db8::1]"),
        ("0x7f.1", "127.0.0.1"), ("a b", None), ("a/b", None), ("example.org:80", None), ("me@example.org", None),
        ("", None), (".", None),
    ],
)  # fmt: skip
def test_hosts_are_compared_in_their_ascii_form(text, host):
    assert canonical_host(text) == host


def test_a_fragment_tells_passages_apart_and_not_pages():
    one, other = "https://example.org/a#1%7e", "http://example.org/a#2"
    assert canonical_url(one) == canonical_url(other)
    assert (canonical_page(one), canonical_page(other)) == ("https://example.org/a#1~", "https://example.org/a#2")


@given(st.text(max_size=40) | st.text("htps:/\\.%aA2eE[]@?#-ü。\u200d ", max_size=40))
def test_the_form_of_a_form_is_itself(text):
    for start in ("", "https://", "//", "http://a.example/", "https://a.example/?"):
        once = canonical_url(start + text)
        assert canonical_url(once) == once


HOSTS = [
    "example.org",
    "www.example.org",
    "example.com",
    "xn--strae-oqa.de",
    "strasse.de",
    "xn--mxa8ab.gr",
    "192.0.2.7",
]
SHOWN = {"xn--strae-oqa.de": "straße.de", "xn--mxa8ab.gr": "σας.gr"}
#: Escaped reserved characters and bare ones differ, so both are in the alphabet.
ESCAPED, BARE = ["%2F", "%3F", "%28", "%25", "%26", "%FC", "%00"], ["(", ",", ";", "=", ":", "@", "+"]
LETTERS = ["a", "A", "z", "7", "-", "_", "~", "."]
SPELLED_EITHER_WAY = ["ü", "日", '"', "|", "^", "{"]
token = st.sampled_from(ESCAPED + BARE + LETTERS + SPELLED_EITHER_WAY)
segment = st.lists(token, min_size=1, max_size=4).map(tuple).filter(lambda s: set(s) != {"."})


@dataclass(frozen=True)
class Meant:
    """An address by what it means."""

    host: str
    port: int | None
    path: tuple[tuple[str, ...], ...]
    slash: bool
    query: tuple[tuple[str, ...], ...]


meant = st.builds(
    Meant,
    st.sampled_from(HOSTS),
    st.sampled_from([None, None, 8080, 81]),
    st.lists(segment, max_size=3).map(tuple),
    st.booleans(),
    st.lists(segment, max_size=2).map(tuple),
)


def escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


@st.composite
def spelling(draw: st.DrawFn, address: Meant) -> str:
    """Write an address down in one of its many ways."""

    def either(*ways: str) -> str:
        return draw(st.sampled_from(ways))

    def spelled(part: tuple[str, ...]) -> str:
        found = ""
        for one in part:
            if one in ESCAPED:
                found += either(one, one.lower())
            elif one in BARE:
                found += one
            else:
                found += either(one, escaped(one), escaped(one).lower())
        return found

    slash = either("/", "\\")
    path = "".join(slash + either("", "./", "x/../", "%2e/", "y/%2E./") + spelled(part) for part in address.path)
    path += slash if address.slash and address.path else ""
    query = "?" + "&".join(spelled(part) for part in address.query) if address.query else ""
    host = either(address.host, address.host.upper(), SHOWN.get(address.host, address.host), address.host + ".")
    if not host.endswith(".") and "192" not in host:
        host = either(
            host, host.replace(".", "。"), host.replace("e", "ｅ"), host.replace("a", "%61", 1), "\u00ad" + host
        )
    schemes = [("http:", 80), ("https:", 443), ("HTTPS:", 443), ("", 443)]
    scheme, default = draw(st.sampled_from(schemes))
    port = f":{address.port}" if address.port else either("", f":{default}", ":")
    user = either("", "me@", "me:secret@")
    whole = (
        f"{scheme}{either('//', slash * 2)}{user}{host}{port}{path or either('', '/')}{query}{either('', '#', '#end')}"
    )
    if draw(st.booleans()):
        place = draw(st.integers(0, len(whole)))
        whole = whole[:place] + either("\t", "\n", "\r\n") + whole[place:]
    return either("", " ", "\n") + whole + either("", "  ")


@given(meant.flatmap(lambda address: st.tuples(st.just(address), spelling(address), spelling(address))))
def test_all_spellings_of_any_address_meet(drawn):
    _, one, other = drawn
    assert canonical_url(one) == canonical_url(other)


@given(st.tuples(meant, meant).flatmap(lambda two: st.tuples(st.just(two), spelling(two[0]), spelling(two[1]))))
def test_no_two_addresses_meet(drawn):
    (first, second), one, other = drawn
    first, second = (m if m.path else Meant(m.host, m.port, (), True, m.query) for m in (first, second))
    assert (canonical_url(one) == canonical_url(other)) == (first == second)


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[Meant, Meant]:
    """Two addresses that differ in one thing."""
    one = draw(meant.filter(lambda m: m.path))
    part = draw(st.sampled_from(["host", "port", "path", "case", "slash", "query", "order"]))
    new = dict(one.__dict__)
    if part == "host":
        new["host"] = draw(st.sampled_from([host for host in HOSTS if host != one.host]))
    elif part == "port":
        new["port"] = 82
    elif part == "path":
        new["path"] = (*one.path, ("a",))
    elif part == "case":
        new["path"] = tuple(tuple(t.swapcase() if t.isascii() and len(t) == 1 else t for t in s) for s in one.path)
    elif part == "slash":
        new["slash"] = not one.slash
    elif part == "query":
        new["query"] = (*one.query, ("b",))
    else:
        new["query"] = one.query[::-1]
    return one, Meant(**new)


@given(neighbours().flatmap(lambda two: st.tuples(st.just(two), spelling(two[0]), spelling(two[1]))))
def test_addresses_that_differ_in_one_thing_do_not_meet(drawn):
    (first, second), one, other = drawn
    assert (canonical_url(one) == canonical_url(other)) == (first == second)


def test_a_form_is_plain_text():
    for spellings in ONE_ADDRESS:
        for one in spellings:
            assert re.fullmatch(r"[\x21-\x7e]+", canonical_url(one))
