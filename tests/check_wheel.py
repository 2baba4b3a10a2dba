"""Does the wheel carry what works without network: weights, images, a recorded run, the notebook, our Jupyter settings?

python tests/check_wheel.py pruning_explorer-*.whl
"""

import sys
from pathlib import Path
from zipfile import ZipFile

EXPECTED = {
    "explorer/notebooks/explorer.ipynb": 1,
    "explorer/jupyter/jupyter_lab_config.json": 1,
    "explorer/jupyter/labconfig/default_setting_overrides.json": 1,
    "explorer/panels/css/*.css": 7,
    "explorer/zoo/weights/*.safetensors": 4,
    "explorer/data/fashion_mnist/*.xz": 3,
    "explorer/methods/recorded/*.safetensors": 3,
    "explorer/methods/literature/*.toml": 3,
    "explorer/strings/methods/*.toml": 4,
}
MOST_MB = 20


def complaints(wheel: Path) -> list[str]:
    """One sentence for everything that is missing or too large."""
    with ZipFile(wheel) as archive:
        names = [Path(name) for name in archive.namelist()]
    found = {pattern: sum(name.match(pattern) for name in names) for pattern in EXPECTED}
    megabytes = wheel.stat().st_size / 1e6
    missing = [
        f"{wheel.name} has {found[pattern]} of at least {count} {pattern}"
        for pattern, count in EXPECTED.items()
        if found[pattern] < count
    ]
    return missing + ([f"{wheel.name} has {megabytes:.1f} MB"] if megabytes > MOST_MB else [])


if __name__ == "__main__":
    sys.exit("\n".join(complaints(Path(sys.argv[1]))) or None)
