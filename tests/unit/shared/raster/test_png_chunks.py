import time
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from PIL import Image

from shared.raster.decode import SliceError, Undecodable, decode_grey
from shared.raster.png_chunks import still_png
from tests.support.inputs.image_files import (
    chunks_of,
    exif_tiff,
    grey_png,
    jpeg,
    overfull_png,
    png,
    png_holding,
    png_of,
    png_of_empty_blocks,
)
from tests.support.inputs.slices import grey_slice

SLICE = grey_slice(seed=1, side=96)
BODIES = {
    "grey": png(SLICE),
    "colour": png(np.dstack([SLICE, 255 - SLICE, SLICE])),
    "alpha": png(np.dstack([SLICE, SLICE, SLICE, SLICE])),
    "palette": png(SLICE, "P"),
    "16 bit": png(SLICE.astype(np.uint16) << 8),
}


def least_s(call: Callable[[], object]) -> float:
    """Processor seconds of the cheapest of three calls: what neighbours take from a core and its caches is not ours."""
    seconds = []
    for _ in range(3):
        started = time.thread_time()
        call()
        seconds.append(time.thread_time() - started)
    return min(seconds)


def refused(body: bytes, why: str) -> None:
    with pytest.raises(Undecodable, match=why):
        decode_grey(body)


every_kind = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)


@every_kind
def test_a_truncated_png_is_never_an_image(body: bytes) -> None:
    """Wherever a PNG is cut, within a chunk or between two, it is refused; without its last byte too."""
    borders = {8 + sum(12 + len(content) for _, content in chunks_of(body)[:n]) for n in range(len(chunks_of(body)))}
    for cut in {*range(0, len(body), 13), *range(64), *range(len(body) - 32, len(body)), *borders}:
        with pytest.raises(SliceError):
            decode_grey(body[:cut])


