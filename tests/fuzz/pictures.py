"""PNG and JPEG: the walkers over their structure, and the whole way to grey pixels."""

import contextlib
import zlib

import numpy as np

from shared.raster.decode import RasterLimits, SliceError, decode_grey, read_header
from shared.raster.jpeg_segments import is_progressive, orientation_of_whole
from shared.raster.png_chunks import SIGNATURE, still_png
from tests.fuzz.target import Target
from tests.support.inputs.image_files import (
    chunk_bytes,
    chunks_of,
    exif_tiff,
    grey_png,
    jpeg,
    jpeg_announcing,
    jpeg_segments,
    png,
    png_announcing,
    png_header,
    png_of,
    with_exif,
)
from tests.support.inputs.slices import grey_slice

_LIMITS = RasterLimits(max_pixels=512 * 512, min_side=1)
_GREY = grey_slice(3, side=48)
_COLOURS = np.stack([_GREY, _GREY.T, 255 - _GREY], axis=2)

# the first byte says what is done to the rest, so that a fuzzer gets past checksums and compression
_RAW, _SUMMED, _PACKED = range(3)


def _png_of(body: bytes) -> bytes:
    """The PNG that an input stands for: itself; with its checksums mended; its pixel data compressed, too."""
    mode, rest = body[0] % 3 if body else _RAW, body[1:]
    if mode == _RAW:
        return rest
    mended, at = [rest[:8]], 8
    while at + 8 <= len(rest):
        length = min(int.from_bytes(rest[at : at + 4], "big"), max(0, len(rest) - at - 12))
        kind, content = rest[at + 4 : at + 8], rest[at + 8 : at + 8 + length]
        if mode == _PACKED and kind == b"IDAT":
            content = zlib.compress(content, 1)
        mended.append(chunk_bytes(kind, content))
        at += 12 + length
    return b"".join(mended)


def _walk_png(body: bytes) -> None:
    picture = SIGNATURE + _png_of(body)[8:]
    try:
        read_header(picture, _LIMITS)  # as whoever calls the walker has done: it makes room for what is announced
        still = still_png(picture)
    except ValueError:
        return
    assert bytes(still.body[:8]) == SIGNATURE
    assert 1 <= still.orientation <= 8


def _decode_png(body: bytes) -> None:
    _decode(SIGNATURE + _png_of(body)[8:])


def _walk_jpeg(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        is_progressive(body)
    with contextlib.suppress(ValueError):
        assert 1 <= orientation_of_whole(body, _LIMITS.max_pixels) <= 8


def _decode_jpeg(body: bytes) -> None:
    _decode(b"\xff\xd8\xff" + body[3:])


def _decode(body: bytes) -> None:
    try:
        grey = decode_grey(body, _LIMITS)
    except SliceError:
        return
    assert grey.dtype == np.uint8
    assert grey.ndim == 2
    assert 1 <= grey.size <= _LIMITS.max_pixels


def _png_seeds() -> list[bytes]:
    wide = _GREY.astype(np.uint16) * 257
    files = [
        png(_GREY), png(_COLOURS), png(_COLOURS, "P"), png(_GREY, "1"), png(_GREY, "LA"), png(_COLOURS, "RGBA"),
        png(wide),
        grey_png(_GREY[:9, :13] & 3, 2), grey_png(_GREY[:9, :13] & 15, 4, is_interlaced=True),
        grey_png(wide[:16, :16], 16, is_interlaced=True, extra=[(b"tRNS", b"\0\0"), (b"eXIf", exif_tiff(6))]),
        png_of([*chunks_of(png(_COLOURS))[:1], (b"tRNS", bytes(6)), *chunks_of(png(_COLOURS))[1:]]),
        png_of([(b"IHDR", png_header(48, 48)[1]), (b"acTL", bytes(8)), *chunks_of(png(_GREY))[1:]]),
        png_announcing(512, 512, 16, 6), png_announcing(1, 262_144), png_announcing(2**31 - 1, 2**31 - 1),
        _bomb(64, 64, 20 * 2**20), _bomb(64, 64, 20 * 2**20, interlace=1),
    ]  # fmt: skip
    unpacked = [png_of([png_header(13, 9, 8, colour, lace), (b"IDAT", bytes(9 * 13 * 4 + 9)), (b"IEND", b"")])
                for colour in (0, 2, 3, 4, 6) for lace in (0, 1)]  # fmt: skip
    return [
        *(bytes([mode]) + body for body in files for mode in (_RAW, _SUMMED)),
        *(bytes([_PACKED]) + body for body in unpacked),
    ]


def _bomb(width: int, height: int, count: int, interlace: int = 0) -> bytes:
    """A PNG whose data inflates to so many bytes, whatever the header says."""
    rows = zlib.compress(bytes(count), 9)
    return png_of([png_header(width, height, interlace=interlace), (b"IDAT", rows), (b"IEND", b"")])


def _jpeg_seeds() -> list[bytes]:
    baseline, progressive = jpeg(_GREY), jpeg(_COLOURS, progressive=True)
    parts = jpeg_segments(progressive)
    return [
        baseline, progressive, jpeg(_COLOURS), jpeg(_COLOURS, "CMYK"), jpeg(_GREY, progressive=True),
        jpeg(_COLOURS, restart_marker_blocks=2), jpeg(_COLOURS, subsampling=2, optimize=True),
        with_exif(baseline, exif_tiff(6)), with_exif(progressive, exif_tiff(8, "<")),
        jpeg_announcing(512, 512), jpeg_announcing(65_500, 1),
        b"".join(parts[:-2] + parts[-1:]), b"".join([*parts[:-1], *parts[-2:-1] * 60, parts[-1]]),
        baseline[:2] + b"\xff" * 60_000 + baseline[2:], baseline[:-2] + b"\xff\0" * 30_000 + baseline[-2:],
    ]  # fmt: skip


_PNG_WORDS = (
    b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"iCCP", b"zTXt", b"gAMA", b"sBIT",
    SIGNATURE, b"\0\0\0\x0dIHDR", b"\0\0\0\0IEND\xaeB`\x82", b"MM\0*", b"II*\0",
)  # fmt: skip
_JPEG_WORDS = (
    *(bytes([0xFF, marker]) for marker in (*range(0xC0, 0xE2), 0xEE, 0xFE, 0x00, 0x01)),
    b"Exif\0\0", b"MM\0*", b"II*\0", b"\xff\xc0\0\x0b\x08", b"\xff\xda\0\x08\x01\x01\0\0\x3f\0", b"Adobe\0d\0\0\0\0",
)  # fmt: skip

TARGETS = (
    Target("png-chunks", _walk_png, _png_seeds, _PNG_WORDS),
    Target("png", _decode_png, _png_seeds, _PNG_WORDS),
    Target("jpeg-segments", _walk_jpeg, _jpeg_seeds, _JPEG_WORDS),
    Target("jpeg", _decode_jpeg, _jpeg_seeds, _JPEG_WORDS),
)
