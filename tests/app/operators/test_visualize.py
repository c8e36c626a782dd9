"""Visualizations from the vectors of an index."""

import numpy as np
import pytest
from operating import form, run

from fiftyone_redis.app import visualization
from fiftyone_redis.app.jobs import JobStopped
from fiftyone_redis.demo import images


@pytest.mark.parametrize("dataset", ["indexed", "boxes"])
def test_a_visualization_has_a_point_for_each_vector(dataset, request):
    samples = request.getfixturevalue(dataset)
    index = samples.load_brain_results("key")
    ran = run("compute_visualization", samples, {"brain_key": "key", "method": "pca"})
    results = samples.load_brain_results("key_pca")
    vectors, sample_ids, label_ids = index.get_embeddings()
    ids = sample_ids if label_ids is None else label_ids
    points = dict(
        zip(
            results.label_ids if label_ids is not None else results.sample_ids,
            results.points,
            strict=True,
        )
    )
    assert ran.text.startswith(f"Computed key_pca of {len(ids):,} vectors")
    assert points.keys() == set(ids)
    centred = vectors - vectors.mean(axis=0)
    main = np.linalg.svd(centred, full_matrices=False)[2][:2]
    expected = np.abs(centred @ main.T)
    assert np.abs([points[id] for id in ids]) == pytest.approx(expected, abs=1e-3)
    assert results.config.similarity_index == "key"
    assert "open_panel" in ran.messages


def test_nothing_is_left_if_it_is_cancelled_while_it_computes(indexed):
    def report(progress, caption):
        if progress == 1:  # the first report after that
            raise JobStopped

    with pytest.raises(JobStopped):
        visualization.compute(indexed.load_brain_results("key"), "points", "pca", report)
    assert not indexed.has_brain_run("points")


@pytest.mark.slow  # numba compiles UMAP first
def test_umap_puts_the_images_of_a_digit_together(indexed):
    ran = run("compute_visualization", indexed, {"brain_key": "key", "method": "umap"})
    assert ran.text.startswith("Computed key_umap of 60 vectors")
    results = indexed.load_brain_results("key_umap")
    assert list(results.sample_ids) == list(indexed.load_brain_results("key").sample_ids)
    labels = images.digits()[1][:60]
    far = np.linalg.norm(results.points[:, None] - results.points[None], axis=2)
    np.fill_diagonal(far, np.inf)
    alike = np.mean(labels[far.argmin(axis=1)] == labels)
    assert alike > 0.6  # 0.1 by chance


@pytest.mark.slow
def test_umap_works_with_the_fewest_vectors(indexed):
    indexed.load_brain_results("key").remove_from_index(sample_ids=indexed[5:].values("id"))
    ran = run("compute_visualization", indexed, {"brain_key": "key", "method": "umap"})
    assert ran.text.startswith("Computed key_umap of 5 vectors")


@pytest.mark.parametrize(("method", "fewest"), [("pca", 3), ("umap", 5)])
def test_too_few_vectors_are_refused(indexed, method, fewest):
    rest = indexed[fewest - 1 :].values("id")
    indexed.load_brain_results("key").remove_from_index(sample_ids=rest)
    ran = run("compute_visualization", indexed, {"brain_key": "key", "method": method})
    assert ran.text == f"{method.upper()} needs {fewest} vectors; index missing samples first."
    assert not indexed.has_brain_run(f"key_{method}")


def test_the_form_says_when_umap_is_missing(indexed, monkeypatch):
    monkeypatch.setattr(visualization, "find_spec", lambda _: None)
    questions = form("compute_visualization", indexed, {"brain_key": "key"})
    assert "pip install umap-learn" in str(questions["umap_note"])
    assert questions["method"]["type"]["values"] == ["pca"]
    monkeypatch.setattr(visualization, "find_spec", lambda _: "found")
    questions = form("compute_visualization", indexed, {"brain_key": "key"})
    assert questions["method"]["type"]["values"] == ["umap", "pca"]
