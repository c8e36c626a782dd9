"""FiftyOne's own similarity search panel: every option of its form gives what it says."""

import numpy as np
import pytest
from PIL import Image

PANEL = "similarity_search_panel"


@pytest.fixture
def distances(digits) -> str:
    """The name of a field for distances, which is gone afterwards."""
    yield "distance"
    digits.dataset.reload()  # the App has added it
    digits.dataset.delete_sample_field("distance")


@pytest.mark.slow
def test_the_least_similar_come_first_with_their_distances(page, digits, distances, app_model):
    page.open(digits.dataset.name)
    page.open_panel(PANEL)
    page.search("seven", least=True, distances=distances)
    query = app_model.embed_prompt("seven")
    farthest = digits.nearest(query, farthest=True)[:25]
    page.shows(farthest)
    shown = [float(distance) for distance in page.values(distances)]
    assert shown == pytest.approx(digits.distances(query, farthest), abs=1e-3)
    page.tick(distances, True)
    page.picture("least")


@pytest.mark.slow
def test_a_picture_from_elsewhere_finds_its_like(page, digits, app_model, tmp_path):
    mirrored = np.asarray(Image.open(digits.dataset[digits.ids[3]].filepath))[:, ::-1]
    Image.fromarray(mirrored).save(tmp_path / "mirrored.png")
    page.open(digits.dataset.name)
    page.open_panel(PANEL)
    page.search(picture=tmp_path / "mirrored.png", k=12)
    page.shows(digits.nearest(app_model.embed(mirrored))[:12])
    assert page.count() == "12 samples"


@pytest.mark.slow
def test_examples_of_what_is_not_wanted_are_kept_away_from(page, digits):
    page.open(digits.dataset.name)
    page.open_panel(PANEL)
    page.select(3)
    page.select(8, against=True)
    page.search()
    page.shows(digits.nearest(2 * digits.embeddings[3] - digits.embeddings[8])[:25])


@pytest.mark.slow
def test_the_form_knows_what_the_index_is(page, digits):
    page.open(digits.dataset.name)
    form = page.open_panel(PANEL)
    page.fill_in("seven", least=True, distances="distance")
    for line in ("Backend: redis", "Metric: cosine", f"Index: {digits.index_name}"):
        form.get_by_text(line, exact=True).wait_for()
    page.picture("form")


@pytest.mark.slow
def test_one_search_follows_another_in_what_it_has_found(page, digits, app_model):
    page.open(digits.dataset.name)
    page.show_similar_to_text("three and eight")
    both = digits.nearest(app_model.embed_prompt("three and eight"))[:25]
    page.shows(both)
    page.search("eight", within_view=True)
    page.shows(digits.nearest(app_model.embed_prompt("eight"), among=both))
