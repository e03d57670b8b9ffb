"""JPEG and PNG files as other programs write them, and files taken apart and put together again."""

import io
import struct
import zlib
from collections.abc import Iterable
from itertools import accumulate

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.generic]
Chunk = tuple[bytes, bytes]


def smooth_colours() -> NDArray[np.uint8]:
    """uint8 [64, 96, 3]: all hues and depths, without detail that JPEG would blur."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (96, 64), interpolation=cv2.INTER_CUBIC), np.uint8)


def jpeg(pixels: Pixels, mode: str | None = None, **options: object) -> bytes:
    """A JPEG that Pillow wrote; mode converts first (CMYK, RGB)."""
    return _saved(Image.fromarray(pixels), "JPEG", mode, options)


def png(pixels: Pixels, mode: str | None = None, **options: object) -> bytes:
    """A PNG that Pillow wrote; mode converts first (P, 1, LA, ...)."""
    return _saved(Image.fromarray(pixels), "PNG", mode, options)


def _saved(image: Image.Image, kind: str, mode: str | None, options: dict[str, object]) -> bytes:
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def chunk_bytes(kind: bytes, content: bytes) -> bytes:
    """One PNG chunk with a right checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(chunks: Iterable[Chunk]) -> bytes:
    """A PNG of these chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk_bytes(kind, content) for kind, content in chunks)


def chunks_of(body: bytes) -> list[Chunk]:
    """(type, content) of each chunk of a well-formed PNG."""
    chunks, at = [], 8
    while at < len(body):
        length = int.from_bytes(body[at : at + 4], "big")
        chunks.append((body[at + 4 : at + 8], body[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_header(width: int, height: int, bit_depth: int = 8, colour_type: int = 0, interlace: int = 0) -> Chunk:
    """IHDR."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, interlace)


def grey_png(samples: Pixels, bit_depth: int, *, is_interlaced: bool = False, extra: Iterable[Chunk] = ()) -> bytes:
    """A grey PNG of 1, 2, 4, 8 or 16 bits, written by hand; interlaced in the seven passes of Adam7."""
    passes = [samples]
    if is_interlaced:
        starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
        passes = [samples[top::down, left::right] for top, left, down, right in starts]
    rows = b"".join(_packed(row, bit_depth) for part in passes for row in part)
    header = png_header(samples.shape[1], samples.shape[0], bit_depth, interlace=int(is_interlaced))
    return png_of([header, *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def _packed(row: Pixels, bit_depth: int) -> bytes:
    bits = "".join(format(int(sample), f"0{bit_depth}b") for sample in row)
    bits += "0" * (-len(bits) % 8)
    return b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def png_announcing(width: int, height: int, bit_depth: int = 8, colour_type: int = 0) -> bytes:
    """A well-formed PNG whose header announces what its data does not hold."""
    return png_of([png_header(width, height, bit_depth, colour_type), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")])


def png_holding(rows: bytes, width: int, height: int) -> bytes:
    """A grey PNG of 8 bits with these compressed rows, in chunks as large as encoders write them."""
    parts = [(b"IDAT", rows[at : at + 8192]) for at in range(0, len(rows), 8192)]
    return png_of([png_header(width, height), *parts, (b"IEND", b"")])


def overfull_png(mebibytes: int, side: int = 64) -> bytes:
    """A small picture behind whose rows thousands of times as many bytes follow, of which 1,000 take one to send."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    segment = packer.compress(bytes(16 * 2**20)) + packer.flush(zlib.Z_FULL_FLUSH)  # so that it can be repeated
    return png_holding(b"\x78\xda" + segment * (mebibytes * 2**20 // len(segment)), side, side)


def png_of_empty_blocks(side: int) -> bytes:
    """Behind the rows as many blocks of deflate with a code of their own and nothing in it as there is room for."""
    # RFC 1951, 3.2.7: a dynamic block's header; 256 codes of length 0, two of length 1; the end of the block
    bits = "00100000000000111000000" + "100010" + "0" * 39 + "010" + "011111110110101111110"
    unit = int((bits * 8)[::-1], 2).to_bytes(len(bits), "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    rows = bytes((side + 1) * side)
    body = unit * (len(rows) // len(unit)) + packer.compress(rows) + packer.flush()
    return png_holding(b"\x78\xda" + body + zlib.adler32(rows).to_bytes(4, "big"), side, side)


def jpeg_announcing(width: int, height: int) -> bytes:
    """A JPEG whose header announces what its data does not hold."""
    body = jpeg(np.zeros((64, 64), np.uint8))
    at = body.index(b"\xff\xc0") + 5  # behind marker, length and precision
    return body[:at] + struct.pack(">HH", height, width) + body[at + 4 :]


def jpeg_segments(body: bytes) -> list[bytes]:
    """The bytes of a JPEG cut before every segment: start marker, segments (a scan with its data), end marker."""
    lengths, at = [2], 2
    while body[at + 1] != 0xD9:
        end = at + 2 + int.from_bytes(body[at + 2 : at + 4], "big")
        if body[at + 1] == 0xDA:
            end = next(
                i for i in range(end, len(body)) if body[i] == 0xFF and body[i + 1] not in (0, *range(0xD0, 0xD8))
            )
        lengths.append(end - at)
        at = end
    ends = [*accumulate(lengths), len(body)]
    return [body[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def scan_data_start(body: bytes) -> int:
    """Where the coded data of a JPEG's last scan begins."""
    at = body.rindex(b"\xff\xda")
    return at + 2 + int.from_bytes(body[at + 2 : at + 4], "big")


def exif_tiff(orientation: int, order: str = ">") -> bytes:
    """EXIF's TIFF structure with another tag and an orientation; order as struct writes it."""
    magic = {">": b"MM\0*", "<": b"II*\0"}[order]
    other = struct.pack(order + "HHII", 0x0110, 4, 1, 7)
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return magic + struct.pack(order + "IH", 8, 2) + other + entry + bytes(4)


def with_exif(body: bytes, tiff: bytes) -> bytes:
    """A JPEG with an EXIF segment behind the start marker."""
    payload = b"Exif\0\0" + tiff
    return body[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + body[2:]
