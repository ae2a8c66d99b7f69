from types import SimpleNamespace

import pytest

from gem_assets.mixing.swarm.groups import GroupError, cluster_groups


def taxonomy(sources, parents=None):
    clusters = [
        SimpleNamespace(id=k, sources=tuple(SimpleNamespace(value=v, share=0.5) for v in own))
        for k, own in enumerate(sources)
    ]
    above = {c: SimpleNamespace(id=p) for c, p in enumerate(parents or ())}
    return SimpleNamespace(
        clusters=clusters, hierarchy=SimpleNamespace(parent_of=lambda: above) if parents is not None else None
    )


def test_clusters_of_one_most_frequent_source_are_one_group():
    found = cluster_groups(taxonomy([["wiki", "news"], ["code"], ["wiki"], [], ["code", "wiki"]]), "source")
    assert found.tolist() == [0, 1, 0, 2, 1]


def test_parents_are_groups_too():
    assert cluster_groups(taxonomy([["a"], ["a"], ["a"]], [7, 3, 7]), "parent").tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("given", "by", "message"),
    [
        (taxonomy([["a"], ["a"]]), "source", "have the source 'a'.*proxy.groups = 'parent'"),
        (taxonomy([["a"], ["b"]], [1, 1]), "parent", "have the parent '1'.*proxy.groups = 'source'"),
        (taxonomy([["a"], ["b"]]), "parent", "no parents; set taxonomy.parents"),
    ],
)
def test_clusters_that_make_no_groups_say_what_to_set(given, by, message):
    with pytest.raises(GroupError, match=message):
        cluster_groups(given, by)
