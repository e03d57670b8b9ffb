"""Any accepted file becomes one grey slice by the same function."""

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from shared.dicom.errors import NoSuchFrame
from shared.dicom.scan_tags import ScanTags
from shared.raster.decode import RasterLimits, TooManyPixels, Undecodable
from shared.slices import SliceDecoder
from shared.window import WHOLE_16_BIT, Window
from tests.support.inputs.dicom_files import ct_file, hounsfield
from tests.support.inputs.image_files import grey_png, jpeg, png
from tests.support.inputs.slices import grey_slice

GREY = grey_slice(1, 128)


@pytest.fixture(scope="module")
def decoder() -> Iterator[SliceDecoder]:
    """One for all tests, whose process for DICOM ends with them."""
    with closing(SliceDecoder()) as decoder:
        yield decoder


def test_what_a_file_is_comes_with_its_slice(decoder: SliceDecoder) -> None:
    """JPEG, PNG and DICOM; air is known where the file has Hounsfield units."""
    files = {"jpeg": jpeg(GREY), "png": png(GREY), "dicom": ct_file(hounsfield(GREY))}
    decoded = {kind: decoder.decode(body, Window(level=-600, width=1600)) for kind, body in files.items()}
    assert [one.kind for one in decoded.values()] == list(files)
    assert [one.frames for one in decoded.values()] == [1, 1, 1]
    assert [one.tags for one in decoded.values()] == [None, None, ScanTags()]
    assert [one.air_grey for one in decoded.values()] == [None, None, 64]
    np.testing.assert_array_equal(decoded["png"].grey, GREY)


def test_the_window_of_16_bits_is_stated(decoder: SliceDecoder) -> None:
    """All values that they have by the file, or the one that was asked for; 8 bits have none."""
    samples = GREY.astype(np.int64) << 4
    body = grey_png(samples, 16, extra=[(b"sBIT", b"\x0c")])
    assert decoder.decode(body).window == Window(level=2048, width=4096)
    assert decoder.decode(body, level=1000, width=500).window == Window(level=1000, width=500)
    assert decoder.decode(grey_png(samples << 4, 16)).window == WHOLE_16_BIT
    assert decoder.decode(png(GREY)).window is None


def test_a_header_that_was_read_is_not_read_again(decoder: SliceDecoder) -> None:
    """Who knows it hands it over: decode() holds the pixels against it, and looks no further."""
    body, other = png(GREY), decoder.read_header(png(GREY[:64]))
    assert decoder.decode(body, header=decoder.read_header(body)).header == decoder.read_header(body)
    with pytest.raises(Undecodable):
        decoder.decode(body, header=other)


def test_a_header_refuses_what_need_not_be_decoded(decoder: SliceDecoder) -> None:
    """A picture that is too large, or a second frame of one that has one; DICOM is for its own process to read."""
    with pytest.raises(TooManyPixels), closing(SliceDecoder(RasterLimits(max_pixels=1000))) as small:
        small.read_header(png(GREY))
    for body in (jpeg(GREY), png(GREY)):
        assert decoder.read_header(body, 1) == decoder.read_header(body)
        with pytest.raises(NoSuchFrame):
            decoder.read_header(body, 2)
    assert decoder.read_header(ct_file(hounsfield(GREY)), 2) is None
