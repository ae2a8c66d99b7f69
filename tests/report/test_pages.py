import re
from html.parser import HTMLParser

import numpy as np
import pytest
from jinja2 import UndefinedError

from gem_assets.printable import printable
from gem_assets.report.pages import Cell, numeric_columns, render
from gem_assets.report.plots import cluster_shares
from gem_assets.taxonomy.page import taxonomy_page
from gem_assets.taxonomy.taxonomy import Exemplar, Portion, Taxonomy
from tests.taxonomy.test_taxonomy import build

EVIL = "<script>alert('x')</script>\"'&--><img src=x onerror=alert(1)>\u202egnp.exe\x1b[31m\x9b"
SHOWN = printable(EVIL)


class Reader(HTMLParser):
    """Collects what a browser would act on."""

    def __init__(self, text):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def hostile_taxonomy() -> Taxonomy:
    taxonomy = build()
    cluster = taxonomy.clusters[0].model_copy(
        update={
            "name": EVIL,
            "description": EVIL,
            "keywords": (EVIL,),
            "sources": (Portion(value=EVIL, share=1.0),),
            "exemplars": (
                Exemplar(doc_id="x", url="javascript:alert(1)", source=EVIL, gis=1.0, snippet=EVIL),
                Exemplar(doc_id="y", url='https://x/"onmouseover="alert(1)', source="s", gis=1.0, snippet="t"),
            ),
        }
    )
    return taxonomy.model_copy(update={"version": EVIL, "clusters": (cluster, *taxonomy.clusters[1:])})


def check_is_inert(text: str) -> Reader:
    reader = Reader(text)
    assert reader.open == []
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert not {"script", "iframe", "object", "link", "base", "form"} & set(reader.tags)
    for tag, name, value in reader.attributes:
        assert not name.startswith("on")
        if name in ("src", "href"):
            assert value is not None
            allowed = ("data:image/png;base64,",) if tag == "img" else ("#", "http://", "https://")
            assert value.startswith(allowed)
    return reader


def test_taxonomy_page_shows_every_cluster_and_loads_nothing():
    picture = cluster_shares(np.array([1.0]), np.array([1.0]))
    reader = check_is_inert(taxonomy_page(build(), picture))
    for cluster in build().clusters:
        assert cluster.name in reader.text
    assert reader.tags.count("section") == 4
    assert reader.tags.count("img") == 1
    assert "v1" in reader.text


def test_everything_from_data_is_escaped():
    text = taxonomy_page(hostile_taxonomy())
    reader = check_is_inert(text)
    assert SHOWN in reader.text
    assert "<script" not in text
    assert reader.tags.count("img") == 0


def test_page_title_and_footer_are_escaped():
    reader = check_is_inert(render("form.html", EVIL, EVIL, article=""))
    assert reader.text.count(SHOWN) == 2


def test_a_template_escapes_every_value():
    text = render("listing.html", EVIL, EVIL, pages=[(EVIL, 'https://x/"onmouseover="alert(1)', EVIL, EVIL)])
    assert check_is_inert(text).text.count(SHOWN) == 5


def test_a_template_refuses_a_value_that_is_missing():
    with pytest.raises(UndefinedError, match="pages"):
        render("listing.html", "Pages")


def test_clusters_stand_under_their_parents():
    taxonomy = build()
    text = taxonomy_page(taxonomy)
    reader = check_is_inert(text)
    assert taxonomy.hierarchy is not None
    for parent in taxonomy.hierarchy.parents:
        section = text[text.index(f'id="parent-{parent.id}"') :].split("<h2")[0]
        for cluster in taxonomy.clusters:
            assert (f'id="cluster-{cluster.id}"' in section) == (cluster.id in parent.clusters)
    assert all(parent.name in reader.text for parent in taxonomy.hierarchy.parents)
    flat = taxonomy_page(taxonomy.model_copy(update={"hierarchy": None}))
    assert "parent-" not in flat
    assert all(f'id="cluster-{c.id}"' in flat for c in taxonomy.clusters)


@pytest.mark.parametrize(
    ("cells", "right"),
    [
        (["1,204", "", "3"], True),
        (["12.1 %", "< 0.01 %"], True),
        (["+2.10%", "-0.3"], True),
        ([Cell("3.1M", more=["0.1 … 0.2"]), Cell("", note="none")], True),
        (["2 / 3", "0 / 3"], True),
        (["bimix", "7"], False),
        (["4f2a90c1", "123e"], False),
        (["2026-01", "2026-02"], False),
        (["", ""], False),
    ],
)
def test_numbers_stand_to_the_right_and_texts_to_the_left(cells, right):
    assert numeric_columns([["name", cell] for cell in cells]) == ({1} if right else set())
