"""JPEG or PNG bytes → one grey slice.

The header is judged before a pixel exists, and a file that cannot be decoded whole is refused: OpenCV fills what is
missing of a truncated or corrupt JPEG with grey and says nothing, which a classifier would read as tissue.
"""

import contextlib
import struct
import threading
from dataclasses import dataclass
from typing import Any, Literal, Self

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from shared.raster.exif import upright
from shared.raster.jpeg_segments import is_progressive, orientation_of_whole
from shared.raster.png_chunks import SIGNATURE, still_png
from shared.window import WHOLE_16_BIT, Window, whole_range

GreySlice = NDArray[np.uint8]
"""uint8 [height, width]; 0 is black."""

ImageBytes = bytes | bytearray
"""A whole file, as it was sent or stored."""

ImageType = Literal["jpeg", "png", "dicom"]

Pixels = NDArray[Any]
"""uint8 or uint16, as decoded."""


class SliceError(ValueError):
    """The bytes are no slice that can be classified; str() is a sentence fit for the sender."""

    arguments: tuple[Any, ...]
    """What it was made of: enough to make it again in another process."""

    def __new__(cls, *arguments: Any) -> Self:
        """Keep the arguments; ValueError keeps the sentence."""
        error = super().__new__(cls, *arguments)
        error.arguments = arguments
        return error


class NotAnImageType(SliceError):
    """Neither JPEG nor PNG nor DICOM."""

    def __init__(self, came: str) -> None:
        super().__init__(f"Expected a JPEG, PNG or DICOM image, got {came}.")


class TooManyPixels(SliceError):
    """More pixels than the limit, by the header."""

    def __init__(self, width: int, height: int, max_pixels: int) -> None:
        super().__init__(f"The image is {width} x {height} pixels; at most {max_pixels} pixels are accepted.")


class TooSmall(SliceError):
    """A side is shorter than the limit, by the header."""

    def __init__(self, width: int, height: int, min_side: int) -> None:
        super().__init__(f"The image is {width} x {height} pixels; each side must have at least {min_side}.")


