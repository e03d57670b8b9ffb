"""What DICOM files of other parts and modalities show, as a sender would post it: CT as the file, the rest as PNG.

A picture comes once, whatever number of files hold it in different transfer syntaxes.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.utils import pixel_array

from service.explain.png import encode_png

CT = "CT, other parts"
_KINDS = {
    "CT": CT, "CR": "X-ray", "DX": "X-ray", "MR": "MR", "US": "ultrasound", "NM": "scintigram",
}  # fmt: skip
_EVERY = 10  # frames of a film are alike
_MIN_SIDE = 32  # as the service accepts them
_WINDOW = (1, 99.5)  # percentiles that become black and white


def dicom_kinds(folders: Iterable[Path]) -> dict[str, list[bytes]]:
    """Bodies to post, by kind; files of other modalities, and those that cannot be decoded, are left out."""
    kinds: dict[str, list[bytes]] = defaultdict(list)
    known: set[bytes] = set()
    for file in (file for folder in folders for file in sorted(folder.rglob("*.dcm"))):
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
            kind = _KINDS[header.Modality]
            pixels = pixel_array(file)
        except Exception:  # pydicom ships files that are broken on purpose, each in its own way
            continue
        is_ct, axes = header.Modality == "CT", 3 if header.SamplesPerPixel > 1 else 2
        frames = pixels.reshape(-1, *pixels.shape[-axes:])
        for frame in frames[:1] if is_ct else frames[::_EVERY]:
            picture = _shown(frame, is_inverted=header.PhotometricInterpretation == "MONOCHROME1")
            look = _coarse(picture)
            if min(frame.shape[:2]) >= _MIN_SIDE and look not in known:
                known.add(look)
                kinds[kind].append(file.read_bytes() if is_ct else encode_png(picture))
    return dict(kinds)


def _shown(frame: NDArray[np.generic], *, is_inverted: bool) -> NDArray[np.uint8]:
    values = frame.astype(np.float32)
    low, high = np.percentile(values, _WINDOW)
    grey: NDArray[np.uint8] = np.clip((values - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
    return np.invert(grey) if is_inverted else grey


def _coarse(picture: NDArray[np.uint8]) -> bytes:
    """Mostly the same for one picture stored with and without loss."""
    return (cv2.resize(picture, (8, 8), interpolation=cv2.INTER_AREA) // 32).tobytes()
