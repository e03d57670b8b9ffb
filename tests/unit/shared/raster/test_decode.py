"""JPEG and PNG bytes → grey slice: types, limits by the header, and pixels."""

import base64
import contextlib
import io
import resource
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.raster.decode import (
    NotAnImageType,
    RasterLimits,
    SliceError,
    TooManyPixels,
    TooSmall,
    Undecodable,
    decode_grey,
    image_type,
    read_header,
)
from shared.window import Window
from tests.support.inputs.image_files import (
    chunks_of,
    grey_png,
    jpeg,
    jpeg_announcing,
    jpeg_segments,
    png,
    png_announcing,
    png_of,
    smooth_colours,
)

RAMP = np.linspace(0, 255, 64 * 96).reshape(64, 96).astype(np.uint8)
COLOURS = smooth_colours()
GREY = np.asarray(Image.fromarray(COLOURS).convert("L"))  # ITU-R BT.601, as JPEG's Y


def difference(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Greatest and mean difference in grey levels of pictures of one shape."""
    assert one.shape == other.shape
    distance = np.abs(one.astype(int) - other)
    return distance.max(), distance.mean()


# --- types ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "came"),
    [
        (b"", "an empty file"),
        (b"hello, this is a report", "text"),
        (b' {"image": "..."}', "JSON: send the bytes of the file itself, as a form field or as the raw body"),
        (b"data:image/png;base64,iVBORw0KGgo", "a data: address: send the bytes that it encodes"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text"),
        (b"GIF89a\1\0\1\0", "a GIF image"),
        (b"GIF87a\1\0\1\0", "a GIF image"),
        (b"BM\x9a\0\0\0", "a BMP image"),
        (b"II*\0\x08\0\0\0", "a TIFF image"),
        (b"MM\0*\0\0\0\x08", "a TIFF image"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", r"a RIFF file \(WebP\?\)"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\3\4\x14\0", "a ZIP archive"),
        (bytes(4096), "bytes of an unknown type"),
        (b"\x89PNG\n\x1a\n", "bytes of an unknown type"),
        (b"\xff\xd8", "bytes of an unknown type"),
        ("Lungenrundherd, groß".encode(), "bytes of an unknown type"),
    ],
)
def test_other_types_are_refused_by_name(body: bytes, came: str) -> None:
    """The sender reads what was expected and what came, as far as that can be told."""
    for read in (image_type, read_header, decode_grey):
        with pytest.raises(NotAnImageType, match=f"^Expected a JPEG, PNG or DICOM image, got {came}\\.$"):
            read(body)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_real_files_of_other_types_are_refused(kind: str) -> None:
    """Also where OpenCV could decode them: what is trained on and what is served stays the same two types."""
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, kind)
    with pytest.raises(NotAnImageType):
        decode_grey(file.getvalue())


def test_the_content_decides_on_the_type() -> None:
    """Neither names nor content types are asked."""
    assert (image_type(jpeg(GREY)), image_type(png(GREY))) == ("jpeg", "png")


# --- limits, by the header --------------------------------------------------------------------------------------------

BOMBS = {
    "PNG": png_announcing(30_000, 30_000),
    "PNG, RGBA of 16 bits": png_announcing(30_000, 30_000, 16, 6),
    "PNG, greatest": png_announcing(2**31 - 1, 2**31 - 1),
    "PNG, beyond the format": png_announcing(2**32 - 1, 2**32 - 1),
    "PNG, strip": png_announcing(2**31 - 1, 32),
    "JPEG": jpeg_announcing(30_000, 30_000),
    "JPEG, greatest": jpeg_announcing(65_500, 65_500),
}


@pytest.mark.parametrize("body", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_within_milliseconds(body: bytes) -> None:
    """The header is enough to say no."""
    durations_s = []
    for _ in range(5):
        started = time.perf_counter()
        with pytest.raises(TooManyPixels, match=r"\d+ x \d+ pixels; at most 16777216 pixels are accepted"):
            decode_grey(body)
        durations_s.append(time.perf_counter() - started)
    assert min(durations_s) < 0.005


def decode_in_little_memory(bodies: Iterable[bytes]) -> list[str]:
    """What became of each body where no more than 12 MiB can be had on top."""
    decode_grey(png(GREY))  # what the first use allocates for good
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    bound = pages * resource.getpagesize() + 12 * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    outcomes = []
    for body in bodies:
        try:
            decode_grey(body)
            outcomes.append("decoded")
        except (SliceError, MemoryError) as error:
            outcomes.append(type(error).__name__)
    return outcomes


@pytest.mark.skipif(sys.platform != "linux", reason="bounds the memory of a process as Linux does")
def test_a_bomb_is_refused_without_memory_for_it() -> None:
    """None of them needs a tenth of its pixels' bytes. That the bound bites is seen on what the limits allow."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        outcomes = pool.submit(decode_in_little_memory, [*BOMBS.values(), jpeg_announcing(4096, 4096)]).result()
    assert outcomes == ["TooManyPixels"] * len(BOMBS) + ["MemoryError"]


@pytest.mark.parametrize("make", [jpeg, png])
def test_limits_are_inclusive(make: Callable[..., bytes]) -> None:
    """A side and a number of pixels at the limit pass, one less or more does not."""
    body = make(np.zeros((40, 50), np.uint8))
    assert decode_grey(body, RasterLimits(max_pixels=2000, min_side=40)).shape == (40, 50)
    with pytest.raises(TooManyPixels, match="50 x 40 pixels; at most 1999"):
        decode_grey(body, RasterLimits(max_pixels=1999))
    with pytest.raises(TooSmall, match="50 x 40 pixels; each side must have at least 41"):
        decode_grey(body, RasterLimits(min_side=41))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (0, 0), (31, 500), (500, 31), (0, 500), (1, 2**24)])
