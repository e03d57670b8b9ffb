"""One published version on disk: its layout, its manifest, and the proof that every byte is the one that was published.

<model>/3/  saved_model.pb  variables/  fingerprint.pb      the SavedModel, servable by TensorFlow Serving too
            manifest.json                                   written last; lists every other file
            golden.npz                                      synthetic slices and what Keras answered
            class_names.json  MODEL_CARD.md  figures/*.png
            variants/int8/                                  optional, see shared/variant.py
            model.sig                                       optional, see shared/signing.py; over everything else
"""

import hashlib
import io
import json
import re
import zipfile
from datetime import datetime
from errno import ENAMETOOLONG
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
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
MAX_GOLDEN_BYTES = 64 * 1024 * 1024
MAX_VERSION_BYTES = 16 * 1024**3
"""By the manifest, all files together: a sparse file costs nobody anything but who reads it."""
_MOST_MEMBERS = 16
"""Of golden.npz, which has two: ZipFile makes an object for each, half a KB for 46 bytes."""
_ARRAY_HEADER = re.compile(
    rb"\{'descr': '([<|]\w{1,4})', 'fortran_order': (False|True), 'shape': \(([\d, ]{0,64})\),? ?\}\s*"
)
"""As NumPy writes it; NumPy would have Python's parser read it, which nesting alone drives to a MemoryError."""


_OF_A_VARIANT = ("metrics", "thresholds", "chest_gate", "familiarity", "warnings", "golden_tolerance")
"""Fields of the manifest that a variant has, too."""


class ArtifactError(Exception):
    """The folder is no version that may serve; str() says why, without paths outside it."""


class ManifestError(ArtifactError):
    """No manifest, or one that this code does not understand."""


class CorruptArtifact(ArtifactError):
    """A file is missing, additional bytes are there, or bytes differ from the manifest."""


class GoldenMismatch(ArtifactError):
    """The engine does not give the probabilities that Keras gave at publishing."""


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


class Golden(BaseModel):
    """Inputs that are no patient's, and the probabilities that Keras gave them.

    images: uint8 [n, height, width, 1]; probabilities: float32 [n, classes].
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    images: NDArray[np.uint8]
    probabilities: NDArray[np.float32]

    def compare(self, probabilities: NDArray[np.float32], tolerance: float) -> None:
        """Raises GoldenMismatch where an engine's answer differs from Keras's by more than tolerance."""
        if probabilities.shape != self.probabilities.shape:
            raise GoldenMismatch(f"golden replay gave shape {probabilities.shape}, not {self.probabilities.shape}")
        difference = float(np.max(np.abs(probabilities - self.probabilities)))
        if not difference <= tolerance:  # also true for NaN
            raise GoldenMismatch(f"golden replay differs by {difference:.2g}; the manifest allows {tolerance:.2g}")


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


def write_golden(path: Path, golden: Golden) -> None:
    """Write golden.npz."""
    np.savez_compressed(path, images=golden.images, probabilities=golden.probabilities)


def read_golden(version_dir: Path, manifest: Manifest) -> Golden:
    """Raises CorruptArtifact where golden.npz is missing, malformed or does not fit the manifest."""
    try:
        with (version_dir / GOLDEN_FILE).open("rb") as file:
            content = file.read(MAX_GOLDEN_BYTES + 1)
    except FileNotFoundError as error:
        raise CorruptArtifact(f"{GOLDEN_FILE} is missing") from error
    if len(content) > MAX_GOLDEN_BYTES:
        raise CorruptArtifact(f"{GOLDEN_FILE} is larger than {MAX_GOLDEN_BYTES} bytes")
    try:
        if content.count(zipfile.stringCentralDir) > _MOST_MEMBERS:  # type: ignore[attr-defined]
            raise CorruptArtifact(f"{GOLDEN_FILE} has more than {_MOST_MEMBERS} members")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_GOLDEN_BYTES:
                raise CorruptArtifact(f"{GOLDEN_FILE} unpacks to more than {MAX_GOLDEN_BYTES} bytes")
            images, probabilities = _read_array(archive, "images"), _read_array(archive, "probabilities")
    except (CorruptArtifact, MemoryError):
        raise
    except Exception as error:  # zipfile lets through whatever its parts raise on damaged or unusual archives
        raise CorruptArtifact(f"{GOLDEN_FILE} cannot be read") from error
    spec, count = manifest.preprocessing, len(images) if images.ndim else 0
    if (
        images.dtype != np.uint8
        or images.shape != (count, spec.height, spec.width, 1)
        or probabilities.dtype != np.float32
        or probabilities.shape != (count, len(manifest.classes.names))
        or count == 0
        or not np.isfinite(probabilities).all()
    ):
        raise CorruptArtifact(f"{GOLDEN_FILE} does not fit the manifest's preprocessing and classes")
    return Golden(images=images, probabilities=probabilities)


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array of an .npz. numpy.load would allocate whatever shape the array's header claims; this does not.

    Raises anything but unpacks no more than the directory admits to, and nothing that is packed by bzip2 or LZMA:
    zipfile unpacks those whole, whatever it is asked for.
    """
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed by another method")
    with archive.open(member) as packed:
        magic, size = packed.read(8), int.from_bytes(packed.read(2), "little")
        header, content = _ARRAY_HEADER.fullmatch(packed.read(size)), packed.read(member.file_size)
    if magic != b"\x93NUMPY\1\0" or header is None:
        raise ValueError(f"{name} is no array in version 1.0 of the .npy format")
    shape = [int(axis) for axis in header[3].split(b",") if axis.strip()]
    order: Literal["C", "F"] = "F" if header[2] == b"True" else "C"
    return np.frombuffer(content, header[1].decode()).reshape(shape, order=order).copy()
