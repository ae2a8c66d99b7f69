"""Pages that cost too much, and what becomes of their neighbours."""

import os
import signal
import threading

import pytest

from gem_assets.corpus.readers.records import Damaged
from gem_assets.corpus.text import contained
from gem_assets.corpus.text.contained import page_text
from gem_assets.corpus.text.html import html_to_text
from tests.corpus.making import documents, http, ingest, items, page, prose, quarantined, response, rows, warc_record

# more time than a page may have: options of a list, each compared with all before it
SLOW = "<select>" + "<option>" * 150_000
# elements with different attributes are opened anew in every paragraph: 400 kB become 16 million nodes
LARGE = "<p>" + "".join(f"<font a={i}>" for i in range(4000)) + "</p>" + "<p>x" * 4000


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(contained, "BASE_CPU_S", 0)


@pytest.mark.parametrize("html", ["", "<p>Short.</p>", page(prose(1)).decode(), "<p>\x00 ä 日本</p>", "<p>x" * 10_000])
def test_a_sound_page_is_as_without_the_process(html):
    assert page_text(html) == html_to_text(html)


@pytest.mark.parametrize("html", [SLOW, LARGE], ids=["time", "memory"])
def test_a_costly_page_is_refused_and_the_next_one_is_read(html):
    with pytest.raises(Damaged) as refused:
        page_text(html)
    assert refused.value.reason == "costly_page"
    assert page_text("<p>And on it goes.</p>").strip() == "And on it goes."


def test_a_costly_page_is_a_row_and_costs_no_other(tmp_path):
    records = [response(prose(1)), warc_record("response", http(SLOW.encode())), response(prose(2))]
    (tmp_path / "a.warc").write_bytes(b"".join(records))
    found = items(tmp_path / "a.warc")
    assert len(documents(found)) == 2
    assert quarantined(found) == [(len(records[0]), "costly_page")]


def test_a_costly_file_is_a_row(tmp_path):
    report, folder = ingest(tmp_path, {"a.html": SLOW.encode(), "b.html": page(prose(1))})
    assert report.kept == 1
    [row] = rows(folder, "quarantine")
    assert (row["file"], row["reason"]) == ("a.html", "costly_page")
    assert "option" not in row["detail"]


def test_a_crash_of_the_parser_is_a_refusal(monkeypatch):
    page_text("")
    process = contained._HELPERS[0]._process
    os.kill(process.pid, signal.SIGSEGV)
    process.wait()
    with pytest.raises(Damaged, match="SIGSEGV"):
        page_text("<p>x</p>")
    assert page_text("<p>x</p>").strip() == "x"


def test_pages_of_many_threads_do_not_mix():
    texts: dict[int, str] = {}

    def read(number: int) -> None:
        for _ in range(20):
            texts[number] = page_text(f"<p>{prose(number)}</p>").strip()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {number: prose(number) for number in range(4)}