def test_too_small_is_refused_by_default(width: int, height: int) -> None:
    """A pixel, a line and nothing are no slices, whatever the other side is."""
    with pytest.raises(TooSmall):
        decode_grey(png_announcing(width, height))


@pytest.mark.parametrize("make", [jpeg, png])
def test_the_header_can_be_read_alone(make: Callable[..., bytes]) -> None:
    """Size and kind are known before, and without, the pixels."""
    body = make(COLOURS)
    header = read_header(body[: len(body) // 2])
    assert (header.width, header.height, header.pixels) == (96, 64, 6144)
    assert (header.is_cmyk, header.has_alpha, header.is_progressive) == (False, False, False)


@pytest.mark.parametrize(
    "body",
    [b"\xff\xd8\xff", jpeg(GREY)[:60], b"\x89PNG\r\n\x1a\n", png(GREY)[:32], png_of(chunks_of(png(GREY))[1:])],
)
def test_half_a_header_is_refused(body: bytes) -> None:
    """A file that breaks off within its header, or lacks one, cannot be decoded."""
    with pytest.raises(Undecodable, match=r"^The image cannot be decoded whole: .+\.$"):
        read_header(body)


# --- pixels -----------------------------------------------------------------------------------------------------------

GOLDEN_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5a"
    "YVpQYEpRUk//2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wAAR"
    "CAAgACgDASIAAhEBAxEB/8QAGgAAAwADAQAAAAAAAAAAAAAAAAUGAgMEB//EAC0QAAEDAwMDAgQHAAAAAAAAAAECAwQABREGEiExQVETYXGR"
    "obEiIzKBwdHh/8QAGAEAAwEBAAAAAAAAAAAAAAAAAAIDBAH/xAAfEQACAgIDAAMAAAAAAAAAAAABAgARAxIhMUFRYfD/2gAMAwEAAhEDEQA/"
    "APMaewNMyZEdEmW+1EYX0Ln6vbjgc/Gs9I2xM2cqQ+gKZY7HkFXb+6yvUtcu5OkqUUIUUoB7AUO521Wd4FX7HCdGW7aN0iUVY5IUkD7UunaQ"
    "KHQmFNbUpWSlp7hWB4I6/IU0sVw2WJ4r3ExgegHTtilihbXLOuY7LdVcy7nBH8ePf6VANkDGzBgL/eyZeZcYeWy8gocQcKSeooqv1DDTcrGz"
    "dGkfnNoBWogAqT3zz+9Facb7D7EXkEqfJyaIm+nMdhlPDw3AgdCP8ovttejTnHEMq9BxWUqTkgE9j75qYBIIIJBHQiqq2awLTSGrgwtzaMF1"
    "BG4+Mg/fNJkRg26xjTUfiOLLbdlmcafb2rkZ3A5Bx2z4qZct0xqWIymF+oTxhJII8jyKqE6osxSCZZSSOhaXkfSuGbrKI0SmGw4+QcblfgT8"
    "R3+gqCnJsTXcGra5t1E8LXpxERCBl0BryB3NFRc2W/OkrkSVlTivkB4HtRWnEmg57MTkksfZ/9k="
)
GOLDEN_PIXELS = [[1, 4, 151, 0, 3], [4, 28, 155, 205, 143], [15, 36, 147, 28, 154], [4, 142, 145, 142, 5]]


def test_golden_pixels_of_a_jpeg() -> None:
    """A fixed file gives fixed pixels: an update of a decoder that changes them is seen here first."""
    grey = decode_grey(GOLDEN_JPEG)
    assert grey.shape == (32, 40)
    assert difference(grey[3::8, 3::8], np.array(GOLDEN_PIXELS))[0] <= 1


@pytest.mark.parametrize("make", [jpeg, png])
def test_a_slice_is_grey_of_eight_bits(make: Callable[..., bytes]) -> None:
    """uint8 [height, width], contiguous, from colour as from grey."""
    for pixels in (GREY, COLOURS):
        grey = decode_grey(make(pixels))
        assert (grey.dtype, grey.shape, grey.flags.c_contiguous) == (np.uint8, (64, 96), True)


@pytest.mark.parametrize("make", [jpeg, png])
def test_bytearrays_decode_as_bytes_do(make: Callable[..., bytes]) -> None:
    """Uploads gather in a bytearray; it is read in place, left as it was and not held on to."""
    body = bytearray(make(COLOURS))
    before = bytes(body)
    assert np.array_equal(decode_grey(body), decode_grey(before))
    assert body == before
    body.extend(b"may be resized again")


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 95},
        {"quality": 95, "subsampling": 0},
        {"quality": 95, "subsampling": 2},
        {"quality": 95, "progressive": True},
        {"quality": 95, "optimize": True},
        {"quality": 95, "restart_marker_rows": 1},
        {"quality": 95, "keep_rgb": True},
    ],
    ids=str,
)
def test_every_usual_jpeg_keeps_its_grey(options: dict[str, Any]) -> None:
    """Subsampled, progressive, restarted or stored as RGB: within JPEG's loss the grey is that of the original."""
    greatest, mean = difference(decode_grey(jpeg(COLOURS, **options)), GREY)
    assert greatest <= 8
    assert mean < 1


