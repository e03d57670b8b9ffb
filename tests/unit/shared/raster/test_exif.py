import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from shared.raster.decode import decode_grey
from shared.raster.exif import orientation_of, upright
from tests.support.inputs.image_files import exif_tiff, grey_png, jpeg, with_exif

# not symmetric in any way, and without detail that JPEG would blur
UPRIGHT = np.kron(np.arange(10, 250, 20, dtype=np.uint8).reshape(3, 4), np.ones((16, 16), np.uint8))

# how a camera stores the picture for each orientation (Exif 2.3, 4.6.4 A): where its row 0 and column 0 are seen
STORED = {
    1: UPRIGHT,  # top, left
    2: UPRIGHT[:, ::-1],  # top, right
    3: UPRIGHT[::-1, ::-1],  # bottom, right
    4: UPRIGHT[::-1],  # bottom, left
    5: UPRIGHT.T,  # left, top
    6: np.rot90(UPRIGHT),  # right, top
    7: np.rot90(UPRIGHT, 2).T,  # right, bottom
    8: np.rot90(UPRIGHT, -1),  # left, bottom
}


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_a_jpeg_is_undone(orientation: int, order: str) -> None:
    """Whichever way a slice was stored, it comes out upright; Pillow sees it the same way."""
    body = with_exif(jpeg(STORED[orientation], quality=95), exif_tiff(orientation, order))
    grey = decode_grey(body)
    assert grey.shape == UPRIGHT.shape
    assert np.abs(grey.astype(int) - UPRIGHT).max() <= 3
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    stored.getexif()[0x0112] = orientation
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(stored)), UPRIGHT)


@pytest.mark.parametrize("bit_depth", [8, 16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_a_png_is_undone(orientation: int, bit_depth: int) -> None:
    """PNG says its orientation in a chunk of its own, for 8 and 16 bits alike."""
    samples = STORED[orientation].astype(np.uint16) << (bit_depth - 8)
    body = grey_png(samples, bit_depth, extra=[(b"eXIf", exif_tiff(orientation))])
    assert np.array_equal(decode_grey(body), UPRIGHT)


def test_pixels_come_in_reading_order() -> None:
    """Whatever was turned, the array is contiguous: engines and OpenCV read its memory as it lies."""
    for orientation, stored in STORED.items():
        assert upright(stored, orientation).flags.c_contiguous


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_means_upright(orientation: int) -> None:
    """Values that Exif does not define leave the pixels as they are."""
    assert orientation_of(exif_tiff(orientation)) == 1


@pytest.mark.parametrize(
    "tiff",
    [
        b"",
        b"MM",
        b"II*\0",
        b"MM\0*" + struct.pack(">I", 0xFFFFFFFF),
        b"MM\0*" + struct.pack(">IH", 8, 0xFFFF),
        b"XX\0*" + exif_tiff(6)[4:],
        exif_tiff(6)[:-7],
        exif_tiff(6)[:10],
        exif_tiff(6, "<").replace(b"II", b"MM"),
        b"MM\0*" + struct.pack(">IH", 8, 1) + struct.pack(">HHIHH", 0x0110, 3, 1, 6, 0),
    ],
)
def test_malformed_exif_means_upright(tiff: bytes) -> None:
    """EXIF is often damaged by programs that edit it; a slice is not refused for it."""
    assert orientation_of(tiff) == 1
    assert np.abs(decode_grey(with_exif(jpeg(UPRIGHT, quality=95), tiff)).astype(int) - UPRIGHT).max() <= 3


def test_random_exif_never_raises() -> None:
    """2,000 random and damaged structures give some orientation from 1 to 8."""
    random = np.random.default_rng(3)
    for _ in range(2000):
        tiff = bytearray(exif_tiff(6, random.choice(["<", ">"])))
        for at in random.integers(0, len(tiff), random.integers(1, 12)):
            tiff[at] = random.integers(256)
        assert orientation_of(bytes(tiff[: random.integers(len(tiff) + 1)])) in range(1, 9)
