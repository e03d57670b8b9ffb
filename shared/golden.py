"""golden.npz: synthetic slices and what was answered to them at publishing, by which every engine proves itself.

Read without trust: whoever can write to the repository could have written it.
"""

import io
import re
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from shared.artifact import GOLDEN_FILE, ArtifactError, CorruptArtifact, Manifest

MAX_GOLDEN_BYTES = 64 * 1024 * 1024
_MOST_MEMBERS = 16
"""Of golden.npz, which has two: ZipFile makes an object for each, half a KB for 46 bytes."""
_ARRAY_HEADER = re.compile(
    rb"\{'descr': '([<|]\w{1,4})', 'fortran_order': (False|True), 'shape': \(([\d, ]{0,64})\),? ?\}\s*"
)
"""As NumPy writes it; NumPy would have Python's parser read it, which nesting alone drives to a MemoryError."""


class GoldenMismatch(ArtifactError):
    """The engine does not give the probabilities that were given at publishing."""


class Golden(BaseModel):
    """Inputs that are no patient's, and the probabilities that they were given: by Keras, or by the variant itself.

    images: uint8 [n, height, width, 1]; probabilities: float32 [n, classes].
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    images: NDArray[np.uint8]
    probabilities: NDArray[np.float32]

    def compare(self, probabilities: NDArray[np.float32], tolerance: float) -> None:
        """Raises GoldenMismatch where an engine's answer differs by more than tolerance."""
        if probabilities.shape != self.probabilities.shape:
            raise GoldenMismatch(f"golden replay gave shape {probabilities.shape}, not {self.probabilities.shape}")
        difference = float(np.max(np.abs(probabilities - self.probabilities)))
        if not difference <= tolerance:  # also true for NaN
            raise GoldenMismatch(f"golden replay differs by {difference:.2g}; the manifest allows {tolerance:.2g}")


def write_golden(path: Path, golden: Golden) -> None:
    """Write golden.npz."""
    np.savez_compressed(path, images=golden.images, probabilities=golden.probabilities)


def read_golden(version_dir: Path, manifest: Manifest, folder: str = "") -> Golden:
    """The golden slices of a version, or those in a folder of it: shared.artifact.variant_dir() has a variant's.

    Raises CorruptArtifact where golden.npz is missing, malformed or does not fit the manifest.
    """
    name = f"{folder}/{GOLDEN_FILE}" if folder else GOLDEN_FILE
    try:
        with (version_dir / name).open("rb") as file:
            content = file.read(MAX_GOLDEN_BYTES + 1)
    except FileNotFoundError as error:
        raise CorruptArtifact(f"{name} is missing") from error
    if len(content) > MAX_GOLDEN_BYTES:
        raise CorruptArtifact(f"{name} is larger than {MAX_GOLDEN_BYTES} bytes")
    try:
        if content.count(zipfile.stringCentralDir) > _MOST_MEMBERS:  # type: ignore[attr-defined]
            raise CorruptArtifact(f"{name} has more than {_MOST_MEMBERS} members")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_GOLDEN_BYTES:
                raise CorruptArtifact(f"{name} unpacks to more than {MAX_GOLDEN_BYTES} bytes")
            images, probabilities = _read_array(archive, "images"), _read_array(archive, "probabilities")
    except (CorruptArtifact, MemoryError):
        raise
    except Exception as error:  # zipfile lets through whatever its parts raise on damaged or unusual archives
        raise CorruptArtifact(f"{name} cannot be read") from error
    spec, count = manifest.preprocessing, len(images) if images.ndim else 0
    if (
        images.dtype != np.uint8
        or images.shape != (count, spec.height, spec.width, 1)
        or probabilities.dtype != np.float32
        or probabilities.shape != (count, len(manifest.classes.names))
        or count == 0
        or not np.isfinite(probabilities).all()
    ):
        raise CorruptArtifact(f"{name} does not fit the manifest's preprocessing and classes")
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
