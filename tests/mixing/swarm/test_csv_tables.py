import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gem_assets.mixing.swarm.csv_tables import KEY_COLUMNS, SwarmError, read_swarm_csv
from gem_assets.mixing.swarm.table import import_swarm

RUNS = "index,loss\n0,3.1\n1,3.0\n"


@pytest.fixture
def read(tmp_path):
    def _read(text, losses=RUNS, encoding="utf-8", **options):
        (tmp_path / "r.csv").write_bytes(text.encode(encoding))
        (tmp_path / "m.csv").write_bytes(losses.encode())
        return import_swarm(tmp_path / "r.csv", tmp_path / "m.csv", **options)

    return _read


names = (
    st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters=',;\t"\n'), min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda name: name and name.lower() not in KEY_COLUMNS and name != "Unnamed: 0")
)


@given(
    st.lists(names, min_size=1, max_size=4, unique=True),
    st.sampled_from(",;\t"),
    st.sampled_from(["", "\ufeff"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_names_in_any_layout_come_back(tmp_path_factory, domains, delimiter, mark, end):
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["index", *domains])
    writer.writerow(["0", *(str(number) for number in range(len(domains)))])
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes((mark + file.getvalue()).encode())
    found = read_swarm_csv(path)
    assert found.columns == ("index", *domains)
    assert [found.number(found.rows[0].cells[name]) for name in domains] == list(range(len(domains)))
    assert not found.faults


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("index;a;b\n0;0,5;0,5\n1;0,25;0,75\n", "utf-8"),
        ("index\ta\tb\n0\t0.5\t0.5\n1\t0.25\t0.75\n", "utf-8"),
        ("sep=;\nindex;a;b\n0;0.5;0.5\n1;0.25;0.75\n", "utf-8"),
        ("index,a,b\n0,0.5,0.5\n1,0.25,0.75\n", "utf-16"),
        ("index,a,b,\n0,0.5,0.5,\n1,0.25,0.75,\n", "utf-8"),
        (",a,b\n0,0.5,0.5\n1,0.25,0.75\n", "utf-8"),
        ("Unnamed: 0,a,b\n0,0.5,0.5\n1,0.25,0.75\n", "utf-8"),
        ("Index , a, b\n\n0, 0.5, 0.5\n , , \n1, 0.25, 0.75\n", "utf-8"),
    ],
)
def test_layouts_that_spreadsheets_and_pandas_write(read, text, encoding):
    found = read(text, encoding=encoding)
    assert found.domains == ("a", "b")
    assert found.mixtures.tolist() == [[0.5, 0.5], [0.25, 0.75]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "index,a,b\n0,0.5,0.5,9\n1,0.25,0.75\n",
            "r.csv, line 2, run 0: 4 cells where the header has 3; beyond them stands 9",
        ),
        ("index,a,b\n0,0.5\n1,0.25,0.75\n", "r.csv, line 2, run 0: 2 cells where the header has 3"),
        ('index,"a\nb",c\n0,0.5,0.5\n1,0.3,0.3\n', "r.csv, line 4, run 1: shares sum to 0.6, not to 1"),
        ("index,a,b\n0,50,50\n1,25,75\n", "r.csv, line 2, run 0: shares sum to 100, not to 1; they look like per cent"),
        ("index,a,b\n0,50%,50%\n1,0.5,0.5\n", "r.csv, line 2, run 0: the share of a is 50%, not a share"),
        ("index,a,b\n0,1_0,0.5\n1,0.5,0.5\n", "the share of a is 1_0, not a share"),
        ("index,a,b\n0,inf,0.5\n1,0.5,0.5\n", "the share of a is inf, not a share"),
        ("index,a,a \n0,0.5,0.5\n", "has the column a twice"),
        ("index,a,,b\n0,0.5,0.1,0.4\n", "column 3 of the header has no name"),
        ('index,"a,b\n0,0.5,0.5\n', "cannot be read as CSV"),
        ("", "has no header"),
        ("a,b\n0.5,0.5\n", "share none of the key columns"),
    ],
)
def test_what_cannot_be_read_properly_is_refused_by_line_and_value(read, text, said):
    with pytest.raises(SwarmError) as caught:
        read(text)
    assert said in str(caught.value)


def test_a_row_of_the_wrong_length_is_left_out_where_rows_may_be(read):
    found = read("index,a,b\n0,0.5,0.5,9\n1,0.25,0.75\n", on_fault="flag")
    assert found.runs == ("1",)
    assert [fault.kind for fault in found.dropped] == ["cells", "unmatched"]


def test_bytes_that_are_no_utf8_are_named(tmp_path):
    (tmp_path / "r.csv").write_bytes(b"index,caf\xe9\n0,1\n")
    with pytest.raises(SwarmError, match="not utf-8 at byte 9; save it as UTF-8"):
        read_swarm_csv(tmp_path / "r.csv")
