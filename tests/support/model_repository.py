"""A model repository that a test fills, breaks and mends as publishers, disks and operators do."""

import json
import shutil
from pathlib import Path
from typing import Any

from shared.artifact import MANIFEST_FILE, digest_files


class ModelRepository:
    """<root>/lung-ct with copies of really published versions; even and odd numbers have different weights."""

    def __init__(self, root: Path, originals: tuple[Path, Path]) -> None:
        self.root = root
        self.model_dir = root / "lung-ct"
        self._originals = originals
        self.root.mkdir(parents=True)

    def version_dir(self, version: int) -> Path:
        """Folder of a version."""
        return self.model_dir / str(version)

    def publish(self, version: int, **manifest_changes: Any) -> Path:
        """Publish as the trainer does: written beside, then renamed. Changes are merged into the manifest."""
        folder = self.prepare(version, **manifest_changes)
        folder.rename(self.version_dir(version))
        return self.version_dir(version)

    def prepare(self, version: int, **manifest_changes: Any) -> Path:
        """Write a version into an unfinished folder beside the others, and return that folder."""
        folder = self.model_dir / f".tmp-{version}"
        shutil.copytree(self._originals[version % 2], folder)
        self.change_manifest(folder, model_version=version, **manifest_changes)
        return folder

    def change_manifest(self, folder: Path, **changes: Any) -> None:
        """Merge changes into manifest.json."""
        path = folder / MANIFEST_FILE
        manifest = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps(manifest | changes), "utf-8")

    def sign_off(self, folder: Path) -> None:
        """List the files as they are now in the manifest: bad content with true checksums."""
        self.change_manifest(folder, files={name: digest.model_dump() for name, digest in digest_files(folder).items()})

    def pin(self, version: int | None) -> None:
        """Write policy.json as the trainer's verbs do: beside, then renamed."""
        beside = self.model_dir / ".tmp-policy"
        beside.write_text(json.dumps({"pin": version}), "utf-8")
        beside.rename(self.model_dir / "policy.json")
