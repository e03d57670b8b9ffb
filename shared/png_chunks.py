"""What surrounds the pixels of a PNG file: its chunks, from the signature to IEND (PNG 3rd edition, 5.2).

Walked before a pixel is decoded: the checksums find truncation and damage, and only the chunks that make the still
picture go on to the decoder, so that animations, colour profiles and texts reach no further code.
"""

import zlib
from dataclasses import dataclass

from shared.exif import orientation_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_MAX_CHUNKS = 65_536  # 20 MiB in chunks of 320 bytes; encoders write 8 KiB and more at a time
_LOWER_CASE = 0x20  # this bit of a type's first letter says that the chunk is not needed for the picture


@dataclass(frozen=True)
class StillPng:
    """A whole PNG, reduced to its still picture."""

    body: bytes
    """Signature, critical chunks and tRNS: what a decoder needs."""
    orientation: int
    """EXIF orientation, 1 to 8; 1 (upright) where it says none."""
    transparency: bytes | None
    """Content of tRNS: which sample or palette entry is transparent."""


def still_png(body: bytes | bytearray) -> StillPng:
    """Walk a PNG to IEND. Raises ValueError where it ends early, a checksum differs, or it has too many chunks."""
    view, at = memoryview(body), len(SIGNATURE)
    kept: list[bytes | memoryview] = [SIGNATURE]
    orientation, transparency = 1, None
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(view):
            break
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            break
        kind, content = bytes(view[at + 4 : at + 8]), view[at + 8 : end]
        if kind == b"tRNS":
            transparency = bytes(content)
        elif kind == b"eXIf":
            orientation = orientation_of(bytes(content))
        if kind == b"tRNS" or not kind[0] & _LOWER_CASE:
            kept.append(view[at : end + 4])
        if kind == b"IEND":
            return StillPng(b"".join(kept), orientation, transparency)
        at = end + 4
    raise ValueError("the PNG ends early, a checksum differs, or it has too many chunks")
