"""FiftyOne's own similarity button: pointing at images, and typing, finds the right ones."""

import fiftyone as fo
import fiftyone.brain as fob
import numpy as np
import pytest
import redis


@pytest.fixture
def lost(digits, app_redis) -> str:
    """The name of a dataset whose index is no longer in Redis."""
    dataset = fo.Dataset("lost")
    dataset.add_samples(fo.Sample(filepath=path) for path in digits.dataset[:5].values("filepath"))
    settings = {"backend": "redis", "url": app_redis, "index_name": "lost"}
    fob.compute_similarity(dataset, embeddings=np.eye(5), brain_key="redis", **settings)
    with redis.from_url(app_redis) as client:
        client.execute_command("FT.DROPINDEX", "lost", "DD")
    yield dataset.name
    dataset.delete()


@pytest.fixture
def held_out(digits) -> str:
    """A saved view of the digits that the model was not fitted to."""
    digits.dataset.save_view("held-out", digits.dataset.match_tags("test"))
    yield "held-out"
    digits.dataset.delete_saved_view("held-out")


@pytest.fixture
def sorted_view(digits, app_redis, monkeypatch) -> str:
    """A saved view of the 25 digits that are most similar to the sixth one."""
    monkeypatch.setitem(fob.brain_config.similarity_backends["redis"], "url", app_redis)
    view = digits.dataset.sort_by_similarity(digits.ids[5], k=25, brain_key=digits.brain_key)
    digits.dataset.save_view("sorted", view)
    yield "sorted"
    digits.dataset.delete_saved_view("sorted")


def test_the_nearest_of_a_selected_image_come_first(page, digits):
    page.open(digits.dataset.name)
    page.select(3)
    page.picture("select")
    page.show_similar()
    page.shows(digits.nearest(digits.embeddings[3])[:25])
    page.picture("similar")


@pytest.mark.slow
def test_of_two_selected_images_the_mean_is_searched(page, digits):
    page.open(digits.dataset.name)
    page.select(3, 8)
    page.show_similar()
    page.shows(digits.nearest(np.mean(digits.embeddings[[3, 8]], axis=0))[:25])


@pytest.mark.slow
def test_a_prompt_finds_what_it_names(page, digits, app_model):
    page.open(digits.dataset.name)
    page.show_similar_to_text("a handwritten seven")
    page.shows(digits.nearest(app_model.embed_prompt("a handwritten seven"))[:25])
    page.picture("prompt")


@pytest.mark.slow
def test_a_search_in_a_filtered_view_finds_only_what_is_in_it(page, digits):
    page.open(digits.dataset.name)
    page.filter_tags("test")
    page.select(0)
    page.show_similar()
    there = digits.dataset.match_tags("test").values("id")
    page.shows(digits.nearest(digits.embedding(there[0]), among=there)[:25])


@pytest.mark.slow
def test_a_search_in_a_saved_view_finds_only_what_is_in_it(page, digits, held_out, app_model):
    page.open(digits.dataset.name, view=held_out)
    page.show_similar_to_text("seven")
    there = digits.dataset.load_saved_view(held_out).values("id")
    page.shows(digits.nearest(app_model.embed_prompt("seven"), among=there)[:25])


@pytest.mark.slow
def test_patches_are_found_among_patches(page, scenes):
    page.open(scenes.dataset.name)
    page.show_patches("ground_truth")
    page.select(0)
    page.show_similar()
    page.shows(scenes.nearest(scenes.embeddings[0])[:25])
    page.picture("patches")


def test_a_view_that_a_script_has_sorted_is_shown_in_its_order(page, digits, sorted_view):
    page.open(digits.dataset.name, view=sorted_view)
    page.shows(digits.nearest(digits.embeddings[5])[:25])


@pytest.mark.slow
def test_a_search_that_fails_says_why_in_the_page(page, lost):
    page.open(lost)
    page.select(0)
    page.ask_for_similar()
    page.browser.get_by_text("the index does not exist").wait_for()
