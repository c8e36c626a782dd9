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
