"""What DICOM files of other parts and modalities show, as a sender would post it: CT as the file, the rest as PNG.

A picture comes once, whatever number of files hold it in different transfer syntaxes.
"""

import hashlib
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import pixel_array

_KINDS = {
    "CT": "CT, other parts", "CR": "X-ray", "DX": "X-ray", "MR": "MR", "US": "ultrasound", "NM": "scintigram",
}  # fmt: skip
_EVERY = 10  # frames of a film are alike
_MIN_SIDE = 32  # as the service accepts them
_WINDOW = (1, 99.5)  # percentiles that become black and white


def dicom_kinds(folder: Path) -> dict[str, list[bytes]]:
    """Bodies to post, by kind; files that cannot be decoded are left out."""
    kinds: dict[str, list[bytes]] = defaultdict(list)
    known: set[bytes] = set()
    for file in sorted(folder.rglob("*.dcm")):
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
            kind = _KINDS[header.Modality]
            pixels = pixel_array(file)
        except Exception:  # pydicom ships files that are broken on purpose, each in its own way
            continue
        axes = 3 if header.SamplesPerPixel > 1 else 2
        frames = pixels.reshape(-1, *pixels.shape[-axes:])
        for number, frame in enumerate(frames[::_EVERY]):
            digest = hashlib.sha256(_small(frame).tobytes()).digest()
            if min(frame.shape[:2]) < _MIN_SIDE or digest in known or (kind == _KINDS["CT"] and number):
                continue
            known.add(digest)
            shown = _shown(frame, is_inverted=header.PhotometricInterpretation == "MONOCHROME1")
            kinds[kind].append(file.read_bytes() if kind == _KINDS["CT"] else _png(shown))
    return dict(kinds)


def _shown(frame: NDArray[np.generic], *, is_inverted: bool) -> NDArray[np.uint8]:
    values = frame.astype(np.float32)
    low, high = np.percentile(values, _WINDOW)
    grey = np.clip((values - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
    return 255 - grey if is_inverted else grey


def _small(frame: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Coarse enough to be the same for one picture stored with and without loss."""
    return cv2.resize(_shown(frame, is_inverted=False), (8, 8), interpolation=cv2.INTER_AREA) // 32


def _png(picture: NDArray[np.uint8]) -> bytes:
    shown = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    return cv2.imencode(".png", shown)[1].tobytes()
