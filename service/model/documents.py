"""The model card and the figures of a version: read once, when it is loaded, and checked against its manifest."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from shared.artifact import FIGURES_DIR, MODEL_CARD_FILE, CorruptArtifact, Manifest

MAX_DOCUMENT_BYTES = 2 * 1024 * 1024
"""A larger one is not held in memory, and not shown."""
MAX_DOCUMENTS = 16

Documents = Mapping[str, bytes]
"""Content by POSIX path in the version's folder: MODEL_CARD.md, figures/confusion_matrix.png."""


def document_names(manifest: Manifest) -> list[str]:
    """The card and the PNG figures that the manifest lists, as far as they may be held; the card first."""
    card = [name for name in (MODEL_CARD_FILE,) if name in manifest.files]
    figures = sorted(name for name in manifest.files if _is_figure(PurePosixPath(name)))
    held = [name for name in card + figures if manifest.files[name].size <= MAX_DOCUMENT_BYTES]
    return held[:MAX_DOCUMENTS]


def copy_documents(version_dir: Path, manifest: Manifest, folder: Path) -> None:
    """Copy them out of a repository, which may be gone or stalled when somebody asks for one."""
    for name in document_names(manifest):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(version_dir / name, folder / name)


def read_documents(folder: Path, manifest: Manifest) -> Documents:
    """What copy_documents() left in folder. Raises CorruptArtifact where one is not what was published."""
    documents = {}
    for name in document_names(manifest):
        path, expected = folder / name, manifest.files[name]
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise CorruptArtifact(f"{name} is missing") from error
        if (len(content), hashlib.sha256(content).hexdigest()) != (expected.size, expected.sha256):
            raise CorruptArtifact(f"{name} differs from its checksum")
        documents[name] = content
    return documents


def _is_figure(path: PurePosixPath) -> bool:
    return path.parent == PurePosixPath(FIGURES_DIR) and path.suffix == ".png"
