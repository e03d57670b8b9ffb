"""Files that are small to send and would be dear to decode: well-formed, or nearly, and none is a slice."""

import struct
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from shared.window import LUNG_WINDOW

MIB = 2**20
_SIDE = 4096


def inflation_bomb(sent: int, side: int = 64) -> bytes:
    """A PNG of side x side pixels, sent bytes long, whose data inflates to about a thousand times as much."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    # flushed so that it can be repeated: compressing it all would take a minute
    segment = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return _png(side, 8, b"\x78\xda" + segment * (sent // len(segment)) + b"\3\0" + bytes(4))


def noise(side: int = _SIDE) -> bytes:
    """A sound PNG of 8-bit noise, which nothing compresses: 16 MiB at 4096 x 4096."""
    rows = np.zeros((side, side + 1), np.uint8)
    rows[:, 1:] = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    return _png(side, 8, zlib.compress(rows.tobytes(), 0))


def _png(side: int, bit_depth: int, packed: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, bit_depth, 0, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def filled_jpeg(jpeg: bytes, fill: int) -> bytes:
    """A JPEG with so many fill bytes before its first segment (ITU-T T.81, B.1.1.2 allows any number)."""
    return jpeg[:2] + b"\xff" * fill + jpeg[2:]


def many_scans(scans: int = 64, side: int = _SIDE) -> bytes:
    """A progressive JPEG: each scan after the first is a pass over all pixels for some 30 bytes."""
    blocks = (side // 8) ** 2
    parts = [
        b"\xff\xd8",
        _segment(0xDB, bytes([0]) + bytes([1] * 64)),
        _segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes([1, 0x11, 0])),
        _segment(0xC4, bytes([0x00, 1, *[0] * 15, 0])),  # DC: one code of one bit for "no difference"
        _segment(0xC4, bytes([0x10, 1, 1, *[0] * 14, 0xE0, 0x30])),  # AC: 0 ends up to 32767 blocks, 10 up to 15
        _scan(0, 0, bytes(-(-blocks // 8))),
    ]
    longest, rest = divmod(blocks, 32_767)
    bits = ("0" + "1" * 14) * longest + ("10" + format(rest - 8, "03b") if rest else "")
    bits += "1" * (-len(bits) % 8)
    ends = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    parts += [_scan(number, number, ends) for number in range(1, scans)]
    return b"".join([*parts, b"\xff\xd9"])


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def _scan(first: int, last: int, coded: bytes) -> bytes:
    return _segment(0xDA, bytes([1, 1, 0, first, last, 0])) + coded


_SQ_GROUPS = (0x5200, 0x9230)  # Per-Frame Functional Groups Sequence, which is read
_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
_EXPLICIT, _JPEG_2000 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"


def dicom(grey: NDArray[np.uint8]) -> bytes:
    """A sound CT slice, native, that looks like these grey values in the lung window."""
    low, step = LUNG_WINDOW.level - LUNG_WINDOW.width / 2, LUNG_WINDOW.width / 256
    stored = np.round(low + (grey + 0.5) * step).astype("<i2")
    return _dicom(_EXPLICIT, len(grey), [_element(0x7FE0, 0x0010, b"OW", stored.tobytes())])


def dicom_of_items(items: int) -> bytes:
    """A CT slice with so many empty items in a sequence that has to be read."""
    head = struct.pack("<HH2sHI", *_SQ_GROUPS, b"SQ", 0, 0xFFFFFFFF)
    return _dicom(_EXPLICIT, 64, [head, _ITEM * items, _END, _element(0x7FE0, 0x0010, b"OW", bytes(2 * 64 * 64))])


def dicom_of_fragments(fragments: int) -> bytes:
    """A CT slice whose compressed pixels come in so many empty fragments."""
    head = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    return _dicom(_JPEG_2000, 64, [head, _ITEM * (fragments + 1), _END])


def _dicom(syntax: str, side: int, last: Iterable[bytes]) -> bytes:
    ct = b"1.2.840.10008.5.1.4.1.1.2\0"
    meta = b"".join([
        _element(2, 2, b"UI", ct), _element(2, 3, b"UI", b"2.25.1"), _element(2, 0x10, b"UI", syntax.encode()),
    ])  # fmt: skip
    us = [(2, 1), (0x10, side), (0x11, side), (0x100, 16), (0x101, 16), (0x102, 15), (0x103, 1)]
    image = [_element(0x28, tag, b"US", struct.pack("<H", value)) for tag, value in us]
    image.insert(1, _element(0x28, 4, b"CS", b"MONOCHROME2"))
    image += [_element(0x28, 0x1052, b"DS", b"0"), _element(0x28, 0x1053, b"DS", b"1")]
    about = [_element(8, 0x16, b"UI", ct), _element(8, 0x18, b"UI", b"2.25.1"), _element(8, 0x60, b"CS", b"CT")]
    length = _element(2, 0, b"UL", struct.pack("<I", len(meta)))
    return b"".join([bytes(128), b"DICM", length, meta, *about, *image, *last])


def _element(group: int, tag: int, kind: bytes, value: bytes) -> bytes:
    value += (b"\0" if kind == b"UI" else b" ") * (len(value) % 2)
    if kind in (b"OW", b"OB"):
        return struct.pack("<HH2sHI", group, tag, kind, 0, len(value)) + value
    return struct.pack("<HH2sH", group, tag, kind, len(value)) + value
