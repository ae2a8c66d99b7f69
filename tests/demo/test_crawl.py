from collections import Counter

import pytest

from gem_assets.demo.crawl import SNAPSHOTS, Crawl, edited, three_crawls
from gem_assets.demo.passages import Passage


def passages(count: int) -> list[Passage]:
    text = "\n".join(f"line {{0}} {number}" for number in range(24))
    return [
        Passage(f"https://guides.example/{number}", text.replace("{0}", str(number)), "guides", None, None)
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def crawls() -> tuple[Crawl, Crawl, Crawl]:
    return three_crawls(passages(2000), seed=0)


def addresses(crawl: Crawl) -> set[str]:
    return {page.passage.url for page in crawl.pages}


def test_an_address_is_seen_once_a_crawl(crawls: tuple[Crawl, Crawl, Crawl]):
    assert [crawl.snapshot for crawl in crawls] == list(SNAPSHOTS)
    for crawl in crawls:
        assert len(addresses(crawl)) == len(crawl.pages)


def test_every_passage_is_new_exactly_once(crawls: tuple[Crawl, Crawl, Crawl]):
    new = Counter(page.passage.url for crawl in crawls for page in crawl.pages if page.status == "new")
    assert new == Counter(passage.url for passage in passages(2000))


@pytest.mark.parametrize("index", [1, 2])
def test_a_status_says_what_happened_since_the_crawl_before(crawls: tuple[Crawl, Crawl, Crawl], index: int):
    before = {page.passage.url: page.passage.text for page in crawls[index - 1].pages}
    for page in crawls[index].pages:
        url, text = page.passage.url, page.passage.text
        if page.status == "new":
            assert url not in before
        else:
            assert (before[url] == text) == (page.status == "recrawled")
    assert set(crawls[index].gone) == set(before) - addresses(crawls[index])


def test_each_status_is_well_represented(crawls: tuple[Crawl, Crawl, Crawl]):
    first, second, third = crawls
    assert first.count("new") == len(first.pages)
    assert len(second.pages) > len(third.pages)
    for crawl in (second, third):
        assert min(crawl.count("new"), crawl.count("recrawled"), crawl.count("edited"), len(crawl.gone)) > 40
        assert crawl.count("recrawled") > crawl.count("edited")


def test_an_edit_keeps_the_address_and_most_of_the_text():
    one, other = passages(2)
    changed = edited(one, other)
    before, after = set(one.text.splitlines()), set(changed.text.splitlines())
    assert changed.url == one.url
    assert len(before - after) == 4
    assert after - before <= set(other.text.splitlines())
    assert 0 < len(after - before) <= 4


def test_a_one_line_text_changes_when_edited():
    one, other = (Passage(f"https://a.example/{n}", f"line {n}", "guides", None, None) for n in range(2))
    assert edited(one, other).text != one.text


def test_seed_and_order_of_the_passages(crawls: tuple[Crawl, Crawl, Crawl]):
    assert three_crawls(passages(2000), seed=0) == crawls
    assert [page.passage.url for page in three_crawls(passages(2000), seed=1)[0].pages] != [
        page.passage.url for page in crawls[0].pages
    ]
