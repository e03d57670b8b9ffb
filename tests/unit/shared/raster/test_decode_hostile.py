"""Whatever bytes are sent, they are a grey slice or refused in words."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.raster.decode import (
    RasterLimits,
    SliceError,
    decode_grey,
)
from tests.support.inputs.image_files import (
    chunk_bytes,
    chunks_of,
    jpeg,
    png,
    png_header,
    png_of,
    smooth_colours,
)
from tests.support.inputs.slices import grey_slice

RAMP = np.linspace(0, 255, 64 * 96).reshape(64, 96).astype(np.uint8)
COLOURS = smooth_colours()
GREY = np.asarray(Image.fromarray(COLOURS).convert("L"))
_INTERESTING = (
    b"\xff",
    b"\0",
    b"\xff\xd8",
    b"\xff\xd9",
    b"\xff\xda",
    b"\xff\xc4\0\3",
    b"\x7f\xff\xff\xff",
    b"IDAT",
    b"IEND",
)


def mutated(body: bytes, random: np.random.Generator) -> bytes:
    """One to eight random changes: bytes overwritten, taken out, doubled, moved, cut off."""
    content = bytearray(body)
    for _ in range(random.integers(1, 9)):
        at, length = int(random.integers(len(content) + 1)), int(random.integers(1, 40))
        match random.integers(6):
            case 0:
                content[at : at + 1] = random.bytes(1)
            case 1:
                content[at : at + length] = random.bytes(length)
            case 2:
                del content[at : at + length]
            case 3:
                content[at:at] = content[at : at + length]
            case 4:
                content[at:at] = _INTERESTING[random.integers(len(_INTERESTING))]
            case _:
                other = int(random.integers(len(content) + 1))
                content[at:at] = content[other : other + length]
    return bytes(content[: random.integers(len(content))] if random.random() < 0.1 else content)


def mutated_chunks(body: bytes, random: np.random.Generator) -> bytes:
    """A PNG changed beneath right checksums, so that the changes reach the decoder."""
    chunks = chunks_of(body)
    index = random.integers(len(chunks))
    kind, content = chunks[index]
    chunks[index] = (kind, mutated(content, random) if content else random.bytes(8))
    if random.random() < 0.2:
        chunks.insert(random.integers(1, len(chunks)), chunks[random.integers(len(chunks))])
    return png_of(chunks)


FUZZED = {
    "JPEG": (jpeg(grey_slice(1, 64)), mutated),
    "JPEG, progressive colour": (jpeg(COLOURS, progressive=True), mutated),
    "JPEG, CMYK with EXIF": (
        jpeg(COLOURS, "CMYK", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0"),
        mutated,
    ),
    "PNG": (png(grey_slice(1, 64)), mutated),
    "PNG, checksums mended": (png(grey_slice(1, 64)), mutated_chunks),
    "PNG, palette, checksums mended": (png(COLOURS, "P", transparency=3), mutated_chunks),
    "PNG, 16 bits with alpha, checksums mended": (
        cv2.imencode(".png", np.dstack([COLOURS, RAMP]).astype(np.uint16) * 257)[1].tobytes(),
        mutated_chunks,
    ),
    "PNG, animated, checksums mended": (
        png(GREY, save_all=True, append_images=[Image.fromarray(255 - GREY)]),
        mutated_chunks,
    ),
}


@pytest.mark.parametrize(("body", "mutate"), FUZZED.values(), ids=FUZZED)
def test_whatever_is_sent_only_slice_errors_come_back(
    body: bytes, mutate: Callable[[bytes, np.random.Generator], bytes]
) -> None:
    """300 seeded mutations of each file give a grey slice or a SliceError with a sentence; nothing else, no warning."""
    random, limits = np.random.default_rng(2024), RasterLimits(max_pixels=1_000_000)
    reasons = []
    for _ in range(300):
        try:
            grey = decode_grey(mutate(body, random), limits)
        except SliceError as error:
            reasons.append(str(error))
        else:
            assert (grey.dtype, grey.ndim) == (np.uint8, 2)
            assert grey.flags.c_contiguous
    assert len(reasons) > 50
    assert all(reason[0].isupper() and reason.endswith(".") for reason in reasons)


def test_random_bytes_behind_a_signature_are_refused() -> None:
    """A right beginning is not enough, for either type."""
    random = np.random.default_rng(1)
    for _ in range(200):
        noise = random.bytes(int(random.integers(0, 3000)))
        header = chunk_bytes(*png_header(64, 64))
        for start in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + header):
            with pytest.raises(SliceError):
                decode_grey(start + noise)
