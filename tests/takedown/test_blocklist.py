import json
import random
import re
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.corpus.addresses import read_address
from gem_assets.corpus.readers.web import clean_url
from gem_assets.takedown.blocklist import (
    BlockEntry,
    Blocklist,
    BlocklistError,
    BlockRequest,
    Matcher,
    entries_version,
    parse_entry,
)
from gem_assets.takedown.entries import read_entries

DIGESTS = ["0" * 31 + str(n) for n in range(6)]


def batch(*urls: str | None) -> pa.RecordBatch:
    n = len(urls)
    return pa.RecordBatch.from_pydict(
        {
            "doc_id": pa.array(DIGESTS[:n], pa.string()),
            "url": pa.array(urls, pa.string()),
            "content_digest": pa.array([digest[::-1] for digest in DIGESTS[:n]], pa.string()),
        }
    )


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("https://Example.org/a?b=1#c", "url", "https://example.org/a?b=1"),
        ("example.org/a", "url", "https://example.org/a"),
        ("//example.org", "url", "https://example.org/"),
        ("https:\\\\example.org\\a\tb", "url", "https://example.org/ab"),
        ("https://ｅxample.org/ri%67hts", "url", "https://example.org/rights"),
        ("prefix:example.org/a", "prefix", "https://example.org/a"),
        ("source:Common Pile", "source", "common pile"),
        ("Straße.de", "domain", "xn--strae-oqa.de"),
        ("ｅxample．org", "domain", "example.org"),
        ("192.0.2.7", "domain", "192.0.2.7"),
        ("[2001:DB8::1]", "domain", "[2001:db8::1]"),
        ("http://example.org:80", "url", "https://example.org/"),
        ("url:u17", "url", "u17"),
        ("example.org", "domain", "example.org"),
        ("*.Example.org.", "domain", "example.org"),
        ("domain:müller.example", "domain", "xn--mller-kva.example"),
        ("doc_id:" + "A" * 32, "doc_id", "a" * 32),
        ("content: " + "b" * 32, "content", "b" * 32),
    ],
)
def test_what_a_line_means(text, kind, value):
    assert parse_entry(text) == BlockEntry(kind=kind, value=value)


@pytest.mark.parametrize("text", ["", "a b", "url:", "doc_id:12", "c" * 32, "example", "../../etc", "' OR 1=1 --",
                                  "co.uk", "*.com.au", "url:a\x1bb", "source:", "source:a\x00", "prefix:u17",
                                  "domain:a/b", "https://a.example/x y", "a.example/x/*",
                                  "example.org:80", "me@example.org"])  # fmt: skip
def test_what_is_nothing_is_refused_with_the_ways_to_say_it(text):
    with pytest.raises(BlocklistError):
        parse_entry(text)


LISTED = "# asked for in May\n\n  deep.example  # all of it\nhome.example/a#top\n\t\nsource:Daily Paper #7\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_list_is_read_from_a_text_file_of_any_system(tmp_path, encoding, line_end):
    text = LISTED.replace("\n", line_end)
    marked = encoding.endswith("-bom")
    (tmp_path / "list").write_bytes(("\ufeff" * marked + text).encode(encoding.removesuffix("-bom")))
    found = [str(entry) for entry in read_entries(tmp_path / "list")]
    assert found == ["domain:deep.example", "url:https://home.example/a", "source:daily paper"]


def test_a_list_of_nothing_but_comments_asks_for_nothing(tmp_path):
    (tmp_path / "list").write_text("# nothing yet\n\n   # still nothing\n", encoding="utf-8")
    assert read_entries(tmp_path / "list") == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"deep.example\n\nco.uk\n", "list, line 3: co.uk is a public suffix"),
        (b"a.example/x,b.example/y z\n", "list, line 1: "),
        (b"deep.example\r\n\xff\xfe\n", "list is not UTF-8 text"),
        (b"\xff\xfed", "list is not UTF-8 text"),
        ("source:a\u2028b".encode(), "list, line 1: source:"),
    ],
)
def test_a_list_that_cannot_be_read_names_file_and_line(tmp_path, data, said):
    (tmp_path / "list").write_bytes(data)
    with pytest.raises(BlocklistError, match=re.escape(said)):
        read_entries(tmp_path / "list")


