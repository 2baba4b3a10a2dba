"""Read a safetensors file with torch alone: what exported Python files do.

The format (https://huggingface.co/docs/safetensors): 8 bytes, the header's length as a little-endian integer;
the header, JSON; then the tensors' bytes, little-endian and row-major, at the offsets that the header gives.
"""

import json
import math
import os
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, each in memory of its own. Raises ValueError for any other file."""
    with Path(path).open("rb") as file:
        try:
            size = int.from_bytes(read_bytes(file, 8), "little")
            header = json.loads(read_bytes(file, size))
            return {
                name: read_tensor(file, 8 + size, entry)
                for name, entry in header.items()
                if name != "__metadata__"
            }
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged or no safetensors file. Copy it again.") from error


def read_tensor(file: BufferedReader, start: int, entry: dict[str, Any]) -> Tensor:
    """The tensor that a header's entry describes; offsets count from `start`."""
    dtype, shape, (first, last) = DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    if last - first != math.prod(shape) * dtype.itemsize:
        raise ValueError("a tensor's shape and its bytes do not fit")
    file.seek(start + first)
    content = read_bytes(file, last - first)
    return (torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)).view(shape)


def read_bytes(file: BufferedReader, count: int) -> bytearray:
    """The next `count` bytes, writable and aligned. Raises ValueError if there are not as many."""
    if count > os.fstat(file.fileno()).st_size:
        raise ValueError("the file is too short")
    content = bytearray(count)
    if file.readinto(content) != count:
        raise ValueError("the file is too short")
    return content
