"""What surrounds the pixels of a JPEG file: its segments, from the start to the end marker (ITU-T T.81, Annex B).

Walked before a pixel is decoded, because libjpeg takes two kinds of file as they are. A progressive file whose last
scans are cut off, with an end marker pasted back, is a whole picture to it, only a blurred one. And each further scan
costs a pass over all pixels for some 30 bytes, so that one upload could keep a core busy for hours.

The walk takes a fraction of a millisecond to the frame, whatever comes, and lets other threads run while it looks
through coded data.
"""

import re
from collections.abc import Iterator

import numpy as np

from shared.raster.exif import orientation_of

MAX_SCANS = 64
"""Of a progressive file; encoders write up to about 12. Any other has at most one for each component (T.81, B.2.3)."""
SCANS_OF_THE_LARGEST = 12
"""Scans of a progressive file as large as is accepted; smaller ones may have more. By default, two seconds."""

_MAX_SEGMENTS = 512  # each holds up to 64 KiB: no real file comes near
_MAX_TABLES_BYTES = 4096  # of a segment; all tables that a decoder holds at a time take 2.7 KiB
_TABLES = (0xC4, 0xDB)  # Huffman, quantization
_END_OF_IMAGE, _START_OF_SCAN, _APP1, _FILL_BYTE = 0xD9, 0xDA, 0xE1, 0xFF
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_PROGRESSIVE_FRAMES = (0xC2, 0xC6, 0xCA, 0xCE)
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))  # out of place here, and no segment
_EXIF = b"Exif\0\0"
_FILL = re.compile(rb"\xff{1,1024}")  # any number of FF may come before the code of a marker; nobody writes many
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither an escaped FF nor a restart marker
_LOOKED_AT = 64 * 1024  # bytes of coded data at a time
_IS_CODED = np.zeros(256, np.bool_)  # behind an FF: an escaped one, a restart marker, or one more FF
_IS_CODED[[0x00, *range(0xD0, 0xD8), 0xFF]] = True


def is_progressive(body: bytes | bytearray) -> bool:
    """Whether the frame's header announces progressive scans. Raises ValueError where no whole one comes first."""
    for marker, _ in _segments(body):
        if marker in _FRAMES:
            return marker in _PROGRESSIVE_FRAMES
        if marker == _START_OF_SCAN:
            break
    raise ValueError("it has no frame")


def orientation_of_whole(body: bytes | bytearray, max_pixels: int) -> int:
    """Walk a JPEG to its end marker and return its EXIF orientation, 1 to 8; 1 (upright) where it says none.

    max_pixels: of the largest picture that is accepted. Raises ValueError where the file ends early, a segment is
    damaged, scans are missing, or there are too many.
    """
    orientation, scans, max_scans = None, 0, 0
    unfinished: dict[int, set[int]] = {}  # by component of a progressive frame: coefficients that lack bits
    for marker, payload in _segments(body):
        if marker == _APP1 and payload.startswith(_EXIF) and orientation is None:
            orientation = orientation_of(payload[len(_EXIF) :])
        elif marker in _PROGRESSIVE_FRAMES:
            unfinished = {component: set(range(64)) for component in payload[6::3]}
            pixels = int.from_bytes(payload[1:3], "big") * int.from_bytes(payload[3:5], "big")
            max_scans = min(MAX_SCANS, SCANS_OF_THE_LARGEST * max_pixels // max(1, pixels))
        elif marker in _FRAMES:
            max_scans = len(payload[6::3])
        elif marker == _START_OF_SCAN:
            scans += 1
            if scans > max_scans:
                raise ValueError(f"it has more than {max_scans} scans")
            _note_scan(payload, unfinished)
    if not scans or any(unfinished.values()):
        raise ValueError("scans are missing")
    return 1 if orientation is None else orientation


def _segments(body: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    """(marker, payload) of each segment before the end marker."""
    at = 2  # behind the start marker
    for _ in range(_MAX_SEGMENTS):
        fill = _FILL.match(body, at)
        if fill is None or fill.end() == len(body):
            break
        marker, at = body[fill.end()], fill.end() + 1
        if marker == _END_OF_IMAGE:
            return
        length = int.from_bytes(body[at : at + 2], "big")
        if length < 2 or at + length > len(body) or marker in _WITHOUT_LENGTH or marker == _FILL_BYTE:
            break
        if marker in _TABLES and length > _MAX_TABLES_BYTES:
            break
        yield marker, bytes(body[at + 2 : at + length])
        at += length
        if marker == _START_OF_SCAN:
            following = _end_of_coded(body, at)
            if following is None:
                break
            at = following
    raise ValueError("it ends early or a segment is damaged")


def _end_of_coded(body: bytes | bytearray, at: int) -> int | None:
    """Where the next marker is that is none of coded data; None where there is none.

    The expression, which no other thread can interrupt, looks at the first bytes only: over a short way it is faster.
    """
    if first := _MARKER_AFTER_SCAN.search(body, at, at + _LOOKED_AT):
        return first.start()
    content = np.frombuffer(body, np.uint8)
    for start in range(at + _LOOKED_AT - 1, len(content) - 1, _LOOKED_AT):
        marks = np.flatnonzero(content[start : min(start + _LOOKED_AT, len(content) - 1)] == _FILL_BYTE) + start
        ends = marks[~_IS_CODED[content[marks + 1]]]
        if len(ends):
            return int(ends[0])
    return None


def _note_scan(scan: bytes, unfinished: dict[int, set[int]]) -> None:
    """Take the coefficients that a scan brings to their last bit (T.81, G.1.1.1) off the unfinished ones."""
    if not scan or scan[0] > 4 or len(scan) != 4 + 2 * scan[0]:
        raise ValueError("the header of a scan is damaged")
    first, last, approximation = scan[-3:]
    if approximation & 0x0F:  # bits below this one follow in a later scan
        return
    for component in scan[1:-3:2]:
        unfinished.get(component, set()).difference_update(range(first, last + 1))