def more_black(rgb: np.ndarray) -> Image.Image:
    """CMYK in which black ink replaces what the three others have in common, as print shops do."""
    ink = 255 - rgb.astype(int)
    black = ink.min(axis=2)
    rest = np.where(
        black < 255, 255 * (ink - black[..., np.newaxis]).transpose(2, 0, 1) // np.maximum(1, 255 - black), 0
    )
    return Image.frombytes("CMYK", (96, 64), np.dstack([*rest, black]).astype(np.uint8).tobytes())


def cmyk_jpegs() -> dict[str, bytes]:
    """CMYK as Adobe marks it, with black ink, without the mark, and as YCCK."""
    plain = jpeg(COLOURS, "CMYK", quality=95)
    black = io.BytesIO()
    more_black(COLOURS).save(black, "JPEG", quality=95)
    unmarked = b"".join(segment for segment in jpeg_segments(plain) if not segment.startswith(b"\xff\xee"))
    # the same planes, announced as Y, Cb, Cr and K: other colours, but the same for whoever reads it rightly
    at = plain.index(b"Adobe") + 11
    ycck = plain[:at] + b"\2" + plain[at + 1 :]
    return {"Adobe": plain, "black ink": black.getvalue(), "unmarked": unmarked, "YCCK": ycck}


CMYK = cmyk_jpegs()


@pytest.mark.parametrize("name", ["Adobe", "black ink", "unmarked"])
def test_cmyk_means_the_colours_it_was_made_of(name: str) -> None:
    """Light stays light and dark dark: the grey is that of the RGB original, not its negative."""
    assert read_header(CMYK[name]).is_cmyk
    greatest, mean = difference(decode_grey(CMYK[name]), GREY)
    assert greatest <= 8
    assert mean < 1


