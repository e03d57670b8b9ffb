"""What surrounds the pixels of a PNG file: its chunks, from the signature to IEND (PNG 3rd edition, 5.2).

Walked before a pixel is decoded: the checksums find truncation and damage, and only the chunks that make the still
picture go on to the decoder, so that animations, colour profiles and texts reach no further code. The rows are inflated
here, because a decoder inflates on to the end of what came: 20 MiB can hold 20 GiB behind a picture of 64 x 64 pixels.
"""

import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.raster.exif import orientation_of

faster: Any = zlib
try:  # the service has ISA-L: with it, inflating the rows here and storing them costs no more than libpng's inflating
    from isal import isal_zlib
except ImportError:
    pass
else:
    faster = isal_zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_MAX_CHUNKS, _BYTES_A_CHUNK = 4096, 4096  # at most so many, and one for each 4 KiB; encoders write 8 KiB and more
_MAX_TRANSPARENCY = 256  # bytes of tRNS: one for each entry of a palette
_LOWER_CASE = 0x20  # this bit of a type's first letter says that the chunk is not needed for the picture

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by colour type: grey, RGB, palette, grey and alpha, RGBA
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass, and the steps to the next ones."""

_MAX_STORED = 65_535  # bytes of a stored block (RFC 1951, 3.2.4)
_BEFORE_BLOCK, _AROUND_BLOCK = 13, 17  # length and type of its chunk, and its own header; and the chunk's checksum
_INPUT_BYTES = 16 * 1024  # inflated at a time; what is left over of them is copied
_INFLATE_S, _INFLATE_S_A_BYTE = 0.01, 50e-9
"""Processor time that rows may take, by their length: 20 times what they do. Blocks of deflate that hold nothing cost
as much as some that hold thousands of bytes."""


@dataclass(frozen=True)
class StillPng:
    """A whole PNG, reduced to its still picture."""

    body: memoryview
    """Signature, critical chunks and tRNS: what a decoder needs; its rows are not compressed any more."""
    orientation: int
    """EXIF orientation, 1 to 8; 1 (upright) where it says none."""
    transparency: bytes | None
    """Content of tRNS: which sample or palette entry is transparent."""
    significant_bits: int | None = None
    """How many bits of a sample were measured, of its first channel, by sBIT; None where the file does not say."""


def still_png(body: bytes | bytearray) -> StillPng:
    """Walk a PNG, which begins with a whole IHDR, to IEND.

    Raises ValueError where it ends early, a checksum differs, it has too many chunks, or its rows are not as long as
    its header says.
    """
    view, at = memoryview(body), len(SIGNATURE)
    kept: list[bytes | memoryview] = [SIGNATURE]
    rows: list[memoryview] = []
    rows_at, orientation, transparency, significant_bits = 0, None, None, None
    for _ in range(_MAX_CHUNKS + len(view) // _BYTES_A_CHUNK):
        if at + 12 > len(view):
            break
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if faster.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            break
        kind, content = bytes(view[at + 4 : at + 8]), view[at + 8 : end]
        if kind == b"IDAT":
            rows_at = rows_at or len(kept)
            rows.append(content)
        elif kind == b"tRNS" and len(content) <= _MAX_TRANSPARENCY:
            transparency = bytes(content)
            kept.append(view[at : end + 4])
        elif kind == b"eXIf" and orientation is None:
            orientation = orientation_of(bytes(content))
        elif kind == b"sBIT" and 1 <= int.from_bytes(content[:1], "big") <= body[24]:  # at most its bit depth
            significant_bits = content[0]
        elif not kind[0] & _LOWER_CASE:
            kept.append(view[at : end + 4])
        if kind == b"IEND":
            before, after = b"".join(kept[:rows_at]), b"".join(kept[rows_at:])
            still = _stored(before, b"".join(rows), _rows_length(body), after) if rows else memoryview(before + after)
            return StillPng(still, orientation or 1, transparency, significant_bits)
        at = end + 4
    raise ValueError("the PNG ends early, a checksum differs, or it has too many chunks")


def _rows_length(body: bytes | bytearray) -> int:
    """Bytes of all rows, each with its filter's (7.2), by the header."""
    width, height = int.from_bytes(body[16:20], "big"), int.from_bytes(body[20:24], "big")
    bits = body[24] * _SAMPLES.get(body[25], 0)
    length = 0
    for left, top, right, down in _ADAM7 if body[28] else _WHOLE:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            length += rows * (1 + (columns * bits + 7) // 8)
    return length


def _stored(before: bytes, rows: bytes, length: int, after: bytes) -> memoryview:
    """The same rows between these chunks, stored: so they are inflated once, and never beyond their length.

    All of it lies in one piece of memory from the start: the rows of the largest picture take 128 MiB. Rows that take
    more space compressed than stored, but for a little each, are refused unread.
    """
    if len(rows) > length + length // 8 + _INPUT_BYTES:
        raise ValueError("the PNG holds more than its rows")
    head, blocks = before + _chunk(b"\x78\x01"), -(-length // _MAX_STORED)
    size = len(head) + length + blocks * _AROUND_BLOCK + len(_chunk(b"\1\0\0\xff\xff" + bytes(4))) + len(after)
    still = np.empty(size, np.uint8).data  # not cleared: a header can announce more than comes
    still[: len(head)] = head
    checksum, start = 1, len(head)
    at = start + _BEFORE_BLOCK
    for piece in _inflated(rows, length):
        still[at : at + len(piece)] = piece
        at, length = at + len(piece), length - len(piece)
        if length % _MAX_STORED == 0:
            block = still[start + _BEFORE_BLOCK : at]
            checksum = faster.adler32(block, checksum)
            struct.pack_into(">I4s", still, start, len(block) + 5, b"IDAT")
            struct.pack_into("<BHH", still, start + 8, 0, len(block), len(block) ^ 0xFFFF)
            still[at : at + 4] = faster.crc32(still[start + 4 : at]).to_bytes(4, "big")
            start, at = at + 4, at + 4 + _BEFORE_BLOCK
    still[start:] = _chunk(b"\1\0\0\xff\xff" + checksum.to_bytes(4, "big")) + after
    return still


def _inflated(rows: bytes, length: int) -> Iterator[bytes]:
    """What the rows inflate to, in pieces that each lie in one stored block; only the first block is not full.

    Raises ValueError where it is not so long.
    """
    inflater = faster.decompressobj()
    end_s = time.thread_time() + _INFLATE_S + _INFLATE_S_A_BYTE * length
    try:
        for at in range(0, len(rows), _INPUT_BYTES):
            if time.thread_time() > end_s:
                raise ValueError("the PNG data takes too long to inflate")
            coded, block = rows[at : at + _INPUT_BYTES], b"?"
            while block and not inflater.eof:
                block = inflater.decompress(coded, (length - 1) % _MAX_STORED + 1 if length else 1)
                coded, length = inflater.unconsumed_tail, length - len(block)
                if length < 0:
                    raise ValueError("the PNG holds more than its rows")
                if block:
                    yield block
    except faster.error as error:
        raise ValueError("the PNG data is corrupt") from error
    if length or not inflater.eof:
        raise ValueError("the PNG data ends early")


def _chunk(content: bytes) -> bytes:
    return b"".join(
        (len(content).to_bytes(4, "big"), b"IDAT", content, faster.crc32(content, _IDAT_CRC).to_bytes(4, "big"))
    )


_IDAT_CRC = faster.crc32(b"IDAT")
