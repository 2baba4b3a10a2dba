"""Read the full Fashion-MNIST (70,000 images) from its idx files, plain or gzipped.

Debian's package dataset-fashion-mnist installs them in the default folder below; torchvision's
`FashionMNIST(root, download=True)` puts them in `root/FashionMNIST/raw`.
"""

import gzip
from pathlib import Path

import numpy as np

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
MEAN, STD = 0.2860, 0.3530  # of the 60,000 training images, pixels in [0, 1]


def read_idx(path: Path) -> np.ndarray:
    """One idx file of unsigned bytes -> uint8 array of the shape its header gives."""
    raw = path.read_bytes()
    content = gzip.decompress(raw) if path.suffix == ".gz" else raw
    if content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an idx file of unsigned bytes: it starts with {content[:4]!r}")
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def read_split(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """`split` is "train" or "t10k"; returns images uint8 (N, 28, 28) and labels uint8 (N,)."""
    found = []
    for kind in ("images-idx3", "labels-idx1"):
        name = f"{split}-{kind}-ubyte"
        paths = [path for path in (folder / f"{name}.gz", folder / name) if path.exists()]
        if not paths:
            raise FileNotFoundError(
                f"No {name}(.gz) in {folder}. On Debian: apt-get install dataset-fashion-mnist; "
                "elsewhere pass --data with the folder of torchvision's FashionMNIST/raw."
            )
        found.append(read_idx(paths[0]))
    return found[0], found[1]
