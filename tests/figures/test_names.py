import pytest

from explorer.figures.names import shortened, width_of


def test_a_name_that_has_room_stays_whole():
    assert shortened("layer3.12", 90) == "layer3.12"
    assert shortened("", 10) == ""


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("features.12.block.2.fc1", "….fc1"),
        ("features.denseblock3.denselayer11", "…elayer11"),
        ("inception4d–4e", "…on4d–4e"),
    ],
)
def test_of_a_longer_one_the_end_stays_since_it_tells_layers_apart(name, short):
    assert name.endswith(shortened(name, 70).removeprefix("…"))
    assert len(shortened(name, 70)) >= len(short) - 1


def test_parts_go_as_a_whole_where_the_rest_has_room():
    assert shortened("features.12.block.2.fc1", 70) == "…2.fc1"
    assert shortened("encoder.layers.7", 70) == "…layers.7"


@pytest.mark.parametrize("room", [15, 40, 70, 88])
def test_what_is_left_fits_and_one_letter_more_would_not(room):
    for name in (
        "features.denseblock3.denselayer11",
        "MMMMMMMMMMMMMMM",
        "illllllllllllllllllllllllllllllllllllll",
    ):
        short = shortened(name, room)
        assert width_of(short) <= room
        if "." not in name and short != name:
            assert width_of("…" + name[-len(short) :]) > room


def test_names_of_neighbours_stay_different():
    names = [f"features.denseblock3.denselayer{place}" for place in range(1, 25)]
    assert len({shortened(name, 75) for name in names}) == 24
