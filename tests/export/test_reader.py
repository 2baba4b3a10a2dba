"""The reader that exported files carry: what safetensors writes it reads, and anything else it refuses."""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from explorer.export.reader import DTYPES, read_tensors

KINDS = [dtype for name, dtype in DTYPES.items() if not name.startswith("U") or name == "U8"]


def drawn(dtype: torch.dtype) -> torch.Tensor:
    numbers = torch.arange(-7, 8).view(3, 5)
    return (numbers > 0) if dtype == torch.bool else numbers.to(dtype)


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_every_type_comes_back_as_it_was_written(dtype, tmp_path):
    written = {
        "matrix": drawn(dtype),
        "odd": drawn(dtype).flatten()[:1].clone(),  # what follows is not aligned to its size
        "empty": torch.empty((0, 4), dtype=dtype),
        "number": drawn(dtype)[2, 3].clone(),
    }
    save_file(written, tmp_path / "file", {"about": "metadata is no tensor"})
    found = read_tensors(tmp_path / "file")
    assert found.keys() == written.keys()
    for name, tensor in written.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        bytes_of = [each.contiguous().flatten().view(torch.uint8) for each in (found[name], tensor)]
        assert torch.equal(*bytes_of)


def test_unsigned_numbers_and_offsets_that_are_not_aligned(tmp_path):
    header = json.dumps(
        {
            "first": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
            "second": {"dtype": "U32", "shape": [2], "data_offsets": [1, 9]},
            "third": {"dtype": "U16", "shape": [], "data_offsets": [9, 11]},
            "fourth": {"dtype": "U64", "shape": [1, 1], "data_offsets": [11, 19]},
        }
    ).encode()
    content = struct.pack("<Q", len(header)) + header + struct.pack("<BIIHQ", 7, 70000, 3, 60000, 2**63 + 1)
    (tmp_path / "file").write_bytes(content)
    found = {name: tensor.tolist() for name, tensor in read_tensors(tmp_path / "file").items()}
    assert found == {"first": [7], "second": [70000, 3], "third": 60000, "fourth": [[2**63 + 1]]}


def test_tensors_can_be_written_and_share_no_memory(tmp_path):
    save_file({"a": torch.zeros(3), "b": torch.zeros(3)}, tmp_path / "file")
    found = read_tensors(tmp_path / "file")
    found["a"].fill_(5)
    assert found["b"].tolist() == [0, 0, 0]


@pytest.fixture
def whole(tmp_path) -> bytes:
    save_file({"a": torch.ones(4), "b": torch.ones(2, 3)}, tmp_path / "whole")
    return (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("kept", [0, 5, 8, 40, -1])
def test_a_truncated_file_is_refused(whole, kept, tmp_path):
    (tmp_path / "file").write_bytes(whole[:kept])
    with pytest.raises(ValueError, match=r"file is damaged or no safetensors file\. Copy it again\."):
        read_tensors(tmp_path / "file")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"F32"', b'"F99"'),  # a type that there is not
        (b"[4]", b"[9]"),  # a shape that its bytes do not fill
        (b"[0,16]", b"[30,46]"),  # an offset beyond the end
        (b'"shape"', b'"shade"'),
        (b"{", b"["),
    ],
)
def test_a_damaged_header_is_refused(whole, old, new, tmp_path):
    assert old in whole
    header = int.from_bytes(whole[:8], "little")
    changed = whole[8 : 8 + header].replace(old, new)
    (tmp_path / "file").write_bytes(struct.pack("<Q", len(changed)) + changed + whole[8 + header :])
    with pytest.raises(ValueError, match="damaged"):
        read_tensors(tmp_path / "file")


def test_a_header_that_claims_to_be_huge_takes_no_memory(whole, tmp_path):
    (tmp_path / "file").write_bytes(struct.pack("<Q", 2**62) + whole[8:])
    with pytest.raises(ValueError, match="damaged"):
        read_tensors(tmp_path / "file")
