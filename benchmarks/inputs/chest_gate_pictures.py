"""Pictures that are no chest CT slice, kind by kind: shipped by packages, or read from folders and volumes.

Half of the kinds, drawn ones among them, were looked at while the limits of shared/chest_ct.py and the distance were
chosen (TUNED_ON); the others were not, and are what docs/explanation/chest-gate.md reports.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
"""uint8 [h, w] or RGB [h, w, 3]."""

_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")


TUNED_ON = (
    "uniform", "stripes and checkers", "white noise", "clouds", "page of text", "terminal", "shapes", "plot",
    "photographs (scikit-image, scikit-learn)", "MR (nilearn)",
)  # fmt: skip


def packaged_photographs(count: int) -> Iterator[Picture]:
    """Crops of the photographs and micrographs that scikit-image and scikit-learn ship, at random places and scales."""
    import skimage  # noqa: PLC0415
    import sklearn.datasets  # noqa: PLC0415

    names = (
        "coffee astronaut camera chelsea rocket hubble_deep_field motorcycle_left coins moon grass gravel brick cell"
    )
    files = [
        file
        for name in names.split()
        for file in Path(skimage.__file__).parent.glob(f"data/{name}.*")
        if file.suffix in _EXTENSIONS
    ]
    files += sorted(Path(sklearn.datasets.__file__).parent.glob("images/*.jpg"))
    yield from _crops([read(file) for file in files], count)


def folder(path: Path, count: int) -> Iterator[Picture]:
    """Pictures below a folder, evenly chosen; large ones as crops too where there are fewer than count."""
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _EXTENSIONS and not file.is_symlink())
    if len(files) >= count:
        chosen = [files[int(i)] for i in np.linspace(0, len(files) - 1, count)]
        yield from (picture for picture in map(read, chosen) if min(picture.shape[:2]) >= 32)
    else:
        yield from _crops([read(file) for file in files], count)


def volume(path: Path, count: int) -> Iterator[Picture]:
    """Slices of a NIfTI-1 volume (.nii, .nii.gz) along its three axes, evenly chosen, with 20 % of tissue or more."""
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    shape = np.frombuffer(data, "<i2", 8, 40)[1:4]
    kind = {2: "u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8", 512: "<u2"}[int(np.frombuffer(data, "<i2", 1, 70)[0])]
    start = int(np.frombuffer(data, "<f4", 1, 108)[0])
    values = np.frombuffer(data, kind, int(shape.prod()), start).reshape(shape, order="F").astype(np.float32)
    low, high = np.percentile(values, (1, 99.5))
    grey = np.clip((values - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    for axis in range(3):
        kept = [one for one in np.moveaxis(grey, axis, 0) if (one > 20).mean() > 0.2]
        for i in np.linspace(0, len(kept) - 1, min(len(kept), count // 3)):
            yield cv2.resize(np.rot90(kept[int(i)]).copy(), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


def read(file: Path) -> Picture:
    """Any picture; transparent parts are white, as most viewers show them."""
    picture: Image.Image = Image.open(file)
    if picture.mode in ("P", "LA", "RGBA", "PA"):
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    if picture.mode == "L":
        return np.asarray(picture)
    picture = picture.convert("RGB")
    picture.thumbnail((1600, 1600))
    return np.asarray(picture)


def _crops(pictures: list[Picture], count: int) -> Iterator[Picture]:
    random = np.random.default_rng(0)
    for number in range(count):
        picture = pictures[number % len(pictures)]
        if number >= len(pictures):
            side = int(min(picture.shape[:2]) * random.uniform(0.4, 1))
            top, left = (int(random.integers(0, length - side + 1)) for length in picture.shape[:2])
            picture = picture[top : top + side, left : left + side]
        if number % 3 == 2 and picture.ndim == 3:  # a third in grey, so that colour is not what gives them away
            picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
        yield np.ascontiguousarray(picture)
