import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gem_assets.mixing.swarm.table import SwarmError, SwarmTable, import_swarm

MIXTURES = ["index,web,code,law", "1,0.5,0.3,0.2", "2,0.2,0.2,0.6", "3,1.0,0.0,0.0"]
LOSSES = ["index,a,b,mean", "1,3.0,2.0,2.5", "2,3.2,2.2,2.7", "3,3.4,2.6,3.0"]


@pytest.fixture
def files(tmp_path):
    def write(mixtures=MIXTURES, losses=LOSSES):
        left, right = tmp_path / "ratios.csv", tmp_path / "metrics.csv"
        left.write_text("\n".join(mixtures) + "\n")
        right.write_text("\n".join(losses) + "\n")
        return left, right

    return write


def edited(lines, number, text):
    return [text if i == number else line for i, line in enumerate(lines)]


def test_regmix_layout(files):
    table = import_swarm(*files(), aggregates={"mean": ["a", "b"]})
    assert table.runs == ("1", "2", "3")
    assert table.domains == ("web", "code", "law")
    assert table.targets == ("a", "b", "mean")
    assert table.mixtures[1].tolist() == [0.2, 0.2, 0.6]
    assert table.loss_of("b").tolist() == [2.0, 2.2, 2.6]
    assert table.faults == ()


def test_olmix_layout_joins_by_run_whatever_the_order(files):
    ratios = ["run,name,index,web,code", "r1,x,0,0.5,0.5", "r2,y,1,0.1,0.9"]
    metrics = ["run,name,index,piqa", "r2,y,1,0.6", "r1,x,0,0.7"]
    table = import_swarm(*files(ratios, metrics))
    assert table.runs == ("r1", "r2")
    assert table.losses[:, 0].tolist() == [0.7, 0.6]


def test_published_tables_pass(golden_folder):
    folder = golden_folder / "regmix"
    table = import_swarm(folder / "train_mixture_1m.csv", folder / "train_pile_loss_1m.csv")
    assert (table.mixtures.shape, table.losses.shape) == ((512, 17), (512, 13))


FAULTS = {
    "sum": (edited(MIXTURES, 2, "2,0.2,0.2,0.5"), LOSSES, "ratios.csv, line 3, run 2: shares sum to 0.9"),
    "negative": (edited(MIXTURES, 2, "2,0.6,-0.2,0.6"), LOSSES, "line 3, run 2: the share of code is -0.2"),
    "not a number": (
        edited(MIXTURES, 1, "1,half,0.3,0.2"),
        LOSSES,
        "line 2, run 1: the share of web is half, not a share",
    ),
    "loss": (MIXTURES, edited(LOSSES, 3, "3,3.4,nan,3.0"), "metrics.csv, line 4, run 3: b is nan"),
    "missing loss": (MIXTURES, edited(LOSSES, 3, "3,3.4,,3.0"), "metrics.csv, line 4, run 3: b is missing"),
    "aggregate": (
        MIXTURES,
        edited(LOSSES, 2, "2,3.2,2.2,2.1"),
        "line 3, run 2: mean is 2.1, the mean of its 2 parts is 2.7",
    ),
    "conflict": ([*MIXTURES, "4,0.5,0.3,0.2"], [*LOSSES, "4,9,9,9"], "line 5, run 4: the same mixture as run 1"),
    "duplicate": ([*MIXTURES, "2,0.5,0.3,0.2"], LOSSES, "ratios.csv, line 5, run 2: index 2 stands on line 3 too"),
    "unmatched left": ([*MIXTURES, "9,0.5,0.3,0.2"], LOSSES, "ratios.csv, line 5, run 9: no losses for it"),
    "unmatched right": (MIXTURES, [*LOSSES, "9,1,1,1"], "metrics.csv, line 5, run 9: no mixture for it"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_named_with_its_row(files, name):
    mixtures, losses, message = FAULTS[name]
    with pytest.raises(SwarmError) as caught:
        import_swarm(*files(mixtures, losses), aggregates={"mean": ["a", "b"]})
    assert message in str(caught.value)
    assert len(caught.value.faults) == 1


def test_faulty_rows_are_dropped_or_flagged_by_choice(files):
    paths = files(edited(MIXTURES, 2, "2,0.2,0.2,0.5"))
    dropped = import_swarm(*paths, on_fault="drop")
    assert dropped.runs == ("1", "3")
    assert dropped.faults == ()
    flagged = import_swarm(*paths, on_fault="flag")
    assert flagged.runs == ("1", "2", "3")
    assert [f.kind for f in flagged.faults] == ["sum"]


def test_repeats_of_one_mixture_with_the_same_losses_are_no_conflict(files):
    table = import_swarm(*files([*MIXTURES, "4,0.5,0.3,0.2"], [*LOSSES, "4,3.0,2.0,2.5"]))
    assert len(table.runs) == 4


def test_columns_are_put_in_the_order_asked_for(files):
    table = import_swarm(*files(), domains=["law", "web", "code"])
    assert table.mixtures[0].tolist() == [0.2, 0.5, 0.3]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"domains": ["web", "code", "math"]}, r"missing \['math'\], unknown \['law'\]"),
        ({"aggregates": {"mean": ["a", "zzz"]}}, "no column 'zzz'"),
    ],
)
def test_columns_that_do_not_fit_are_refused(files, kwargs, message):
    with pytest.raises(SwarmError, match=message):
        import_swarm(*files(), **kwargs)


@pytest.mark.parametrize(
    ("mixtures", "losses", "message"),
    [
        (["a,b", "1,2"], LOSSES, "share none of the key columns"),
        (["index,web,web", "1,1,0"], LOSSES, "column web twice"),
        ([""], LOSSES, "no header"),
        (["index,web", "7,1"], LOSSES, "no index in common"),
        (MIXTURES, ["index", "1"], "no loss column"),
    ],
)
def test_files_of_another_kind_are_refused(files, mixtures, losses, message):
    with pytest.raises(SwarmError, match=message):
        import_swarm(*files(mixtures, losses))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SwarmError, match=r"nowhere\.csv cannot be read"):
        import_swarm(tmp_path / "nowhere.csv", tmp_path / "nowhere.csv")


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_table_reads_back(tmp_path_factory, n, k, t, seed):
    rng = np.random.default_rng(seed)
    table = SwarmTable(
        tuple(f"r{i}" for i in range(n)),
        tuple(f"d{i}" for i in range(k)),
        tuple(f"t{i}" for i in range(t)),
        rng.dirichlet(np.ones(k), n),
        rng.normal(3, 1, (n, t)),
    )
    path = tmp_path_factory.mktemp("swarm") / "swarm.parquet"
    table.write(path)
    again = SwarmTable.read(path)
    assert again.identity == table.identity
    assert again.domains == table.domains


def test_shapes_that_do_not_fit_and_unknown_targets_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        SwarmTable(("a",), ("d",), ("t",), np.ones((2, 1)), np.ones((1, 1)))
    table = SwarmTable(("a",), ("d",), ("t",), np.ones((1, 1)), np.ones((1, 1)))
    with pytest.raises(KeyError, match="there are t"):
        table.loss_of("u")