@pytest.mark.parametrize(
    ("entry", "hit"),
    [
        ("https://a.example/x", [True, True, False, False, False]),
        ("a.example", [True, True, True, False, False]),
        ("example.net", [False, False, False, False, False]),
        ("ample.org", [False, False, False, False, False]),
        (f"doc_id:{DIGESTS[4]}", [False, False, False, False, True]),
        (f"content:{DIGESTS[2][::-1]}", [False, False, True, False, False]),
    ],
)
def test_which_rows_an_entry_concerns(entry, hit):
    matcher = Matcher([parse_entry(entry)])
    rows = batch(
        "https://a.example/x", "HTTP://A.example:80/x#top", "https://www.a.example/y", "https://example.org", None
    )
    assert matcher(rows).tolist() == hit
    assert matcher.hits == ({parse_entry(entry).id} if any(hit) else set())


def test_many_hosts_are_compared_without_a_scan_for_each():
    entries = [parse_entry(f"site{n}.example") for n in range(200)]
    matcher = Matcher(entries)
    assert matcher(batch("https://x.site7.example/", "https://site200.example/", None)).tolist() == [True, False, False]
    assert matcher.hits == {entries[7].id}


def request(number: int) -> BlockRequest:
    return BlockRequest(
        id=f"{number:012x}",
        at="2026-11-25T00:00:00Z",
        entries=(BlockEntry(kind="domain", value=f"d{number}.example"),),
        copies=(DIGESTS[number],),
        documents=(DIGESTS[number],),
    )


def test_requests_come_back_in_order_with_their_copies(tmp_path):
    known = Blocklist(tmp_path / "root")
    assert known.requests() == []
    known.append(request(1))
    known.append(request(2))
    assert known.requests() == [request(1), request(2)]
    assert {str(entry) for entry in known.entries()} == {
        "domain:d1.example", "domain:d2.example", f"content:{DIGESTS[1]}", f"content:{DIGESTS[2]}",
    }  # fmt: skip
    assert known.documents() == {DIGESTS[1], DIGESTS[2]}


def test_a_line_that_a_killed_writer_left_unfinished_does_not_count_and_is_replaced(tmp_path):
    known = Blocklist(tmp_path)
    known.append(request(1))
    whole, head = known.path.read_bytes(), known._file.head_path.read_bytes()
    known.append(request(2))
    data = known.path.read_bytes()
    for kept in range(len(whole), len(data), 40):
        known.path.write_bytes(data[:kept])
        known._file.head_path.write_bytes(head)
        assert known.requests() == [request(1)]
        known.append(request(2))
        assert known.requests() == [request(1), request(2)]
    # killed between the line and its head record: the line is on the disk and counts
    known._file.head_path.write_bytes(head)
    assert known.requests() == [request(1), request(2)]
    known.append(request(3))
    assert known.requests() == [request(1), request(2), request(3)]


def test_a_damaged_line_stops_everything_rather_than_letting_documents_back_in(tmp_path):
    known = Blocklist(tmp_path)
    known.append(request(1))
    known.append(request(2))
    data = known.path.read_bytes()
    known.path.write_bytes(b"\0" * 20 + data[20:])
    with pytest.raises(BlocklistError, match="line 1 is damaged"):
        known.requests()


def test_the_version_of_entries_does_not_depend_on_their_order():
    assert entries_version(["b", "a"]) == entries_version(["a", "b"]) != entries_version(["a"])


def place(url: str | None, source: str | None = None) -> pa.RecordBatch:
    columns = {"doc_id": DIGESTS[:1], "url": pa.array([url], pa.string()), "source": pa.array([source], pa.string())}
    return pa.RecordBatch.from_pydict(columns)


