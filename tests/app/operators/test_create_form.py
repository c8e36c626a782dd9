"""What the form for a new index offers."""

from operating import form, refusals, run


def test_a_mistyped_model_is_said_in_the_form(written, model):
    [refusal] = refusals(form("create_index", written, {"model": "clip-vit-base32-troch"}))
    assert "no model 'clip-vit-base32-troch'; did you mean clip-vit-base32-torch" in refusal
    assert refusals(form("create_index", written, {"model": model})) == []


def test_models_say_whether_they_take_text_prompts(written, model):
    questions = form("create_index", written, {"model": model})
    assert "takes text prompts" in str(questions["prompts_note"])
    choices = {one["value"]: one for one in questions["model"]["view"]["choices"]}
    assert choices[model]["description"] == "takes text prompts"
    assert choices["resnet50-imagenet-torch"].get("description") is None


def test_an_index_stores_the_fields_that_were_chosen(written, model):
    written.set_values("quality", list(range(60)))
    questions = form("create_index", written)
    offered = [one["value"] for one in questions["stored_fields"]["view"]["choices"]]
    assert {"filepath", "tags", "quality"} <= set(offered)
    assert "metadata" not in offered
    params = {"brain_key": "new", "model": model, "stored_fields": ["quality", "tags"]}
    run("create_index", written, params)
    config = written.load_brain_results("new").config
    assert dict(config.stored_fields) == {"quality": "NUMERIC", "tags": "TAG"}


def test_an_index_can_be_made_of_the_view_or_of_what_is_selected(written, model):
    assert "target" not in form("create_index", written)
    some = written.limit(4)
    view, selected = some._serialize(), some.values("id")[:2]
    questions = form("create_index", written, view=view, selected=selected)
    assert questions["target"]["type"]["values"] == ["dataset", "view", "selected"]
    for target, ids in (("view", some.values("id")), ("selected", selected)):
        params = {"brain_key": target, "model": model, "target": target, "batch_size": 2}
        ran = run("create_index", written, params, view=view, selected=selected)
        assert ran.text == f"Indexed {len(ids)} samples."
        index = written.load_brain_results(target)
        assert sorted(index.sample_ids) == sorted(ids)
