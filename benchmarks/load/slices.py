"""What is sent: JPEG slices, by default drawn phantoms, so that anybody can run the benchmark without patient data."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from shared.raster.decode import decode_grey
from trainer.phantoms.phantom import draw_phantom

N_SLICES = 32
_BOUNDARY = "lungct-bench-4d2a"
CONTENT_TYPE = f"multipart/form-data; boundary={_BOUNDARY}"
"""Of every request."""

_SIDE = 512
_MAX_BYTES = 150_000  # real slices exported as JPEG have 80 to 280 KB


@dataclass(frozen=True)
class Workload:
    """The slices of a run, and what they are."""

    jpegs: tuple[bytes, ...]
    kind: str

    @property
    def mean_bytes(self) -> float:
        """Average size of a slice."""
        return sum(map(len, self.jpegs)) / len(self.jpegs)

    def write(self, folder: Path) -> None:
        """Each slice twice: <n>.jpg, and <n>.form as a multipart/form-data body with one field `file`."""
        folder.mkdir(parents=True)
        for number, jpeg in enumerate(self.jpegs):
            (folder / f"{number}.jpg").write_bytes(jpeg)
            (folder / f"{number}.form").write_bytes(form(jpeg))


def form(jpeg: bytes) -> bytes:
    """A multipart/form-data body with one field `file`, as CONTENT_TYPE says."""
    head = (
        f"--{_BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="slice.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + jpeg + f"\r\n--{_BOUNDARY}--\r\n".encode()


def find_workload() -> Workload:
    """Real slices where LUNGCT_TEST_DATA names a folder of them, copied for as long as a run takes; else phantoms."""
    folder = os.environ.get("LUNGCT_TEST_DATA", "")
    if folder and (jpegs := tuple(_real_slices(Path(folder)))):
        return Workload(jpegs, f"real CT slices of {_SIDE} x {_SIDE}")
    return Workload(tuple(_phantoms()), f"drawn phantoms of {_SIDE} x {_SIDE}")


def _phantoms() -> Iterator[bytes]:
    for number in range(N_SLICES):
        pixels = draw_phantom(number % 3, 1000 + number, number % 16, _SIDE)
        yield _encoded(np.repeat(pixels[:, :, np.newaxis], 3, axis=2))  # colour, as most viewers export


def _encoded(pixels: np.ndarray) -> bytes:
    """JPEG in the size of real ones: the highest quality that stays below the limit."""
    for quality in range(100, 60, -1):
        jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(jpeg) <= _MAX_BYTES:
            return jpeg
    raise ValueError(f"expected a phantom of at most {_MAX_BYTES} bytes as JPEG, got {len(jpeg)}")


def _real_slices(folder: Path) -> Iterator[bytes]:
    """Evenly picked over the folder, of the usual size only."""
    paths = sorted(folder.rglob("*.jpg"))
    usual = [path for path in paths if decode_grey(path.read_bytes()).shape == (_SIDE, _SIDE)]
    for number in range(min(N_SLICES, len(usual))):
        yield usual[number * len(usual) // N_SLICES].read_bytes()
