"""Choose the bundled images from Fashion-MNIST and write them to explorer/data/fashion_mnist/*.xz.

    python scripts/make_bundled_images.py

Training images are 10,000 of the 60,000; explore images are 2,000 of the first half of the test set, final
images 2,000 of its second half, so that an image keeps its role if the halves of the full set are used
(`explorer.data.full_fashion_mnist`). Every split has equally many images per class, stored class 0..9, 0..9,
..., so that any prefix is balanced too. The choice is random with a fixed seed: running the script again
gives the same images (and, with the same liblzma, the same bytes).

A file is xz of: N x 784 bytes of pixels, N bytes of labels, N little-endian uint16 of positions in the
source file.
"""

import argparse
import lzma
from pathlib import Path

import numpy as np
from fashion_mnist import DEBIAN_FOLDER, read_split

FOLDER = Path(__file__).parents[1] / "explorer" / "data" / "fashion_mnist"
SEED = 2017
CLASSES = 10


def balanced(labels: np.ndarray, count: int, random: np.random.RandomState) -> np.ndarray:
    """Positions of `count` labels, equally many per class, interleaved by class: int64 (count,)."""
    by_class = [random.permutation(np.flatnonzero(labels == c))[: count // CLASSES] for c in range(CLASSES)]
    return np.stack(by_class, axis=1).reshape(-1)


def packed(images: np.ndarray, labels: np.ndarray, source: np.ndarray) -> bytes:
    """The chosen images, labels and positions as the compressed bytes of one file."""
    content = images[source].tobytes() + labels[source].tobytes() + source.astype("<u2").tobytes()
    return lzma.compress(content, preset=9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEBIAN_FOLDER, help="folder of the idx files")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    random = np.random.RandomState(SEED)  # its stream is the same in every version
    train_images, train_labels = read_split(options.data, "train")
    test_images, test_labels = read_split(options.data, "t10k")
    half = len(test_labels) // 2
    files = {
        "train": packed(train_images, train_labels, balanced(train_labels, 10_000, random)),
        "explore": packed(test_images, test_labels, balanced(test_labels[:half], 2_000, random)),
        "final": packed(test_images, test_labels, half + balanced(test_labels[half:], 2_000, random)),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    for split, content in files.items():
        (options.out / f"{split}.xz").write_bytes(content)
        print(f"{split}.xz: {len(content):,} bytes")


if __name__ == "__main__":
    main()
