import threading
import time

import cv2
import numpy as np
import pytest

from shared.raster.decode import RasterLimits, SliceError, Undecodable, decode_grey, read_header
from shared.raster.jpeg_segments import MAX_SCANS, is_progressive, orientation_of_whole
from tests.support.inputs.image_files import exif_tiff, jpeg, jpeg_segments, scan_data_start, with_exif
from tests.support.inputs.slices import grey_slice

END = b"\xff\xd9"
SLICE = grey_slice(seed=2, side=96)
COLOURED = np.dstack([SLICE, np.roll(SLICE, 5, 1), 255 - SLICE])

BODIES = {
    "grey": jpeg(SLICE),
    "high quality": jpeg(SLICE, quality=98),
    "colour": jpeg(COLOURED),
    "progressive": jpeg(SLICE, progressive=True),
    "progressive colour": jpeg(COLOURED, progressive=True),
    "restart markers": jpeg(SLICE, restart_marker_blocks=4),
    "CMYK": jpeg(COLOURED, "CMYK"),
}
every_kind = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)


def cuts(body: bytes) -> list[int]:
    """Lengths to cut a file at: all through the headers and the end, and every so many bytes between."""
    start = scan_data_start(body)
    return sorted({*range(0, start, 5), *range(start, len(body), 19), *range(len(body) - 64, len(body))})


@every_kind
def test_the_whole_file_is_an_image(body: bytes) -> None:
    """What the tests below cut and damage decodes before that."""
    assert decode_grey(body).shape == SLICE.shape


@every_kind
def test_a_truncated_jpeg_is_never_an_image(body: bytes) -> None:
    """Wherever a JPEG is cut, it is refused; without its last byte too."""
    for cut in cuts(body):
        with pytest.raises(SliceError):
            decode_grey(body[:cut])


@every_kind
def test_an_end_marker_pasted_back_does_not_help(body: bytes) -> None:
    """Programs that repair files do this. Cut between the scans of a progressive JPEG, the rest is a blurred slice."""
    lengths = {len(b"".join(jpeg_segments(body)[:n])) for n in range(1, len(jpeg_segments(body)))}
    whole = {len(body) - 2, len(body) - 1}  # here the end marker is all that is missing
    for cut in (set(cuts(body)) | lengths) - whole:
        with pytest.raises(SliceError):
            decode_grey(body[:cut] + END)
    assert np.array_equal(decode_grey(body[:-2] + END), decode_grey(body))


@every_kind
def test_a_tail_of_zeros_is_never_an_image(body: bytes) -> None:
    """An unfinished copy may have its full length already, the rest not yet written."""
    for cut in cuts(body)[:-1]:
        with pytest.raises(SliceError):
            decode_grey(body[:cut] + bytes(len(body) - cut))


@every_kind
def test_damage_within_is_refused_or_keeps_the_shape(body: bytes) -> None:
    """JPEG has no checksum: what happens to decode is beyond telling, but it is a slice of the size announced."""
    random, start, refused = np.random.default_rng(11), scan_data_start(body), 0
    for length in (1, 16, 64, 256):
        for at in random.integers(start, len(body) - length - 2, 25):
            damaged = body[:at] + bytes(length) + body[at + length :]
            try:
                assert decode_grey(damaged).shape == SLICE.shape
            except Undecodable:
                refused += 1
    assert refused > 10  # libjpeg's warnings are heard


def test_most_missing_blocks_of_a_volume_are_refused() -> None:
    """Where a disk lost 4 KiB of a slice, the scan rarely still ends just where its data does. (It can.)"""
    refused = []
    for seed in range(4):
        body = jpeg(grey_slice(seed, side=512))
        for at in range(1024, len(body) - 6144, 1024):
            try:
                decode_grey(body[:at] + bytes(4096) + body[at + 4096 :])
            except Undecodable:
                refused.append(True)
            else:
                refused.append(False)
    assert len(refused) > 30
    assert np.mean(refused) > 0.9


def test_what_follows_the_end_marker_does_not_matter() -> None:
    """Phones append videos and thumbnails; archives pad."""
    for tail in (b"x", bytes(1000), BODIES["colour"]):
        assert np.array_equal(decode_grey(BODIES["grey"] + tail), decode_grey(BODIES["grey"]))


def test_fill_bytes_before_a_marker_are_allowed() -> None:
    """T.81, B.1.1.2: any number of FF may precede a marker; an orientation behind them counts."""
    segments = jpeg_segments(with_exif(BODIES["progressive"], exif_tiff(3)))
    body = b"\xff\xff\xff".join(segments)
    assert np.array_equal(decode_grey(body), decode_grey(BODIES["progressive"])[::-1, ::-1])


def test_the_first_exif_segment_counts() -> None:
    """Other APP1 segments, as XMP, come before it or after and say nothing."""
    xmp = b"\xff\xe1\x00\x20http://ns.adobe.com/xap/1.0/\0\0"
    body = with_exif(with_exif(BODIES["grey"], exif_tiff(8)), exif_tiff(3))
    assert orientation_of_whole(body[:2] + xmp + body[2:], 96 * 96) == 3
    assert orientation_of_whole(BODIES["grey"], 96 * 96) == 1


@pytest.mark.parametrize("name", BODIES)
def test_progressive_files_are_told_by_their_header(name: str) -> None:
    """The service decodes them apart, because each of their scans costs as much as a whole image."""
    body = BODIES[name]
    assert is_progressive(body) == name.startswith("progressive")
    assert is_progressive(body[: scan_data_start(body)]) == name.startswith("progressive")
    with pytest.raises(ValueError, match="ends early"):
        is_progressive(body[:20])


