"""A file of the reader's computer arrives in pieces, each one asked for; what cannot be used is refused at once."""

from base64 import b64encode

import pytest

from explorer.panels.picker.files import LIMIT, PIECE, FileField
from explorer.strings import Strings

CONTENT = bytes(range(256)) * 20
SIZE = 5120


@pytest.fixture
def field():
    field = FileField(Strings("en"), (".pt", ".pth"), "path", "State dicts")
    yield field
    field.close()


def send(field, start, content=b"", name="net.pt", size=SIZE):
    """A piece, as the page sends it; where Python wants the next one to start."""
    text = b64encode(content).decode()
    field._hear({"name": [name], "size": [size], "start": [start], "content": [text]})
    return field.wanted.data["start"][0]


def test_pieces_are_asked_for_until_the_file_is_whole(field):
    start = send(field, 0)
    while start < 4000:
        assert field.arriving
        assert field.value is None
        start = send(field, start, CONTENT[start : start + 2000])
    send(field, start, CONTENT[start:])
    assert not field.arriving
    assert field.value.path.read_bytes() == CONTENT
    assert "net.pt is here, 5.12 kB" in field.said.value
    assert field.piece.data["content"] == [""]  # no copy of it stays


def test_how_much_has_arrived_is_said(field):
    send(field, 0)
    send(field, 0, CONTENT[: SIZE // 4])
    assert "25 %" in field.said.value


def test_a_piece_of_a_file_that_was_given_up_is_left_out(field):
    send(field, 0)
    send(field, 0, CONTENT[:1000])
    send(field, 0)  # another one was chosen
    assert send(field, 1000, CONTENT[1000:2000]) == 0
    send(field, 0, CONTENT)
    assert field.value.path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "size", "word"), [("a.zip", 10, ".pt, .pth"), ("a.pt", 0, "0 B"), ("a.pt", LIMIT + 1, "2.15 GB")]
)
def test_what_cannot_be_used_is_refused_before_it_is_sent(field, name, size, word):
    assert send(field, 0, name=name, size=size) == -1
    assert word in field.said.value
    assert 'role="alert"' in field.said.value
    assert field.value is None


def test_the_last_choice_counts_a_path_or_a_file(field):
    field.path.value = " some/net.pt "
    assert str(field.value) == "some/net.pt"
    send(field, 0)
    send(field, 0, CONTENT)
    assert field.path.value == ""
    assert field.value.name == "net.pt"
    field.path.value = "other.pt"
    assert str(field.value) == "other.pt"
    assert "State dicts" in field.said.value


def test_a_closed_field_deletes_what_was_sent(field):
    send(field, 0)
    send(field, 0, CONTENT)
    path = field.value.path
    field.close()
    assert not path.parent.exists()


def test_a_piece_as_text_is_below_what_jupyter_lets_through():
    assert PIECE % 3 == 0  # so that text of pieces has no padding within
    assert PIECE * 4 / 3 < 10 * 2**20 / 2
