"""What the forms of all operators have in common."""

import pytest
from fiftyone.operators import types
from operating import OPERATORS, form, refusals


@pytest.mark.parametrize(
    ("name", "params", "filled_in"),
    [
        ("rename_index", {}, {"new_key": "other"}),
        ("drop_index", {"brain_key": "key"}, {"sure_key": True}),
        (
            "rebuild_index",
            {"brain_key": "key", "dtype": "float16"},
            {"sure_key_float16": True},
        ),
        ("search_with_picture", {"source": "path"}, {"path": "a.png"}),
        ("search_with_picture", {"source": "upload"}, {"picture": {"name": "a.png"}}),
    ],
)
def test_nothing_is_red_before_anybody_has_typed_or_ticked(indexed, name, params, filled_in):
    questions = form(name, indexed, params)
    [input_name] = filled_in
    assert not questions[input_name]["required"]
    assert not questions[input_name]["invalid"]
    assert questions["blocked"]["view"]["name"] == "HiddenView"
    assert refusals(questions) != []  # so that the button cannot be pressed
    assert refusals(form(name, indexed, params | filled_in)) == []


# These can be filled without a server.
WITHOUT_A_SERVER = (
    "create_index",
    "rename_index",
    "search_with_picture",
    "show_missing",
    "measure_distances",
    "compute_visualization",
)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_a_form_without_a_server_says_what_to_do(name, indexed, redis_backend, free_port):
    indexed.clear_cache()
    redis_backend["url"] = f"redis://127.0.0.1:{free_port}"
    questions = form(name, indexed)
    if name == "delete_near_duplicates":
        assert "find them first" in str(refusals(questions))
    elif name in WITHOUT_A_SERVER:
        assert all("is needed" in refusal for refusal in refusals(questions))
    elif name == "drop_index":
        assert "the server does not answer" in str(questions)
    else:
        assert "No Redis answers" in str(refusals(questions))


@pytest.mark.parametrize("name", sorted(set(OPERATORS) - {"create_index"}))
def test_a_form_without_an_index_says_what_to_do(name, written):
    [refusal] = refusals(form(name, written))
    assert "Create" in refusal


@pytest.mark.skipif(not hasattr(types, "RiskLevel"), reason="This FiftyOne has no risk levels.")
def test_operators_declare_what_they_can_do():
    risks = {name: operator.config.to_json()["risk_level"] for name, operator in OPERATORS.items()}
    expected = dict.fromkeys(OPERATORS, "medium")
    expected |= {"show_missing": "low", "measure_distances": "low"}
    deletes = ("remove_gone", "rebuild_index", "drop_index", "delete_near_duplicates")
    assert risks == expected | dict.fromkeys(deletes, "high")