class Undecodable(SliceError):
    """Truncated or corrupt."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The image cannot be decoded whole: {what}.")


class UnknownDepth(Undecodable):
    """A PNG of 16 bits a sample, of which fewer seem to be used, and that does not say how many."""

    def __init__(self) -> None:
        SliceError.__init__(
            self,
            "The PNG has 16 bits a sample, but no value above 4095: it seems to hold 12-bit values. "
            "Say so in its sBIT chunk, or scale them to 16 bits.",
        )


@dataclass(frozen=True)
class RasterLimits:
    """What a header may announce. 4096 x 4096 pixels of the costliest kind, 16-bit RGBA, take 384 MiB and a second."""

    max_pixels: int = 16 * 1024 * 1024
    min_side: int = 32


DEFAULT_LIMITS = RasterLimits()

_LARGE_BYTES = 16 * 1024 * 1024  # of pixels of four channels: 4 Mi pixels of 8 bits, 2 Mi of 16
_TURN = threading.Lock()

_JPEG = b"\xff\xd8\xff"
_OTHERS = (
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"RIFF", "a RIFF file (WebP?)"),
    (b"%PDF", "a PDF document"),
    (b"PK\3\4", "a ZIP archive"),
)


@dataclass(frozen=True)
class RasterHeader:
    """What the header says of the pixels that follow."""

    kind: Literal["jpeg", "png"]
    width: int
    height: int
    bit_depth: int = 8
    """Of a sample."""
    is_grey: bool = False
    """It has no channels that could hold a colour."""
    is_cmyk: bool = False
    has_alpha: bool = False
    is_progressive: bool = False
    """A JPEG in many scans: each one costs as much to decode as a whole image."""

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height

    def turn(self) -> contextlib.AbstractContextManager[object]:
        """To hold while its pixels are decoded: of large images one at a time is, in the whole process.

        The largest takes 384 MiB, its rows and twice its pixels in OpenCV: several at a time would take all memory.
        """
        is_large = self.pixels * 4 * max(1, self.bit_depth // 8) > _LARGE_BYTES
        return _TURN if is_large else contextlib.nullcontext()


def read_header(body: ImageBytes, limits: RasterLimits = DEFAULT_LIMITS) -> RasterHeader:
    """Read the header of a JPEG or PNG alone, in microseconds.

    Raises NotAnImageType, TooManyPixels or TooSmall, or Undecodable where there is no whole header.
    """
    kind = image_type(body)
    if kind == "dicom":  # shared.slices sends it elsewhere
        raise NotAnImageType("a DICOM file where only the other two are read")
    header = _jpeg_header(body) if kind == "jpeg" else _png_header(body)
    if header.pixels > limits.max_pixels:
        raise TooManyPixels(header.width, header.height, limits.max_pixels)
    if min(header.width, header.height) < limits.min_side:
        raise TooSmall(header.width, header.height, limits.min_side)
    return header


def image_type(body: ImageBytes) -> ImageType:
    """Which of the accepted types the first bytes announce.

    Raises NotAnImageType, naming what came as far as it is known.
    """
    if body.startswith(_JPEG):
        return "jpeg"
    if body.startswith(SIGNATURE):
        return "png"
    if body[128:132] == b"DICM":  # PS3.10, 7.1; what stands before it is free
        return "dicom"
    for magic, name in _OTHERS:
        if body.startswith(magic):
            raise NotAnImageType(name)
    if not body:
        raise NotAnImageType("an empty file")
    start = body[:256]
    if b"\0" in start or not start.isascii():
        raise NotAnImageType("bytes of an unknown type")
    if start.lstrip()[:1] in (b"{", b"["):
        raise NotAnImageType("JSON: send the bytes of the file itself, as a form field or as the raw body")
    if start.startswith(b"data:"):
        raise NotAnImageType("a data: address: send the bytes that it encodes")
    raise NotAnImageType("text")


def decode_grey(
    body: ImageBytes,
    limits: RasterLimits = DEFAULT_LIMITS,
    window: Window | None = None,
    header: RasterHeader | None = None,
) -> GreySlice:
    """Decode a whole JPEG or PNG (8 or 16 bit, the still picture of an animated one) to one grey channel.

    EXIF orientation is applied, alpha is composited over black, CMYK is converted. window: which of the 65,536 values
    of 16 bits are seen; None is all that the file uses, and 8 bits stay as they are. header: what read_header() said
    within these limits, where it was asked before. Returns uint8 [height, width]. Raises NotAnImageType, TooManyPixels,
    TooSmall, Undecodable or UnknownDepth.
    """
    return decode_windowed(body, limits, window, header)[0]


def decode_windowed(
    body: ImageBytes, limits: RasterLimits, window: Window | None, header: RasterHeader | None
) -> tuple[GreySlice, Window | None]:
    """What decode_grey() returns, and the window that 16 bits are seen in: None where there are 8 bits."""
    header = header or read_header(body, limits)
    try:
        with header.turn():
            if header.kind == "jpeg":
                return _decode_jpeg(body, header, limits), None
            return _decode_png(body, header, window)
    except UnknownDepth as error:
        raise error.with_traceback(None) from None  # whose frames hold pixels until it is answered
    except ValueError as error:
        raise Undecodable(str(error)) from error.with_traceback(None)


# --- JPEG -------------------------------------------------------------------------------------------------------------


def _jpeg_header(body: ImageBytes) -> RasterHeader:
    try:
        progressive = is_progressive(body)  # first: it bounds what the decoder looks through to find the frame
        height, width, colourspace, _ = simplejpeg.decode_jpeg_header(body)
    except ValueError as error:
        raise Undecodable(str(error)) from error
    is_cmyk = colourspace in ("CMYK", "YCCK")
    return RasterHeader(
        "jpeg", width, height, is_grey=colourspace == "Gray", is_cmyk=is_cmyk, is_progressive=progressive
    )


def _decode_jpeg(body: ImageBytes, header: RasterHeader, limits: RasterLimits) -> GreySlice:
    orientation = orientation_of_whole(body, limits.max_pixels)
    # strict: libjpeg's warnings (premature end, corrupt data) are errors, also where the end marker was pasted back
    if header.is_cmyk:
        # Adobe writes CMYK inverted (255 is no ink), which makes each channel times K a light intensity
        grey = _weighted_grey(simplejpeg.decode_jpeg(body, "CMYK", strict=True), cv2.COLOR_RGBA2GRAY)
    else:
        grey = simplejpeg.decode_jpeg(body, "GRAY", strict=True)[:, :, 0]
    return upright(grey, orientation)


# --- PNG --------------------------------------------------------------------------------------------------------------

_GREY, _GREY_ALPHA, _COLOUR_ALPHA = 0, 4, 6  # colour types, PNG 3rd edition, 11.2.1


def _png_header(body: ImageBytes) -> RasterHeader:
    # 8 signature, 4 length, 4 "IHDR", then width, height, bit depth, colour type
    if len(body) < 33 or body[12:16] != b"IHDR":
        raise Undecodable("the PNG header is incomplete")
    width, height, bit_depth, colour_type = struct.unpack_from(">IIBB", body, 16)
    is_grey, has_alpha = colour_type in (_GREY, _GREY_ALPHA), colour_type in (_GREY_ALPHA, _COLOUR_ALPHA)
    return RasterHeader("png", width, height, bit_depth, is_grey=is_grey, has_alpha=has_alpha)


def _decode_png(body: ImageBytes, header: RasterHeader, window: Window | None) -> tuple[GreySlice, Window | None]:
    png = still_png(body)
    orientation, transparency, significant_bits = png.orientation, png.transparency, png.significant_bits
    bit_depth, colour_type = header.bit_depth, body[25]
    # a transparent colour becomes alpha but in a grey image, where OpenCV ignores it
    has_alpha = header.has_alpha or (transparency is not None and colour_type != _GREY)
    flags = cv2.IMREAD_UNCHANGED if has_alpha else cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
    try:
        pixels = cv2.imdecode(np.frombuffer(png.body, np.uint8), flags)
    except cv2.error:
        pixels = None
    del png  # as large as the pixels
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise ValueError("the PNG data is corrupt")
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = _weighted_grey(pixels, cv2.COLOR_BGRA2GRAY)
    elif pixels.ndim == 3:  # a malformed tRNS makes no alpha
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    elif transparency is not None:
        step = 255 // (2**bit_depth - 1) if bit_depth < 8 else 1  # OpenCV spreads 1, 2 and 4 bits over 8
        pixels[pixels == int.from_bytes(transparency, "big") * step] = 0
    if pixels.dtype != np.uint16:
        return upright(np.asarray(pixels, np.uint8), orientation), None
    if window is None:  # alpha darkens, so that the greatest value says nothing
        window = WHOLE_16_BIT if has_alpha else whole_range(int(pixels.max()), significant_bits)
    if window is None:
        raise UnknownDepth
    return upright(window.apply(pixels), orientation), window


# --- both -------------------------------------------------------------------------------------------------------------

_BAND = 512  # rows at a time: all that stands between a large image and its grey at once would be as large as it is


def _weighted_grey(pixels: Pixels, to_grey: int) -> Pixels:
    """[height, width, 4] → grey times the fourth channel: light times K, or alpha over black."""
    grey = np.empty(pixels.shape[:2], pixels.dtype)
    for top in range(0, len(pixels), _BAND):
        band = pixels[top : top + _BAND]
        fourth, light = np.ascontiguousarray(band[:, :, 3]), cv2.cvtColor(band, to_grey)
        cv2.multiply(light, fourth, grey[top : top + _BAND], scale=1 / np.iinfo(pixels.dtype).max)
    return grey
