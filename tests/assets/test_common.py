import math

from gem_assets.assets.common import audit_links, table, without_vector
from gem_assets.storage.manifest import InputRef
from resources import StoreResource


def cells(rows, columns=None):
    return [record.data for record in table(rows, columns).records]


def test_numbers_keep_what_a_person_reads():
    [row] = cells([{"share": 0.046755597265, "tokens": 1343543.29, "documents": 1395, "gap": 7.25e-11, "good": True}])
    assert row == {"share": 0.04676, "tokens": 1343543.0, "documents": 1395, "gap": 7.25e-11, "good": True}
    [odd] = cells([{"loss": math.nan, "bound": math.inf}])
    assert odd == {"loss": "nan", "bound": "inf"}


def test_columns_are_chosen_and_values_become_text():
    rows = [{"a": 1, "b": None, "c": {"en": 3, "de": 1}, "d": ["x", "y"]}]
    assert cells(rows, ["c", "b", "d"]) == [{"c": "en 3, de 1", "b": "", "d": "x; y"}]


def test_no_rows_is_said_so():
    assert table([]).text == "none"


def test_numbers_in_lists_are_cut_too():
    [row] = cells([{"interval": [4.340923679726677, 5.09], "shares": {"en": 0.83721234}}])
    assert row == {"interval": "4.341; 5.09", "shares": "en 0.8372"}


def test_a_recipe_says_where_its_order_and_audit_are_and_what_makes_them():
    links = audit_links("lexical")
    assert links["order"].asset_key.path == ["training_order"]
    assert links["audit"].url == "/pages/current/mixture_audit.lexical/index.html"
    assert links["order_and_audit_made_by"].text == "gem audit lexical"


def test_documents_without_a_vector_are_counted_over_the_labelled_snapshots(tmp_path):
    store = StoreResource(root=str(tmp_path))
    for snapshot, counts in {"01": {"without_vector": 2}, "02": {}, "03": {"without_vector": 5}}.items():
        with store.artifacts.write("embeddings", snapshot * 32, snapshot) as draft:
            draft.counts = counts
    labels = [InputRef(asset="student_labels", partition=name, data_version="v") for name in ("01", "02", "04")]
    assert without_vector(store, labels) == 2
