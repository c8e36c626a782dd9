"""Texts that the page renders as Markdown."""

from fiftyone_redis.app.markdown import escape


def test_names_of_indexes_are_not_struck_through():
    assert escape("birds~0f0f is left; drop birds~0f0f") == r"birds\~0f0f is left; drop birds\~0f0f"


def test_code_stays_as_it_is():
    assert escape("Run `ls ~` in ~ then.") == r"Run `ls ~` in \~ then."
