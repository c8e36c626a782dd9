"""What messages are made of."""

import pytest

from fiftyone_redis.errors import format_count


@pytest.mark.parametrize(
    ("number", "things", "text"),
    [
        (0, ["key"], "0 keys"),
        (1, ["key"], "1 key"),
        (1234, ["key"], "1,234 keys"),
        (2, ["index", "indexes"], "2 indexes"),
    ],
)
def test_things_are_counted_in_the_right_number(number, things, text):
    assert format_count(number, *things) == text