@pytest.mark.parametrize(
    ("entry", "url", "source", "hit"),
    [
        ("https://a.example/x", None, "https://A.example/%78", True),
        ("https://a.example/x", "u17", "a.example/x", True),
        # the address of a row is its URL, as long as it is one
        ("https://a.example/x", "https://b.example/y", "https://a.example/x", False),
        ("a.example", "https://b.example/y", "https://www.a.example/x", True),
        ("a.example", None, "a.example", True),
        # as a source a host means a site, and not its home page
        ("https://a.example/", None, "a.example", False),
        ("https://a.example/", None, "https://a.example/", True),
        ("source:Pile of Books", "https://a.example/", "pile of BOOKS", True),
        ("source:pile", "https://a.example/", "pile of books", False),
        ("source:a.example", "https://a.example/", "b", False),
        ("prefix:https://a.example/~jan", "https://a.example/~jan/x?y", None, True),
        ("prefix:https://a.example/~jan", "https://a.example/~jan?y", None, True),
        ("prefix:https://a.example/~jan", "https://a.example/%7Ejan", None, True),
        ("prefix:https://a.example/~jan", "https://a.example/~jane/x", None, False),
        ("prefix:https://a.example/~jan/", "https://a.example/~jan", None, False),
        ("prefix:https://a.example/?user=7", "https://a.example/?user=7&page=2", None, True),
        ("prefix:https://a.example/?user=7", "https://a.example/?user=77", None, False),
        ("prefix:https://a.example", "https://a.example/deep/er", None, True),
        ("prefix:https://a.example", "https://www.a.example/", None, False),
        ("straße.de", "https://strasse.de/", "strasse.de", False),
        ("straße.de", "//www.STRAßE.de", None, True),
        ("192.0.2.7", "https://0xc0.0.2.7/", None, True),
        ("192.0.2.7", "https://1.192.0.2.7.example/", None, False),
        ("a.example", "https://x\u200dy.a.example/", None, True),
        ("a.example", "https://a.example@b.example/", None, False),
        ("a.example", "https://b.example/?https://a.example/", None, False),
        ("a.example", "https:\\\\a.example\\x", None, True),
        ("a.example", "https://a.example:99999/", None, True),
    ],
)
def test_which_places_an_entry_names(entry, url, source, hit):
    entries = [parse_entry(entry)]
    assert Matcher(entries)(place(url, source)).tolist() == [hit]
    # and however many others are asked for with it
    crowd = [parse_entry(f"site{n}.example") for n in range(100)]
    assert Matcher([*entries, *crowd])(place(url, source)).tolist() == [hit]


def test_an_entry_of_an_older_list_is_compared_in_the_form_of_today():
    old = BlockEntry(kind="url", value="https://example.org/%7ejane/")
    assert Matcher([old])(place("https://example.org/~jane/")).tolist() == [True]
    assert Matcher([BlockEntry(kind="domain", value="example.org")])(place("example.org/a")).tolist() == [True]


HOSTS = [
    "a.example",
    "www.a.example",
    "A.example.",
    "ａ.example",
    "b.example",
    "xn--strae-oqa.de",
    "straße.de",
    "192.0.2.7",
]
addresses = st.builds(
    lambda scheme, host, rest: f"{scheme}{host}{rest}",
    st.sampled_from(["https://", "HTTP://", "//", "", "https:\\\\", "https://me@", "ftp://"]),
    st.sampled_from(HOSTS),
    st.sampled_from(["", "/", "/x", "/%78", ":80/x", ":8080", "/x?y", "\\x", "/x#y", "?y", ".", "\t/x"]),
)


@given(
    st.lists(addresses, min_size=1, max_size=12),
    st.lists(addresses.map("url:{}".format) | st.sampled_from(HOSTS), min_size=1, max_size=9),
)
def test_rows_are_found_as_if_each_were_compared_with_each_entry(urls, asked):
    entries = [parse_entry(one) for one in asked]
    pages = {one.value for one in entries if one.kind == "url"}
    domains = {one.value for one in entries if one.kind == "domain"}
    expected = []
    for url in urls:
        key, host, _ = read_address(url)
        expected.append(key in pages or any(host == one or f".{host}".endswith(f".{one}") for one in domains))
    assert Matcher(entries)(pa.RecordBatch.from_pydict({"url": urls})).tolist() == expected


def lines_of(root, count):
    known = Blocklist(root)
    for number in range(1, count + 1):
        known.append(request(number))
    return known, known.path.read_bytes()


def unchained(line: bytes) -> bytes:
    return json.dumps({key: value for key, value in json.loads(line).items() if key != "previous"}).encode() + b"\n"


def damaged_lists(data: bytes) -> dict[str, bytes | None]:
    lines = data.splitlines(keepends=True)
    return {
        "missing": None,
        "emptied": b"",
        "shortened at its end": b"".join(lines[:-1]),
        "shortened at its start": b"".join(lines[1:]),
        "shortened in the middle": lines[0] + lines[2],
        "torn": data[:-20],
        "torn by one byte": data[:-1],
        "reordered": lines[1] + lines[0] + lines[2],
        "repeated": data + lines[2],
        "edited": data.replace(b"d2.example", b"d9.example"),
        "line ends of another system": data.replace(b"\n", b"\r\n"),
        "blank line": data + b"\n",
        "not text": lines[0] + b"\xff\xfe\x00\n" + lines[2],
        "deep": lines[0] + b"[" * 100_000 + b"\n" + lines[2],
        "without its chain": b"".join(unchained(line) for line in lines),
    }  # fmt: skip


