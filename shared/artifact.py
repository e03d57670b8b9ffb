"""One published version on disk: its layout, its manifest, and the proof that every byte is the one that was published.

<model>/3/  saved_model.pb  variables/  fingerprint.pb      the SavedModel, servable by TensorFlow Serving too
            manifest.json                                   written last; lists every other file
            golden.npz                                      synthetic slices and what Keras answered
            class_names.json  MODEL_CARD.md  figures/*.png
            variants/int8/                                  optional, see shared/variant.py
            model.sig                                       optional, see shared/signing.py; over everything else
"""

import hashlib
import json
from datetime import datetime
from errno import ENAMETOOLONG
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from shared.chest_ct import ChestGate
from shared.classes import ClassSet
from shared.decisions import DecisionRules
from shared.familiarity import FamiliarityRules
from shared.imaging import PreprocessingSpec
from shared.raster.decode import ImageType
from shared.variant import VARIANT_MODEL_FILE, VARIANT_WEIGHTS_FILE, VARIANTS_DIR, Variant, VariantName

MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.npz"
CLASS_NAMES_FILE = "class_names.json"
MODEL_CARD_FILE = "MODEL_CARD.md"
FIGURES_DIR = "figures"
SIGNATURE_FILE = "model.sig"
SAVED_MODEL_FILE = "saved_model.pb"
SIGNATURE = "serving_default"
INPUT_NAME = "image"
OUTPUT_NAME = "probabilities"
DISTANCE_NAME = "chest_distance"
"""Optional output float32 [B]: distance of a slice from chest slices in features; 1 is the median of unseen ones."""
FAMILIARITY_NAME = "familiarity_distance"
"""Optional output float32 [B]: distance of a slice from the training slices as they were; 1 is the median of unseen."""
ATTENTION_NAME = "attention"
"""Optional output float32 [B, h, w, C]: logits by place, whose mean over places is the logits."""
STAGING_PREFIX = ".tmp-"
"""A folder with this prefix is a version being written, or what a killed run left of one."""

MAX_MANIFEST_BYTES = 8 * 1024 * 1024
MAX_VERSION_BYTES = 16 * 1024**3
"""By the manifest, all files together: a sparse file costs nobody anything but who reads it."""

_OF_A_VARIANT = ("metrics", "thresholds", "chest_gate", "familiarity", "warnings", "golden_tolerance")
"""Fields of the manifest that a variant has, too."""


class ArtifactError(Exception):
    """The folder is no version that may serve; str() says why, without paths outside it."""


class ManifestError(ArtifactError):
    """No manifest, or one that this code does not understand."""


class CorruptArtifact(ArtifactError):
    """A file is missing, additional bytes are there, or bytes differ from the manifest."""


