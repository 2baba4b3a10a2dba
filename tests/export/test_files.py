"""Files are written whole or not at all, and a path that cannot be is refused in words."""

import pytest

from explorer.errors import BadInput
from explorer.export.files import write_text


def test_a_text_is_written_whole_and_alone(tmp_path):
    path = write_text(tmp_path / "new" / "report.html", "<p>ä</p>")
    assert path.read_text("utf-8") == "<p>ä</p>"
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


def test_a_folder_or_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "new").mkdir()
    with pytest.raises(BadInput, match="is a folder"):
        write_text(tmp_path / "new", "text")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="is not a folder"):
        write_text(tmp_path / "file" / "r.html", "text")