@pytest.mark.parametrize("body", CMYK.values(), ids=CMYK)
def test_cmyk_reads_as_in_opencv_and_pillow(body: bytes) -> None:
    """Three programs agree on each of the ways to write CMYK, also on the one without a mark."""
    grey = decode_grey(body)
    pillow = np.asarray(Image.open(io.BytesIO(body)).convert("RGB").convert("L"))
    assert difference(grey, np.asarray(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_GRAYSCALE)))[0] <= 4
    assert difference(grey, pillow)[0] <= 4


def test_a_png_keeps_its_grey() -> None:
    """PNG has no loss: grey comes out equal, colour within the rounding of its conversion."""
    assert np.array_equal(decode_grey(png(GREY)), GREY)
    assert difference(decode_grey(png(COLOURS)), GREY)[0] <= 1


@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize("bit_depth", [1, 2, 4, 8, 16])
def test_every_depth_of_grey_spans_black_to_white(bit_depth: int, is_interlaced: bool) -> None:
    """1, 2 and 4 bits are spread over 0 to 255, 16 bits give their high byte; interlaced or row by row."""
    samples = np.linspace(0, 2**bit_depth - 1, 64 * 96).round().astype(np.int64).reshape(64, 96)
    expected = samples >> 8 if bit_depth == 16 else samples * 255 // (2**bit_depth - 1)
    grey = decode_grey(grey_png(samples, bit_depth, is_interlaced=is_interlaced))
    assert np.array_equal(grey, expected)
    assert (grey[0, 0], grey[-1, -1]) == (0, 255)


def test_a_16_bit_slice_is_not_stretched() -> None:
    """The high byte is kept and nothing scaled to the picture's own range, so two slices stay comparable."""
    assert decode_grey(grey_png(np.full((64, 64), 4096), 16)).max() == 16
    assert not decode_grey(grey_png(np.zeros((64, 64), np.int64), 16)).any()


DEEP = np.linspace(0, 4095, 64 * 96).round().astype(np.int64).reshape(64, 96)


@pytest.mark.parametrize("significant_bits", [12, 14])
def test_samples_that_were_not_scaled_up_are_seen_by_the_bits_that_the_file_states(significant_bits: int) -> None:
    """12-bit values in 16 bits, with sBIT, are no black picture."""
    extra = [(b"sBIT", bytes([significant_bits]))]
    assert np.array_equal(decode_grey(grey_png(DEEP, 16, extra=extra)), DEEP >> (significant_bits - 8))


def test_samples_that_were_scaled_up_keep_their_high_byte() -> None:
    """As PNG asks of encoders: 12 bits, their highest ones repeated below."""
    scaled = DEEP << 4 | DEEP >> 8
    assert np.array_equal(decode_grey(grey_png(scaled, 16, extra=[(b"sBIT", b"\x0c")])), DEEP >> 4)


@pytest.mark.parametrize("extra", [(), [(b"sBIT", b"\x00")], [(b"sBIT", b"\x11")], [(b"sBIT", b"")]])
def test_12_bits_that_a_file_does_not_state_are_refused(extra: list[tuple[bytes, bytes]]) -> None:
    """By name of the depth, and not shown as a black picture; an sBIT that states nothing possible is none."""
    for body in (grey_png(DEEP, 16, extra=extra), png_of_colours(DEEP)):
        with pytest.raises(Undecodable, match=r"^The PNG has 16 bits a sample, but no value above 4095: .*12-bit"):
            decode_grey(body)
    assert np.array_equal(decode_grey(grey_png(DEEP, 16, extra=[(b"sBIT", b"\x10")])), DEEP >> 8)


