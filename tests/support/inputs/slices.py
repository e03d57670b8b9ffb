"""Bytes that tests send: slices that anybody may have, and what is none."""

import struct
import zlib

import cv2
import numpy as np
import simplejpeg


def grey_slice(seed: int = 0, side: int = 256) -> np.ndarray:
    """uint8 [side, side]: a bright body with two dark lungs, elsewhere black; seeds differ in shape and texture."""
    random = np.random.default_rng(seed)
    image = np.zeros((side, side), np.uint8)
    centre, half = side // 2, side / 2
    axes = (int(half * random.uniform(0.75, 0.95)), int(half * random.uniform(0.5, 0.7)))
    cv2.ellipse(image, (centre, centre), axes, 0, 0, 360, 150, -1)
    for direction in (-1, 1):
        at = (int(centre + direction * axes[0] * 0.45), centre)
        cv2.ellipse(image, at, (int(axes[0] * 0.3), int(axes[1] * 0.6)), 0, 0, 360, 25, -1)
    noise = random.normal(0, 6, image.shape)
    return np.clip(image + noise * (image > 0), 0, 255).astype(np.uint8)


def jpeg_slice(seed: int = 0, side: int = 256) -> bytes:
    """A grey JPEG."""
    return bytes(simplejpeg.encode_jpeg(grey_slice(seed, side)[:, :, None], colorspace="GRAY"))


def png_slice(seed: int = 0, side: int = 256) -> bytes:
    """An 8-bit grey PNG."""
    return cv2.imencode(".png", grey_slice(seed, side))[1].tobytes()


def png_of(width: int, height: int, rows: bytes) -> bytes:
    """A valid 8-bit grey PNG of any size whose compressed rows are given."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def png_bomb(side: int = 30_000) -> bytes:
    """A true PNG of side x side black pixels: small to send, large to decode."""
    rows_at_a_time = 1000
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    # flushed so that it can be repeated: compressing it all would take seconds
    segment = packer.compress(bytes((side + 1) * rows_at_a_time)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = (((side + 1) * side) % 65521) << 16 | 1  # Adler-32 of so many zero bytes
    rows = b"\x78\xda" + segment * (side // rows_at_a_time) + b"\x03\0" + checksum.to_bytes(4, "big")
    return png_of(side, side, rows)


def tiny_png() -> bytes:
    """1 x 1 pixel."""
    return png_of(1, 1, zlib.compress(b"\0\0"))


def gif() -> bytes:
    """A true GIF of 1 x 1 pixel."""
    return bytes.fromhex("47494638396101000100800000000000ffffff21f904010000002c00000000010001000002024401003b")
