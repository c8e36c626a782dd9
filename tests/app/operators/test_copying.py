"""Indexes with the vectors of other runs."""

import fiftyone.brain as fob
import numpy as np
import pytest
from operating import form, run


@pytest.mark.parametrize("backend", ["sklearn", "redis"])
@pytest.mark.parametrize("dataset", ["written", "boxes"])
def test_an_index_is_made_of_the_vectors_of_another_run(dataset, backend, request, model):
    samples = request.getfixturevalue(dataset)
    field = "ground_truth" if dataset == "boxes" else None
    other = fob.compute_similarity(
        samples, model=model, patches_field=field, brain_key="other", backend=backend
    )
    asked = {"source": "run", "patches_field": field or "-"}
    assert f"other ({backend})" in str(form("create_index", samples, asked)["run"])
    params = {"brain_key": "new", "run": "other", "metric": "cosine", **asked}
    ran = run("create_index", samples, params)
    index = samples.load_brain_results("new")
    assert ran.text.startswith(f"Indexed {other.total_index_size} ")
    vectors, sample_ids, label_ids = other.get_embeddings()
    found = index.get_embeddings(sample_ids if label_ids is None else None, label_ids)
    assert found[0] == pytest.approx(np.asarray(vectors))
    assert (index.config.model, index.config.supports_prompts) == (model, True)
    assert len(index.sort_by_similarity("seven", k=3)) > 0


def test_a_run_that_has_nothing_of_the_view_makes_no_index(written):
    vectors = np.ones((30, 4))
    fob.compute_similarity(
        written.limit(30), embeddings=vectors, brain_key="other", backend="sklearn"
    )
    params = {"brain_key": "new", "source": "run", "run": "other", "target": "view"}
    ran = run("create_index", written, params, view=written.skip(30)._serialize())
    assert "no vector of these samples" in ran.text
    assert written.list_brain_runs() == ["other"]
