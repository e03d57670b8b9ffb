"""JPEG or PNG bytes → one grey slice.

The header is judged before a pixel exists, and a file that cannot be decoded whole is refused: OpenCV fills what is
missing of a truncated or corrupt JPEG with grey and says nothing, which a classifier would read as tissue.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

GreySlice = NDArray[np.uint8]
"""uint8 [height, width]; 0 is black."""

ImageBytes = bytes | bytearray
"""A whole file, as it was sent or stored."""


class SliceError(ValueError):
    """The bytes are no slice that can be classified; str() is a sentence fit for the sender."""


class NotAnImageType(SliceError):
    """Neither JPEG nor PNG."""

    def __init__(self, came: str) -> None:
        super().__init__(f"Expected a JPEG or PNG image, got {came}.")


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


@dataclass(frozen=True)
class RasterLimits:
    """What a header may announce. The pixel bound keeps a decoded slice (and a PNG bomb) at 64 MiB of grey pixels."""

    max_pixels: int = 64 * 1024 * 1024
    min_side: int = 32


DEFAULT_LIMITS = RasterLimits()

_PNG = b"\x89PNG\r\n\x1a\n"
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


def image_type(body: ImageBytes) -> Literal["jpeg", "png"]:
    """Which of the two accepted types the first bytes announce.

    Raises NotAnImageType, naming what came as far as it is known.
    """
    if body.startswith(_JPEG):
        return "jpeg"
    if body.startswith(_PNG):
        return "png"
    for magic, name in _OTHERS:
        if body.startswith(magic):
            raise NotAnImageType(name)
    raise NotAnImageType("text" if body[:256].isascii() else "bytes of an unknown type")


def decode_grey(body: ImageBytes, limits: RasterLimits = DEFAULT_LIMITS) -> GreySlice:
    """Decode a whole JPEG or PNG (8 or 16 bit, first frame) to one grey channel.

    EXIF orientation is applied, alpha is composited over black, CMYK is converted, 16 bit keeps its high byte.
    Returns uint8 [height, width]. Raises NotAnImageType, TooManyPixels, TooSmall or Undecodable.
    """
    return _decode_jpeg(body, limits) if image_type(body) == "jpeg" else _decode_png(body, limits)


def _check(width: int, height: int, limits: RasterLimits) -> None:
    if width * height > limits.max_pixels:
        raise TooManyPixels(width, height, limits.max_pixels)
    if min(width, height) < limits.min_side:
        raise TooSmall(width, height, limits.min_side)


# --- JPEG -------------------------------------------------------------------------------------------------------------


def _decode_jpeg(body: ImageBytes, limits: RasterLimits) -> GreySlice:
    try:
        height, width, colourspace, _ = simplejpeg.decode_jpeg_header(body)
    except ValueError as error:
        raise Undecodable(str(error)) from error
    _check(width, height, limits)
    try:
        # strict: libjpeg's warnings (premature end, corrupt data) are errors, also where the end marker was pasted back
        if colourspace in ("CMYK", "YCCK"):
            grey = _grey_of_cmyk(simplejpeg.decode_jpeg(body, "CMYK", strict=True))
        else:
            grey = simplejpeg.decode_jpeg(body, "GRAY", strict=True)[:, :, 0]
    except ValueError as error:
        raise Undecodable(str(error)) from error
    return _upright(grey, _exif_orientation(body))


def _grey_of_cmyk(cmyk: NDArray[np.uint8]) -> GreySlice:
    """Adobe writes CMYK inverted (255 is no ink), which makes each channel times K a light intensity."""
    ink_free = cmyk.astype(np.uint16)
    rgb = (ink_free[:, :, :3] * ink_free[:, :, 3:] // 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def _jpeg_segments(body: ImageBytes) -> Iterator[tuple[int, memoryview]]:
    """(marker, payload) of each segment before the first scan; stops at whatever is malformed."""
    view, at = memoryview(body), 2
    while at + 4 <= len(view) and view[at] == 0xFF:
        marker, length = view[at + 1], int.from_bytes(view[at + 2 : at + 4], "big")
        if marker == 0xDA or length < 2:
            return
        yield marker, view[at + 4 : at + 2 + length]
        at += 2 + length


def _exif_orientation(body: ImageBytes) -> int:
    """EXIF tag 0x0112 of the zeroth IFD, 1 to 8; 1 (upright) where there is none or it is malformed."""
    for marker, payload in _jpeg_segments(body):
        if marker == 0xE1 and bytes(payload[:6]) == b"Exif\0\0":
            return _tiff_orientation(bytes(payload[6:]))
    return 1


def _tiff_orientation(tiff: bytes) -> int:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (ifd,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, ifd)
        for entry in range(ifd + 2, ifd + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == 0x0112:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _upright(grey: GreySlice, orientation: int) -> GreySlice:
    """Undo an EXIF orientation (Exif 2.3, 4.6.4 A: where row 0 and column 0 of the stored pixels are when upright)."""
    if orientation in (5, 6, 7, 8):
        grey = grey.T
    if orientation in (3, 4, 7, 8):
        grey = grey[::-1]
    if orientation in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    return np.ascontiguousarray(grey)


# --- PNG --------------------------------------------------------------------------------------------------------------

_HAS_ALPHA = (4, 6)  # grey and alpha, RGB and alpha (PNG 3rd edition, 11.2.1)


def _decode_png(body: ImageBytes, limits: RasterLimits) -> GreySlice:
    # 8 signature, 4 length, 4 "IHDR", then width, height, bit depth, colour type
    if len(body) < 33 or body[12:16] != b"IHDR":
        raise Undecodable("the PNG header is incomplete")
    width, height, _, colour_type = struct.unpack_from(">IIBB", body, 16)
    _check(width, height, limits)
    _check_png_is_whole(body)
    flags = cv2.IMREAD_UNCHANGED if colour_type in _HAS_ALPHA else cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
    try:
        decoded = cv2.imdecode(np.frombuffer(body, np.uint8), flags)
    except cv2.error:
        decoded = None
    if decoded is None or decoded.shape[:2] != (height, width):
        raise Undecodable("the PNG data is corrupt")
    pixels = _high_byte(np.asarray(decoded, np.uint16)) if decoded.dtype == np.uint16 else np.asarray(decoded, np.uint8)
    return _over_black(pixels) if pixels.ndim == 3 else pixels


def _high_byte(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return (pixels >> 8).astype(np.uint8)


def _check_png_is_whole(body: ImageBytes) -> None:
    """Walk the chunks to IEND, checking each CRC: finds truncation without libpng's messages on stderr."""
    view, at = memoryview(body), len(_PNG)
    while at + 12 <= len(view):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            break
        if bytes(view[at + 4 : at + 8]) == b"IEND":
            return
        at = end + 4
    raise Undecodable("the PNG ends early or a checksum differs")


def _over_black(pixels: NDArray[np.uint8]) -> GreySlice:
    """[height, width, 3 or 4] BGR(A) → grey, transparent pixels black, as around a reconstructed field of view."""
    grey = cv2.cvtColor(pixels[:, :, :3], cv2.COLOR_BGR2GRAY)
    if pixels.shape[2] == 4:
        grey = cv2.multiply(grey, np.ascontiguousarray(pixels[:, :, 3]), scale=1 / 255)
    return np.asarray(grey, np.uint8)
