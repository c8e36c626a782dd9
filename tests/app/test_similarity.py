"""FiftyOne's own similarity button: pointing at images, and typing, finds the right ones."""

import numpy as np


def test_the_nearest_of_a_selected_image_come_first(page, digits):
    page.open(digits.dataset.name)
    page.select(3)
    page.show_similar()
    page.shows(digits.nearest(digits.embeddings[3])[:25])
    page.picture("similar")


def test_of_two_selected_images_the_mean_is_searched(page, digits):
    page.open(digits.dataset.name)
    page.select(3, 8)
    page.show_similar()
    page.shows(digits.nearest(np.mean(digits.embeddings[[3, 8]], axis=0))[:25])


def test_a_prompt_finds_what_it_names(page, digits, app_model):
    page.open(digits.dataset.name)
    page.show_similar_to_text("a handwritten seven")
    page.shows(digits.nearest(app_model.embed_prompt("a handwritten seven"))[:25])
    page.picture("prompt")


def test_a_search_in_a_filtered_view_finds_only_what_is_in_it(page, digits):
    page.open(digits.dataset.name)
    page.filter_tags("test")
    page.picture("debug-filter")
    page.select(0)
    page.show_similar()
    page.picture("debug-filtered")
    there = digits.dataset.match_tags("test").values("id")
    page.shows(digits.nearest(digits.embedding(there[0]), among=there)[:25])


def test_a_search_in_a_saved_view_finds_only_what_is_in_it(page, digits, app_model):
    view = digits.dataset.match_tags("test")
    digits.dataset.save_view("held out", view, overwrite=True)
    page.open(digits.dataset.name, view="held-out")
    page.show_similar_to_text("seven")
    page.picture("debug-saved")
    there = view.values("id")
    page.shows(digits.nearest(app_model.embed_prompt("seven"), among=there)[:25])


def test_patches_are_found_among_patches(page, scenes):
    page.open(scenes.dataset.name)
    page.show_patches("ground_truth")
    page.select(0)
    page.show_similar()
    page.shows(scenes.nearest(scenes.embeddings[0])[:25])
    page.picture("patches")


def test_the_least_similar_come_first_when_asked_for(page, digits, app_model):
    page.open(digits.dataset.name)
    page.open_panel("similarity_search_panel")
    page.search("seven", least=True, distances="distance")
    page.picture("debug-least")
    page.shows(digits.nearest(app_model.embed_prompt("seven"), farthest=True)[:25])