@every_kind
def test_less_data_under_right_checksums_is_never_an_image(body: bytes) -> None:
    """A repaired PNG, its end pasted back and its checksums mended, lacks rows that no checksum speaks of."""
    *before, (_, data), end = chunks_of(body)
    for cut in {*range(0, len(data), 97), len(data) - 1, len(data) - 4, len(data) - 5}:
        with pytest.raises(Undecodable):
            decode_grey(png_of([*before, (b"IDAT", data[:cut]), end]))
    rows = zlib.decompress(data)
    for cut in (0, 1, len(rows) // 2, len(rows) - 1):
        with pytest.raises(Undecodable):
            decode_grey(png_of([*before, (b"IDAT", zlib.compress(rows[:cut])), end]))


@every_kind
def test_each_flipped_byte_is_found(body: bytes) -> None:
    """Every byte of the picture lies under a checksum, so no change passes as a slice."""
    for at in [*range(48), *range(48, len(body), 23), *range(len(body) - 20, len(body))]:
        with pytest.raises(SliceError):
            decode_grey(body[:at] + bytes([body[at] ^ 0x40]) + body[at + 1 :])


@every_kind
def test_zeroed_bytes_are_found(body: bytes) -> None:
    """So is a hole in a copy, of whatever size, and a tail not yet written."""
    for length in (16, 512):
        for at in range(0, len(body) - 12, 211):
            with pytest.raises(SliceError):
                decode_grey(body[:at] + bytes(length) + body[at + length :])
    for at in range(0, len(body), 97):
        with pytest.raises(SliceError):
            decode_grey(body[:at] + bytes(len(body) - at))


def test_what_follows_the_end_does_not_matter() -> None:
    """Bytes behind IEND belong to no picture."""
    assert np.array_equal(decode_grey(BODIES["grey"] + b"tail" * 100), SLICE)


def test_data_may_come_in_many_chunks() -> None:
    """IDAT is cut where the encoder likes."""
    *before, (_, data), end = chunks_of(BODIES["grey"])
    pieces = [(b"IDAT", data[at : at + 7]) for at in range(0, len(data), 7)]
    assert np.array_equal(decode_grey(png_of([*before, *pieces, end])), SLICE)


def test_an_animation_shows_its_still_picture() -> None:
    """What a program without animations shows is the slice: the first frame, or the picture beside the frames."""
    frames = [255 - SLICE, np.roll(SLICE, 20, 0)]
    others = [Image.fromarray(frame) for frame in frames]
    for is_beside in (False, True):
        body = png(SLICE, save_all=True, append_images=others, default_image=is_beside)
        assert b"acTL" in dict(chunks_of(body))
        assert np.array_equal(decode_grey(body), SLICE)


def test_only_the_picture_reaches_the_decoder() -> None:
    """Texts, profiles and frames are left out; the palette, its transparency and unknown critical chunks stay."""
    header, *rest = chunks_of(png(SLICE, "P", transparency=3))
    others = [
        (b"tEXt", b"Comment\0x"),
        (b"gAMA", bytes(4)),
        (b"eXIf", exif_tiff(6)),
        (b"acTL", bytes(8)),
        (b"QQQQ", b""),
    ]
    still = still_png(png_of([header, *others, *rest]))
    assert list(dict(chunks_of(bytes(still.body)))) == [b"IHDR", b"QQQQ", b"PLTE", b"tRNS", b"IDAT", b"IEND"]
    assert still.orientation == 6
    assert still.transparency == dict(rest)[b"tRNS"]


def test_a_chunk_that_must_be_understood_is_refused() -> None:
    """The specification forbids to show a picture whose critical chunks one does not know."""
    header, *rest = chunks_of(BODIES["grey"])
    with pytest.raises(Undecodable):
        decode_grey(png_of([header, (b"QQQQ", b"?"), *rest]))


def test_endless_chunks_are_refused_before_decoding() -> None:
    """A file of nothing but empty chunks is not walked at leisure."""
    header, *rest = chunks_of(BODIES["grey"])
    bomb = png_of([header]) + png_of([(b"teXt", b"")])[8:] * 200_000 + png_of(rest)[8:]
    assert least_s(lambda: refused(bomb, "too many chunks")) < 1


def test_a_jpeg_in_a_pngs_clothes_is_refused() -> None:
    """The signature alone makes no PNG, and the other format is not tried behind it."""
    with pytest.raises(Undecodable):
        decode_grey(BODIES["grey"][:8] + jpeg(SLICE))


# --- what costs more than a picture -----------------------------------------------------------------------------------


def test_rows_without_end_are_not_inflated() -> None:
    """1 MiB that inflates to 1 GiB costs nothing, behind a small picture and instead of a larger one's rows."""
    bombs = [overfull_png(1, side) for side in (64, 1024)]
    assert sum(least_s(partial(refused, bomb, "more than its rows")) for bomb in bombs) < 0.5


@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize("bit_depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("side", [33, 64])
def test_rows_are_as_long_as_the_header_says(side: int, bit_depth: int, is_interlaced: bool) -> None:
    """In every depth, interlaced or not: one byte more or less is no picture."""
    whole = grey_png(np.zeros((side, side), np.int64), bit_depth, is_interlaced=is_interlaced)
    header, (_, data), end = chunks_of(whole)
    assert not decode_grey(whole).any()
    rows = zlib.decompress(data)
    for other in (rows[:-1], rows + b"\0"):
        with pytest.raises(Undecodable):
            decode_grey(png_of([header, (b"IDAT", zlib.compress(other)), end]))


def test_rows_that_do_not_compress_are_read() -> None:
    """Stored, stored in small blocks, or flushed after each row: as large as an encoder can make them."""
    noise = np.random.default_rng(0).integers(0, 256, (512, 512), np.uint8)
    rows = [b"\0" + row.tobytes() for row in noise]
    packer = zlib.compressobj(0)
    flushed = b"".join(packer.compress(row) + packer.flush(zlib.Z_SYNC_FLUSH) for row in rows) + packer.flush()
    for coded in (flushed, zlib.compress(b"".join(rows), 0), zlib.compress(b"".join(rows), 9)):
        assert np.array_equal(decode_grey(png_holding(coded, 512, 512)), noise)


def test_blocks_that_hold_nothing_are_not_inflated_for_long() -> None:
    """A block of deflate costs a decoder a table or two, whatever is in it."""
    body = png_of_empty_blocks(2048)
    assert least_s(lambda: refused(body, "too long to inflate")) < 0.5


def test_the_first_exif_chunk_counts_and_is_not_walked_for_long() -> None:
    """Hundreds of them, of tens of thousands of entries each, say nothing more."""
    header, *rest = chunks_of(BODIES["grey"])
    entries = b"MM\0*" + (8).to_bytes(4, "big") + b"\xff\xff" + bytes(12 * 65_535)
    body = png_of([header, (b"eXIf", exif_tiff(3)), *[(b"eXIf", entries)] * 20, *rest])
    assert np.array_equal(decode_grey(body), SLICE[::-1, ::-1])
    assert least_s(lambda: decode_grey(body)) < 0.2
    assert np.array_equal(decode_grey(png_of([header, (b"eXIf", entries), *rest])), SLICE)


def test_transparency_of_megabytes_hides_nothing() -> None:
    """It has at most 256 bytes in any picture."""
    header, *rest = chunks_of(BODIES["grey"])
    assert np.array_equal(decode_grey(png_of([header, (b"tRNS", bytes(4 * 2**20)), *rest])), SLICE)