class FileDigest(BaseModel):
    """What one file of the version must be."""

    model_config = ConfigDict(frozen=True)

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class Manifest(BaseModel):
    """manifest.json: everything that a reader of the version may rely on.

    Fields that only people and dashboards read (dataset, split, metrics, training) stay plain JSON, so that a trainer
    can add to them without breaking a service that is older than itself.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[1] = 1
    model_name: str
    model_version: int = Field(ge=1)
    created: datetime
    architecture: str
    classes: ClassSet
    preprocessing: PreprocessingSpec
    dataset: dict[str, JsonValue]
    split: dict[str, JsonValue]
    metrics: dict[str, JsonValue]
    thresholds: DecisionRules | None = None
    """How probabilities become a decision; None where the trainer chose no rules."""
    chest_gate: ChestGate | None = None
    """What is refused as no chest CT slice; None in versions that were published before there were limits."""
    familiarity: FamiliarityRules | None = None
    """What the version knows; None in versions that answer whatever they are shown."""
    variants: dict[VariantName, Variant] = {}
    """Other precisions of the same model; each has files, rules and limits of its own."""
    training: dict[str, JsonValue] = {}
    warnings: tuple[str, ...] = ()
    golden_tolerance: float = Field(gt=0, le=0.1)
    seed: int
    libraries: dict[str, str]
    duration_s: float = Field(ge=0)
    files: dict[str, FileDigest]

    def trained_on(self, kind: ImageType) -> bool:
        """Whether training slices came as such files. Versions from before DICOM was read do not say: False."""
        formats = self.dataset.get("formats")
        return isinstance(formats, dict) and bool(formats.get(kind))

    def as_served(self, variant: VariantName | None) -> Self:
        """The manifest with the figures, rules and limits of the variant that serves; None is the SavedModel."""
        if variant is None:
            return self
        own = self.variants[variant]
        return self.model_copy(update={name: getattr(own, name) for name in _OF_A_VARIANT})

    @field_validator("thresholds", mode="before")
    @classmethod
    def _or_none(cls, thresholds: object) -> object:
        """Versions published before there were rules have an empty object."""
        return thresholds or None

    @model_validator(mode="after")
    def _rules_are_for_these_classes(self) -> Self:
        for rules in (self.thresholds, *(variant.thresholds for variant in self.variants.values())):
            if rules and (rules.class_names, rules.target_class) != (self.classes.names, self.classes.target):
                raise ValueError(f"thresholds are for {rules.class_names}, the model is for {self.classes.names}")
        return self


def read_manifest(version_dir: Path, number: str | None = None) -> Manifest:
    """The manifest in a version's folder, or in a folder of another name where the version's number is given.

    Raises ManifestError where it is missing, too large, malformed, of an unknown schema or of another version, or holds
    numbers that JSON has no way to write (1e999 reads as infinity).
    """
    try:
        with (version_dir / MANIFEST_FILE).open("rb") as file:
            text = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError as error:
        raise ManifestError(f"{MANIFEST_FILE} is missing") from error
    if len(text) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"{MANIFEST_FILE} is larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"{MANIFEST_FILE} is not understood: {where or 'document'}: {first['msg']}") from error
    try:
        json.dumps(manifest.model_dump(mode="json"), allow_nan=False)  # as /model-info does
    except ValueError as error:
        raise ManifestError(f"{MANIFEST_FILE} is not understood: a number is not finite") from error
    number = number or version_dir.name
    if str(manifest.model_version) != number:
        raise ManifestError(f"{MANIFEST_FILE} is of version {manifest.model_version}, the folder is {number}")
    of_variants = (
        f"{variant_dir(name)}/{file}"
        for name in manifest.variants
        for file in (VARIANT_MODEL_FILE, VARIANT_WEIGHTS_FILE, GOLDEN_FILE)
    )
    for required in (SAVED_MODEL_FILE, GOLDEN_FILE, *of_variants):
        if required not in manifest.files:
            raise ManifestError(f"{MANIFEST_FILE} does not list {required}")
    return manifest


def variant_dir(name: VariantName) -> str:
    """Where the files of a variant lie, relative to the version."""
    return f"{VARIANTS_DIR}/{name}"


def digest_file(path: Path) -> FileDigest:
    """SHA-256 and size."""
    with path.open("rb") as file:
        return FileDigest(sha256=hashlib.file_digest(file, "sha256").hexdigest(), size=file.tell())


def digest_files(version_dir: Path) -> dict[str, FileDigest]:
    """Digest of every file of a version but its manifest and signature, by POSIX path relative to the version."""
    last = (MANIFEST_FILE, SIGNATURE_FILE)
    paths = sorted(path for path in version_dir.rglob("*") if path.is_file() and path.name not in last)
    return {path.relative_to(version_dir).as_posix(): digest_file(path) for path in paths}


def verify_files(version_dir: Path, manifest: Manifest) -> None:
    """Compare every listed file with its digest. Raises CorruptArtifact naming the first that differs."""
    require_bounded(manifest)
    root = version_dir.resolve()
    for name, expected in manifest.files.items():
        path = version_dir / PurePosixPath(name)
        if not is_file(path):  # first: the next line raises for names that no file can have and for circular links
            raise CorruptArtifact(f"{name} is missing")
        if not path.resolve().is_relative_to(root):
            raise CorruptArtifact(f"{name} lies outside the version")
        try:
            if path.stat().st_size != expected.size:
                raise CorruptArtifact(f"{name} has {path.stat().st_size} bytes, not {expected.size}")
            if digest_file(path) != expected:
                raise CorruptArtifact(f"{name} differs from its checksum")
        except FileNotFoundError as error:
            raise CorruptArtifact(f"{name} is missing") from error


def require_bounded(manifest: Manifest) -> None:
    """Raises CorruptArtifact where the listed files are larger than any version: before they are read or copied."""
    if sum(file.size for file in manifest.files.values()) > MAX_VERSION_BYTES:
        raise CorruptArtifact(f"the files are larger than {MAX_VERSION_BYTES} bytes together")


def is_file(path: Path) -> bool:
    """As Path.is_file(), also where the name is longer than any file's. Raises OSError where that cannot be told."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno == ENAMETOOLONG:
            return False
        raise
