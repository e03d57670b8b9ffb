"""What is encoded is decoded by others as it was."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from service.explain.png import encode_png


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (64, 64), (3, 5, 3), (536, 512, 3), (2, 1, 3)])
def test_pillow_and_opencv_read_every_pixel(shape: tuple[int, ...]) -> None:
    """Noise, which no filter smooths; colour is red first."""
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    png = encode_png(picture)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), picture)
    read = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read if len(shape) == 2 else read[..., ::-1], picture)


def test_a_smooth_picture_is_small() -> None:
    """A slope takes a hundredth of its pixels."""
    slope = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    assert len(encode_png(slope)) < slope.size / 100


def test_a_comment_is_read_by_others() -> None:
    """As the text "Comment"; what Latin-1 lacks is a question mark, and no chunk is there where nothing was said."""
    grey = np.zeros((4, 4), np.uint8)
    assert PngImageFile(io.BytesIO(encode_png(grey, "naïve → 1"))).text == {"Comment": "naïve ? 1"}
    assert PngImageFile(io.BytesIO(encode_png(grey))).text == {}
