"""What is planned for subsets of different sizes, without a server."""

import pytest

from fiftyone_redis.engine import Schema
from fiftyone_redis.engine.schema.schema import Field
from fiftyone_redis.engine.search import planner
from fiftyone_redis.engine.search.planner import MembershipCost

SIZE = 50_000
VIEW = MembershipCost(per_id_read=1.4, per_id_checked=6.5, per_query=600.0, per_document=0.36)


def filters(schema: Schema, allowed: int, cost: MembershipCost) -> bool:
    width = planner.choose_width(10, allowed / SIZE, 0, SIZE)
    return planner.is_prefilter_cheaper(schema, SIZE, allowed, width, cost)


@pytest.mark.parametrize("algorithm", ["FLAT", "HNSW"])
@pytest.mark.parametrize("cost", [MembershipCost(), VIEW], ids=["ids", "view"])
def test_a_few_ids_are_filtered_by_and_most_ids_never_read(algorithm, cost):
    schema = Schema("docs", 512, algorithm=algorithm)
    assert filters(schema, 50, cost)
    assert not filters(schema, SIZE // 2, cost)


def test_a_view_is_read_only_where_that_is_cheaper_than_many_candidates():
    schema = Schema("docs", 512)
    assert filters(schema, 100, VIEW)
    assert not filters(schema, 1000, VIEW)


def test_a_search_is_at_least_twice_as_wide_as_the_one_before_and_never_wider_than_the_index():
    assert planner.choose_width(10, 0.9, 0, SIZE) == 32
    assert planner.choose_width(10, 0.5, 300, SIZE) == 600
    assert planner.choose_width(10, 0.1, 0, SIZE) == 200
    assert planner.choose_width(10, 0.0001, 0, SIZE) == SIZE


@pytest.mark.parametrize(("kept", "seen"), [(0, 0), (0, 64), (1, 64), (64, 64), (7, 10_000)])
def test_a_share_is_never_none_and_a_cautious_one_is_smaller(kept, seen):
    assert 0 < planner.estimate_least_share(kept, seen) < planner.estimate_share(kept, seen) < 1


def test_caution_wears_off_with_what_was_seen():
    little = planner.estimate_least_share(1, 64) / planner.estimate_share(1, 64)
    much = planner.estimate_least_share(1000, 64_000) / planner.estimate_share(1000, 64_000)
    assert little < 0.7
    assert much > 0.98


def test_ids_whose_keys_have_to_be_looked_up_are_filtered_by_less_often():
    by_key, by_tag = Schema("docs", 512), Schema("docs", 512, id_field="own")
    by_walking = Schema("docs", 512, id_field="own", fields=(Field("own", "own", ""),))
    counts = [
        sum(filters(schema, allowed, MembershipCost()) for allowed in range(100, 20_000, 100))
        for schema in (by_key, by_tag, by_walking)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[1] > counts[2] == 0


def test_all_points_of_a_flat_index_are_compared():
    plan = planner.plan_all_points(Schema("docs", 512), 10**6, 10**6, 10)
    assert not plan.uses_graph
    assert "FLAT" in plan.reason


@pytest.mark.parametrize(
    ("points", "k", "walks"),
    [
        (10_000, 10, False),
        (20_000, 10, False),
        (100_000, 10, True),
        (1_000_000, 10, True),
        (1_000_000, 999_999, False),
    ],
)
def test_all_points_of_a_graph_are_searched_for_once_they_are_many(points, k, walks):
    plan = planner.plan_all_points(Schema("docs", 512, algorithm="HNSW"), points, points, k)
    assert plan.uses_graph == walks


def test_a_small_part_of_a_graph_is_compared_and_a_large_one_searched_for():
    schema, size = Schema("docs", 512, algorithm="HNSW"), 1_000_000
    assert not planner.plan_all_points(schema, size, 30_000, 10).uses_graph
    assert planner.plan_all_points(schema, size, 500_000, 10).uses_graph


def test_a_graph_takes_time_nearly_in_step_with_the_points():
    schema = Schema("docs", 512, algorithm="HNSW")
    small, large = (
        planner.plan_all_points(schema, count, count, 10) for count in (200_000, 1_000_000)
    )
    assert 5 * small.seconds < large.seconds < 7 * small.seconds
    assert large.seconds < 20 * 60
