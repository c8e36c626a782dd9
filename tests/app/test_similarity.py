"""FiftyOne's own similarity button: pointing at images, and typing, finds the right ones."""


def test_the_nearest_of_a_selected_image_come_first(page, digits):
    page.open(digits.dataset.name)
    page.select(3)
    page.show_similar()
    page.shows(digits.nearest(digits.embeddings[3]))
    page.picture("similar")