def test_a_progressive_file_without_one_of_its_scans_is_refused() -> None:
    """Any scan that a whole file has is missed, not just the last."""
    segments = jpeg_segments(BODIES["progressive colour"])
    scans = [index for index, segment in enumerate(segments) if segment.startswith(b"\xff\xda")]
    assert len(scans) > 5
    for scan in scans:
        with pytest.raises(Undecodable):
            decode_grey(b"".join(segments[:scan] + segments[scan + 1 :]))


@pytest.mark.parametrize(("kind", "most"), [("progressive", MAX_SCANS), ("grey", 1), ("colour", 3)])
def test_endless_scans_are_refused_before_decoding(kind: str, most: int) -> None:
    """30 bytes more cost libjpeg a pass over all pixels: thousands of scans would hold a core for minutes."""
    body = jpeg(
        np.zeros((1024, 1024, 3 if kind == "colour" else 1), np.uint8).squeeze(), progressive=kind == "progressive"
    )
    *segments, end = jpeg_segments(body)
    bomb = b"".join([*segments, *segments[-1:] * 10_000, end])
    started = time.thread_time()
    with pytest.raises(Undecodable, match=f"more than {most} scans"):
        decode_grey(bomb)
    assert time.thread_time() - started < 0.5


def test_endless_segments_are_refused_before_decoding() -> None:
    """A million empty comments, or one gap of fill bytes, are not walked at leisure."""
    body = BODIES["grey"]
    started = time.thread_time()
    with pytest.raises(Undecodable, match="ends early or a segment is damaged"):
        decode_grey(body[:2] + b"\xff\xfe\x00\x02" * 1_000_000 + body[2:])
    assert np.array_equal(decode_grey(body[:-2] + b"\xff" * 5_000_000 + END), decode_grey(body))
    assert time.thread_time() - started < 2


@pytest.mark.parametrize(
    "junk", [b"\0", b"abc", b"\xff\x00", b"\xff\xd0", b"\xff\x01", b"\xff\xfe\x00\x01", b"\xff\xe0\xff\xff"]
)
def test_junk_between_segments_is_refused(junk: bytes) -> None:
    """The walk and libjpeg agree on where each scan is; what only one of them could skip is damage."""
    segments = jpeg_segments(BODIES["progressive"])
    for index in range(2, len(segments) - 1):
        if not segments[index - 1].startswith(b"\xff\xda"):  # there it would be coded data
            with pytest.raises(Undecodable):
                decode_grey(b"".join([*segments[:index], junk, *segments[index:]]))


def test_the_scans_of_a_large_file_are_fewer() -> None:
    """Each is a pass over all pixels: so many of a small picture are nothing, of the largest they are seconds."""
    body = jpeg(np.zeros((4096, 4096), np.uint8), progressive=True)
    *segments, end = jpeg_segments(body)
    scans = sum(segment.startswith(b"\xff\xda") for segment in segments)
    assert not decode_grey(body).any()
    started = time.thread_time()
    with pytest.raises(Undecodable, match="more than 12 scans"):
        decode_grey(b"".join([*segments, *segments[-1:] * (13 - scans), end]))
    assert time.thread_time() - started < 0.1


def test_where_larger_pictures_are_accepted_they_may_have_as_many_scans() -> None:
    """25 million pixels, as progressive as encoders write them."""
    pixels = np.zeros((5000, 5000), np.uint8)
    body = cv2.imencode(".jpg", cv2.merge([pixels] * 3), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert decode_grey(body, RasterLimits(max_pixels=32 * 2**20)).shape == (5000, 5000)


def test_megabytes_before_the_frame_are_not_looked_through() -> None:
    """Fill bytes, and tables again and again, which the service would look through before it knows the size."""
    body = BODIES["grey"]
    tables = b"\xff\xdb" + (2 + 65 * 1000).to_bytes(2, "big") + bytes([0, *range(1, 65)]) * 1000
    for before in (b"\xff" * 19 * 2**20, tables * 300, b"\xff\xc4\xff\xff" + bytes(65_533)):
        bomb = body[:2] + before + body[2:]
        started = time.thread_time()
        with pytest.raises(Undecodable, match="segment is damaged"):
            read_header(bomb)
        assert time.thread_time() - started < 0.005


@pytest.mark.alone
@pytest.mark.parametrize("coded", [b"\xff\x00", b"\xff\xd0", b"\xff\xff", b"\x00\x00"])
def test_megabytes_of_coded_data_hold_no_other_thread_up(coded: bytes) -> None:
    """Nearly all of the time in which the end of a scan is looked for, other threads may run."""
    body = BODIES["grey"]
    bomb = bytearray(body[:-2] + coded * (8 * 2**20) + END)
    turns, is_over = [time.monotonic()], threading.Event()

    def take_turns() -> None:
        while not is_over.wait(0.0005):
            turns.append(time.monotonic())

    thread = threading.Thread(target=take_turns)
    thread.start()
    orientation_of_whole(bomb, 96 * 96)
    is_over.set()
    thread.join()
    assert len(turns) > 3


def test_a_scan_of_more_components_than_there_can_be_is_refused() -> None:
    """Four at most (T.81, B.2.3)."""
    *segments, end = jpeg_segments(BODIES["progressive"])
    scan = b"\xff\xda" + (6 + 2 * 255).to_bytes(2, "big") + b"\xff" + bytes(510) + b"\0\x3f\0"
    with pytest.raises(Undecodable, match="header of a scan is damaged"):
        decode_grey(b"".join([*segments, scan, end]))
