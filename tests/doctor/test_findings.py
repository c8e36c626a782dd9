"""Sizes, as people read them: everywhere in the same words."""

import pytest

from fiftyone_redis.doctor.findings import format_bytes


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_500, "1.5 kB"),
        (1_048_576, "1.0 MB"),
        (251_000_000, "251.0 MB"),
        (1_500_000_000, "1.5 GB"),
        (5_100_000_000_000, "5100.0 GB"),
    ],
)
def test_a_number_of_bytes_is_said_in_decimal_units(count, said):
    assert format_bytes(count) == said
