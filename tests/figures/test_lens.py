from explorer.figures import lens
from explorer.figures.view import update
from explorer.strings import Strings


def test_the_bar_is_on_the_layers_own_scale():
    assert lens.columns(32, 8, 24)["bar"] == {
        "size": [32],
        "width": [0.25],
        "dense": [1.0],
        "reference": [0.75],
    }


def test_a_layer_that_cannot_be_pruned_has_no_bar():
    assert not any(lens.columns(0, 0, 0)["bar"].values())
    assert lens.describe(0, 0, 0, Strings("en")) == []


def test_the_bar_in_sentences_and_in_the_view():
    assert lens.describe(32, 8, 24, Strings("en")) == ["Width: 8 of 32 channels, reference 24."]
    view = lens.build()
    update(view, lens.columns(32, 8, 24))
    assert view.sources["bar"].data["width"] == [0.25]
