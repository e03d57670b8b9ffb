"""DICOM files that cost more than a slice may: refused before they do, and sound ones that are large are not."""

import time

import numpy as np
import pytest
from pydicom import Dataset, Sequence

from shared.dicom.decode import decode_dicom
from shared.raster.decode import DEFAULT_LIMITS, Undecodable
from shared.window import LUNG_WINDOW
from tests.support.inputs.dicom_files import (
    ITEM,
    LOSSLESS,
    ct_dataset,
    ct_file,
    deflated_again,
    hounsfield,
    with_elements,
    with_fragments,
    with_items,
    with_sequence,
    written,
)
from tests.support.inputs.slices import grey_slice

SLICE = grey_slice(1, 128)
HU = hounsfield(SLICE)
PLAIN, CODED, DEFLATED = (ct_file(HU, LOSSLESS[name]) for name in ("explicit", "jpeg-ls", "deflated"))
OPEN = ITEM + b"\xff\xff\xff\xff\x20\0\x21\x92SQ\0\0\xff\xff\xff\xff"  # an item that begins with a sequence

COSTLY = {
    "items": with_items(PLAIN, 300_000),
    "items, deflated": deflated_again(with_items(PLAIN, 300_000), DEFLATED),
    "elements": with_elements(PLAIN, 300_000),
    "elements, deflated": deflated_again(with_elements(PLAIN, 300_000), DEFLATED),
    "fragments": with_fragments(CODED, 300_000),
    "sequences in sequences": with_sequence(PLAIN, OPEN * 100_000),
    "values": ct_file(HU, ImageType=["A"] * 30_000),
}


@pytest.mark.parametrize("body", COSTLY.values(), ids=COSTLY)
def test_what_only_costs_is_refused_early(body: bytes) -> None:
    """Millions of items, fragments, elements or values: within a tenth of the time that they would take."""
    started = time.thread_time()
    with pytest.raises(Undecodable):
        decode_dicom(body, LUNG_WINDOW, 1, DEFAULT_LIMITS)
    assert time.thread_time() - started < 1


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big-endian", "deflated", "jpeg-ls"])
def test_an_enhanced_image_of_many_frames_is_read(syntax: str) -> None:
    """200 frames with 20 items and 60 elements each, which is more than scanners write."""
    frames = np.broadcast_to(hounsfield(grey_slice(1, 64)), (200, 64, 64)).copy()
    frames[150] += 100

    def group(number: int) -> Dataset:
        own = Dataset()
        for place in range(20):
            item = Dataset()
            item.add_new(0x0011_1001, "LO", f"{number} of {place}")
            item.add_new(0x0011_1002, "DS", [number, place])
            own.add_new(0x0013_1000 + place, "SQ", Sequence([item]))
        return own

    dataset = ct_dataset(frames, PerFrameFunctionalGroupsSequence=Sequence([group(number) for number in range(200)]))
    body = written(dataset, LOSSLESS[syntax])
    first, other = (decode_dicom(body, LUNG_WINDOW, frame, DEFAULT_LIMITS) for frame in (1, 151))
    assert first.frames == 200
    assert not np.array_equal(first.grey, other.grey)