def png_of_colours(samples: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, without a colour in it."""
    return cv2.imencode(".png", np.dstack([samples] * 3).astype(np.uint16))[1].tobytes()


def test_who_asks_for_a_window_sees_the_samples_as_they_are() -> None:
    """Whatever the file says of its depth."""
    window = Window(level=2048, width=4096)
    for extra in ((), [(b"sBIT", b"\x0e")]):
        assert np.array_equal(decode_grey(grey_png(DEEP, 16, extra=extra), window=window), DEEP >> 4)


def test_colour_of_16_bits_is_grey_of_its_high_bytes() -> None:
    """16 bits a channel lose nothing but what 8 bits cannot hold."""
    body = cv2.imencode(".png", COLOURS[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    assert difference(decode_grey(body), GREY)[0] <= 1


@pytest.mark.parametrize("colours", [16, 256])
def test_a_palette_is_looked_up(colours: int) -> None:
    """The pixels of a palette picture are its colours' grey, not its indices."""
    picture = Image.fromarray(COLOURS).quantize(colours)
    file = io.BytesIO()
    picture.save(file, "PNG")
    assert difference(decode_grey(file.getvalue()), np.asarray(picture.convert("RGB").convert("L")))[0] <= 1


def test_alpha_lies_over_black() -> None:
    """Transparent is black, as around the round field of a scan, and half transparent half as bright."""
    expected = np.round(GREY * (RAMP / 255.0)).astype(int)
    assert difference(decode_grey(png(np.dstack([COLOURS, RAMP]))), expected)[0] <= 1
    file = io.BytesIO()
    Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(RAMP)]).save(file, "PNG")
    assert difference(decode_grey(file.getvalue()), expected)[0] <= 1
    deep = np.dstack([COLOURS[..., ::-1], RAMP]).astype(np.uint16) * 257
    assert difference(decode_grey(cv2.imencode(".png", deep)[1].tobytes()), expected)[0] <= 1


def test_a_transparent_colour_is_black() -> None:
    """Transparency by tRNS, of a palette's entry, a grey level or a colour, is alpha too."""
    picture = Image.fromarray(COLOURS).quantize(16)
    entries, greys = np.asarray(picture), np.asarray(picture.convert("RGB").convert("L"))
    body = png_with_transparency(picture, 3)
    assert difference(decode_grey(body), np.where(entries == 3, 0, greys))[0] <= 1

    level = int(GREY[20, 20])
    assert np.array_equal(decode_grey(png(GREY, transparency=level)), np.where(level == GREY, 0, GREY))

    colour = tuple(int(value) for value in COLOURS[20, 20])
    expected = np.where((COLOURS[20, 20] == COLOURS).all(axis=2), 0, GREY)
    assert difference(decode_grey(png(COLOURS, transparency=colour)), expected)[0] <= 1


def png_with_transparency(picture: Image.Image, entry: int | bytes | tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=entry)
    return file.getvalue()


@pytest.mark.parametrize("bit_depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_level_counts_in_its_own_depth(bit_depth: int) -> None:
    """tRNS speaks of samples as stored, before they are spread over 8 bits or cut to them."""
    white = 2**bit_depth - 1
    samples = np.zeros((64, 64), np.int64)
    samples[:, 32:] = white
    samples[:, 48:] = white - 1
    extra = [(b"tRNS", white.to_bytes(2, "big"))]
    grey = decode_grey(grey_png(samples, bit_depth, extra=extra))
    opaque = decode_grey(grey_png(samples, bit_depth))
    assert not grey[:, 32:48].any()
    assert np.array_equal(grey[:, 48:], opaque[:, 48:])


@pytest.mark.parametrize("content", [b"", b"\1", bytes(500)])
@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_malformed_transparency_hides_nothing(mode: str, content: bytes) -> None:
    """A tRNS of a wrong length is ignored, as libpng does, or refused; it never ends otherwise."""
    header, *rest = [chunk for chunk in chunks_of(png(COLOURS, mode)) if chunk[0] != b"tRNS"]
    at = 1 if mode == "P" else 0
    with contextlib.suppress(Undecodable):
        assert decode_grey(png_of([header, *rest[:at], (b"tRNS", content), *rest[at:]])).shape == (64, 96)


# --- real slices ------------------------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_real_slices_are_what_opencv_sees(real_slices: Path) -> None:
    """The stricter decoder refuses no slice of the public set and gives the same grey."""
    for file in sorted(real_slices.glob("*/*.jpg"))[::20]:
        body = file.read_bytes()
        seen = np.asarray(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_GRAYSCALE))
        assert difference(decode_grey(body), seen)[0] <= 2


@pytest.mark.real_data
def test_real_slices_cut_off_are_refused(real_slices: Path) -> None:
    """Half a download is no slice, with or without an end marker."""
    for file in sorted(real_slices.glob("*/*.jpg"))[::60]:
        body = file.read_bytes()
        for share in (0.1, 0.5, 0.9, 0.99, 0.999):
            for tail in (b"", b"\xff\xd9", bytes(len(body) - int(share * len(body)))):
                with pytest.raises(SliceError):
                    decode_grey(body[: int(share * len(body))] + tail)