@pytest.mark.parametrize("damage", damaged_lists(b"{}\n{}\n{}\n"))
def test_a_list_that_is_not_what_was_written_is_refused(tmp_path, damage):
    known, data = lines_of(tmp_path, 3)
    changed = damaged_lists(data)[damage]
    known.path.unlink() if changed is None else known.path.write_bytes(changed)
    for use in (known.requests, known.entries, known.head, lambda: known.append(request(4))):
        with pytest.raises(BlocklistError, match=r"blocklist\.jsonl: .* from a backup"):
            use()
    assert (known.path.read_bytes() if known.path.exists() else None) == changed
    known.path.write_bytes(data)
    assert len(known.requests()) == 3


@pytest.mark.parametrize(
    "content", [None, b"", b"{}", b"[]", b'{"lines": 3}', b'{"lines": 3, "digest": "' + b"0" * 64 + b'"}']
)
def test_a_list_without_its_head_record_is_refused(tmp_path, content):
    known, _ = lines_of(tmp_path, 3)
    head = tmp_path / "blocklist.head.json"
    head.unlink() if content is None else head.write_bytes(content)
    with pytest.raises(BlocklistError, match="head record"):
        known.requests()


@given(seed=st.integers(0, 2**32))
def test_no_edit_of_any_byte_goes_unnoticed(tmp_path_factory, seed):
    known, data = lines_of(tmp_path_factory.mktemp("edits"), 3)
    draw = random.Random(seed)
    place = draw.randrange(len(data))
    changed = bytearray(data)
    changed[place] ^= draw.randrange(1, 256)
    known.path.write_bytes(bytes(changed))
    with pytest.raises(BlocklistError):
        known.requests()


def test_a_list_from_before_the_chain_is_adopted_once_and_that_is_recorded(tmp_path):
    path = tmp_path / "blocklist.jsonl"
    old = [{k: v for k, v in request(n).model_dump(mode="json").items() if k != "found"} for n in (1, 2)]
    path.write_text("".join(json.dumps(line) + "\n" for line in old))
    known = Blocklist(tmp_path)
    assert known.requests() == [request(1), request(2)]
    assert not (tmp_path / "blocklist.head.json").exists()
    known.append(request(3))
    head = json.loads((tmp_path / "blocklist.head.json").read_text())
    assert (head["lines"], head["adopted"]) == (3, 2)
    assert head["adopted_at"]
    known.append(request(4))
    assert json.loads((tmp_path / "blocklist.head.json").read_text())["adopted_at"] == head["adopted_at"]
    assert [one.id for one in known.requests()] == [request(n).id for n in (1, 2, 3, 4)]
    path.write_bytes(path.read_bytes().replace(b"d1.example", b"d7.example"))
    with pytest.raises(BlocklistError):
        known.requests()


def test_a_head_says_how_far_the_list_reaches_and_stays_true_of_a_longer_one(tmp_path):
    known, _ = lines_of(tmp_path, 2)
    head = known.head()
    known.append(request(3))
    assert known.chain().holds(head)
    assert not known.chain().holds(head.model_copy(update={"digest": "1" * 64}))
    assert not known.chain().holds(known.head().model_copy(update={"lines": 4}))


def test_what_a_reason_holds_stays_in_its_line(tmp_path):
    odd = "a\nb\r\x1b[2J\u2028\x00\u202e\udce4".encode("utf-8", "replace").decode()
    known = Blocklist(tmp_path)
    known.append(request(1).model_copy(update={"reason": odd}))
    known.append(request(2))
    assert known.requests()[0].reason == odd
    assert known.path.read_bytes().count(b"\n") == 2


def append_some(root, numbers):
    for number in numbers:
        Blocklist(root).append(request(number % 5).model_copy(update={"id": f"{number:012x}"}))


def test_two_writers_at_once_lose_nothing_and_readers_see_whole_lists(tmp_path):
    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(append_some, tmp_path, range(first, 40, 2)) for first in (0, 1)]
        seen = 0
        while not all(writer.done() for writer in writers):
            count = len(Blocklist(tmp_path).requests())
            assert count >= seen
            seen = count
        for writer in writers:
            writer.result()
    assert {int(one.id, 16) for one in Blocklist(tmp_path).requests()} == set(range(40))


def test_an_address_that_is_too_long_to_be_kept_is_cut_alike_in_request_and_row():
    long = "https://a.example/" + "x" * 10_000
    assert Matcher([parse_entry(long)])(place(clean_url(long))).tolist() == [True]
