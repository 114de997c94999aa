"""What validating is held against: parsing the same files with PyYAML's C loader alone."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
    with file.open("rb") as stream:
        list(yaml.load_all(stream, Loader=yaml.CSafeLoader))
