"""Near duplicates among vectors, and what is estimated of them beforehand."""

import numpy as np

from fiftyone_redis.app import duplicates
from fiftyone_redis.app.distances import Distances
from fiftyone_redis.similarity import all_points


def found_in(points: list[float], threshold: float) -> duplicates.Duplicates:
    vectors = np.array([[point, 0.0] for point in points], dtype=np.float32)
    ids = [f"{point:g}" for point in points]
    found = all_points.compare_pairs(vectors, threshold, "euclidean")
    return duplicates.group(all_points.NearPoints(ids, *found), threshold)


def test_groups_stand_together_and_all_but_one_of_each_can_be_left_out():
    found = found_in([0, 100, 50, 101, 1, 102], 1.5)
    assert found.ids == ["0", "1", "100", "101", "102"]
    assert found.groups == [1, 1, 2, 2, 2]
    assert found.keeps == [True, False, True, False, True]  # 102 is too far from 100
    assert found.duplicates == ["1", "101"]


def test_the_closest_group_comes_first_and_in_it_the_closest_to_what_is_kept():
    found = found_in([0, 3, 10, 12, 11], 3)
    assert found.ids == ["10", "11", "12", "0", "3"]
    assert found.distances == [1, 1, 2, 3, 3]
    assert found.groups == [1, 1, 1, 2, 2]


def test_a_chain_stands_together():
    # 2 is kept, since it is too far from 0, and 1, its only neighbour, is left out.
    found = found_in([0, 1, 50, 51, 2], 1.0)
    assert found.ids == ["0", "1", "2", "50", "51"]
    assert found.duplicates == ["1", "51"]


def test_a_point_alone_has_no_duplicate():
    assert found_in([7], 10).ids == []


def test_a_number_is_estimated_from_a_part_of_the_points():
    some = Distances(np.array([0.1, 0.2, 0.3, 0.4]), 1000)
    assert not some.exact
    assert [some.count(threshold) for threshold in (0.05, 0.2, 1)] == [0, 500, 1000]
