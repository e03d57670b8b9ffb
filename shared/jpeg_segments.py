"""What surrounds the pixels of a JPEG file: its segments, from the start to the end marker (ITU-T T.81, Annex B).

Walked before a pixel is decoded, because libjpeg takes two kinds of file as they are. A progressive file whose last
scans are cut off, with an end marker pasted back, is a whole picture to it, only a blurred one. And each further scan
costs a pass over all pixels for some 30 bytes, so that one upload could keep a core busy for hours.
"""

import re
from collections.abc import Iterator

from shared.exif import orientation_of

MAX_SCANS = 64
"""Encoders write 1 to about 12."""

_MAX_SEGMENTS = 4096  # each holds up to 64 KiB: no real file comes near
_END_OF_IMAGE, _START_OF_SCAN, _APP1 = 0xD9, 0xDA, 0xE1
_PROGRESSIVE_FRAMES = (0xC2, 0xC6, 0xCA, 0xCE)
_EXIF = b"Exif\0\0"
_FILL = re.compile(rb"\xff+")  # any number of FF may come before the code of a marker
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither an escaped FF nor a restart marker


def is_progressive(body: bytes | bytearray) -> bool:
    """Whether the frame's header announces progressive scans; False where there is no frame."""
    try:
        for marker, _ in _segments(body):
            if marker in _PROGRESSIVE_FRAMES:
                return True
            if marker == _START_OF_SCAN:
                break
    except ValueError:
        pass
    return False


def orientation_of_whole(body: bytes | bytearray) -> int:
    """Walk a JPEG to its end marker and return its EXIF orientation, 1 to 8; 1 (upright) where it says none.

    Raises ValueError where the file ends early, a segment is damaged, scans are missing, or there are too many.
    """
    orientation, scans = None, 0
    unfinished: dict[int, set[int]] = {}  # by component of a progressive frame: coefficients that lack bits
    for marker, payload in _segments(body):
        if marker == _APP1 and payload.startswith(_EXIF) and orientation is None:
            orientation = orientation_of(payload[len(_EXIF) :])
        elif marker in _PROGRESSIVE_FRAMES:
            unfinished = {component: set(range(64)) for component in payload[6::3]}
        elif marker == _START_OF_SCAN:
            scans += 1
            if scans > MAX_SCANS:
                raise ValueError(f"it has more than {MAX_SCANS} scans")
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
        if length < 2 or at + length > len(body):
            break
        yield marker, bytes(body[at + 2 : at + length])
        at += length
        if marker == _START_OF_SCAN:
            following = _MARKER_AFTER_SCAN.search(body, at)
            if following is None:
                break
            at = following.start()
    raise ValueError("it ends early or a segment is damaged")


def _note_scan(scan: bytes, unfinished: dict[int, set[int]]) -> None:
    """Take the coefficients that a scan brings to their last bit (T.81, G.1.1.1) off the unfinished ones."""
    if not scan or len(scan) != 4 + 2 * scan[0]:
        raise ValueError("the header of a scan is damaged")
    first, last, approximation = scan[-3:]
    if approximation & 0x0F:  # bits below this one follow in a later scan
        return
    for component in scan[1:-3:2]:
        unfinished.get(component, set()).difference_update(range(first, last + 1))
