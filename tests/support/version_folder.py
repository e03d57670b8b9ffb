"""A version's folder as the trainer leaves it, with a network of some bytes that nothing loads."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from shared.artifact import GOLDEN_FILE, MANIFEST_FILE, Manifest, digest_files
from shared.classes import LUNG_CT_CLASSES
from shared.golden import Golden, write_golden
from shared.imaging import PreprocessingSpec

SPEC = PreprocessingSpec(height=32, width=48)
GOLDEN = Golden(
    images=np.arange(2 * 32 * 48, dtype=np.uint8).reshape(2, 32, 48, 1),
    probabilities=np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]], np.float32),
)


def manifest_of(version_dir: Path, **changes: Any) -> Manifest:
    """A manifest of the files in that folder."""
    fields = {
        "model_name": "lung-ct",
        "model_version": int(version_dir.name),
        "created": datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
        "architecture": "tiny",
        "classes": LUNG_CT_CLASSES,
        "preprocessing": SPEC,
        "dataset": {"kind": "phantoms", "counts": {"Normal cases": 3}},
        "split": {"protocol": "none"},
        "metrics": {"accuracy": 0.5, "interval": [0.4, 0.6], "auc": None},
        "warnings": ("Never saw a patient.",),
        "golden_tolerance": 0.001,
        "seed": 7,
        "libraries": {"keras": "3"},
        "duration_s": 1.5,
        "files": digest_files(version_dir),
    }
    return Manifest(**fields | changes)


def rewrite_manifest(version_dir: Path, **changes: Any) -> None:
    """Change manifest.json as somebody with an editor would; a value of ... takes the field out."""
    path = version_dir / MANIFEST_FILE
    fields = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not ...}))


def write_version(folder: Path) -> None:
    """Fill a folder, which is named by its number, with all that a published version has."""
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph" * 40)
    (folder / "variables" / "variables.index").write_bytes(b"index")
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(bytes(range(256)) * 5_000)
    (folder / "MODEL_CARD.md").write_text("")
    write_golden(folder / GOLDEN_FILE, GOLDEN)
    (folder / MANIFEST_FILE).write_text(manifest_of(folder).model_dump_json(indent=2))
