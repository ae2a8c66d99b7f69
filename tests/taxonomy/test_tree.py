import struct

import numpy as np
import pytest

from gem_assets.taxonomy.config import TaxonomyConfig
from gem_assets.taxonomy.parents import Leaf, build_hierarchy
from gem_assets.taxonomy.tree import taxonomy_tree


def hierarchy(k, parents=None):
    resultants = np.random.default_rng(0).normal(size=(k, 5))
    resultants /= np.linalg.norm(resultants, axis=1, keepdims=True)
    leaves = [Leaf(i, f"Leaf {i}", "", [f"text number {i}"], resultants[i]) for i in range(k)]
    return build_hierarchy(leaves, TaxonomyConfig(parents=parents))


@pytest.mark.parametrize(("k", "parents"), [(4, None), (24, None), (5, 1), (5, 5), (1, 1), (130, 9)])
def test_every_tree_is_a_picture_of_the_house_width_and_the_same_every_time(k, parents):
    tree = hierarchy(k, parents)
    names = [f"Leaf {i} $ 東京" if i % 2 else f"Leaf {i}" for i in range(k)]
    first, second = (taxonomy_tree(tree, names, [1 / k] * k) for _ in range(2))
    assert first == second
    width, height = struct.unpack(">II", first[16:24])
    assert width == 1296
    assert 200 < height < 4500


def test_another_cut_is_another_picture():
    names, shares = [f"Leaf {i}" for i in range(9)], [1 / 9] * 9
    assert taxonomy_tree(hierarchy(9, 2), names, shares) != taxonomy_tree(hierarchy(9, 3), names, shares)
