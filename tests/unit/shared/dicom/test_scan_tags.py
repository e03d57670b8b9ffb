"""What a DICOM file says of its acquisition is kept in words of our own."""

from typing import Any

import pytest
from pydantic import ValidationError
from pydicom import Dataset, Sequence, uid

from shared.dicom.decode import decode_dicom
from shared.dicom.process import DicomProcess
from shared.dicom.scan_tags import OTHER, ScanTags
from shared.raster.decode import DEFAULT_LIMITS
from shared.window import LUNG_WINDOW
from tests.support.inputs.dicom_files import LOSSLESS, ct_file, hounsfield
from tests.support.inputs.slices import grey_slice

HU = hounsfield(grey_slice(1, 64))
TAGS: dict[str, Any] = {
    "ConvolutionKernel": "B70f", "Manufacturer": "SIEMENS", "SliceThickness": "1.5", "ContrastBolusAgent": "Iomeprol",
}  # fmt: skip


def tags_of(body: bytes) -> ScanTags:
    return decode_dicom(body, LUNG_WINDOW, 1, DEFAULT_LIMITS).tags


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big-endian", "deflated", "jpeg-ls"])
def test_four_tags_are_read_in_every_transfer_syntax(syntax: str) -> None:
    """Of the contrast agent only that there is one."""
    tags = tags_of(ct_file(HU, LOSSLESS[syntax], **TAGS))
    assert tags == ScanTags(kernel="B70f", maker="SIEMENS", thickness_mm=1.5, has_contrast=True)


def test_a_file_that_says_nothing_has_no_tags() -> None:
    """And no contrast agent."""
    assert tags_of(ct_file(HU)) == ScanTags()
    assert not tags_of(ct_file(HU, ContrastBolusAgent="NONE")).has_contrast


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"ConvolutionKernel": ["Br40d", "3"]}, {"kernel": "Br40d"}),
        ({"ConvolutionKernel": " STANDARD"}, {"kernel": "STANDARD"}),
        ({"ConvolutionKernel": "Smith^John"}, {"kernel": OTHER}),
        ({"ConvolutionKernel": "B70f Smith"}, {"kernel": OTHER}),
        ({"Manufacturer": "GE MEDICAL SYSTEMS"}, {"maker": "GE"}),
        ({"Manufacturer": "Philips"}, {"maker": "PHILIPS"}),
        ({"Manufacturer": "TOSHIBA_MEC"}, {"maker": "TOSHIBA"}),
        ({"Manufacturer": "Smith Hospital"}, {"maker": OTHER}),
        ({"Manufacturer": "123"}, {"maker": OTHER}),
        ({"SliceThickness": "0"}, {}),
        ({"SliceThickness": "1e5"}, {}),
    ],
)
def test_only_known_names_are_kept(elements: dict[str, Any], expected: dict[str, Any]) -> None:
    """Whatever else stands there could be of a patient or a hospital."""
    assert tags_of(ct_file(HU, **elements)) == ScanTags(**expected)


def test_damaged_tags_refuse_no_slice() -> None:
    """A number that is none, and a text that is too long, say nothing of the pixels."""
    body = ct_file(HU, SliceThickness="1.55", ContrastBolusAgent="Iomeprol").replace(b"1.55", b"1,5 ")
    body = body.replace(b"LO\x08\0Iomeprol", b"LO\xa0\x0f" + b"Iomeprol" * 500)
    assert len(body) > len(ct_file(HU)) + 4000
    assert tags_of(body) == ScanTags(has_contrast=True)


def test_enhanced_images_say_it_for_a_frame() -> None:
    """In functional groups, which all frames share or which are a frame's own."""
    reconstruction, measures, usage, scale, shared, own = (Dataset() for _ in range(6))
    reconstruction.ConvolutionKernel, measures.SliceThickness = "FC08", "5"
    usage.ContrastBolusAgentAdministered = "YES"
    scale.RescaleSlope, scale.RescaleIntercept = 1, 0
    shared.CTReconstructionSequence, shared.PixelMeasuresSequence = Sequence([reconstruction]), Sequence([measures])
    shared.PixelValueTransformationSequence = Sequence([scale])
    own.ContrastBolusUsageSequence = Sequence([usage])
    body = ct_file(
        HU[None], slope=None, intercept=None, SOPClassUID=uid.EnhancedCTImageStorage, NumberOfFrames=1,
        SharedFunctionalGroupsSequence=Sequence([shared]), PerFrameFunctionalGroupsSequence=Sequence([own]),
    )  # fmt: skip
    assert tags_of(body) == ScanTags(kernel="FC08", thickness_mm=5, has_contrast=True)


def test_tags_come_back_from_the_process_that_reads_them() -> None:
    """As they were read there."""
    process = DicomProcess(DEFAULT_LIMITS)
    try:
        assert process.decode(ct_file(HU, **TAGS), LUNG_WINDOW, 1).tags == tags_of(ct_file(HU, **TAGS))
    finally:
        process.close()


@pytest.mark.parametrize(
    "said",
    [{"kernel": "Smith"}, {"kernel": "B70f\n"}, {"maker": "Smith"}, {"thickness_mm": float("nan")},
     {"thickness_mm": "1"}, {"has_contrast": "Smith"}, {"name": "Smith"}],
)  # fmt: skip
def test_nothing_else_is_taken_from_there(said: dict[str, Any]) -> None:
    """A file that took its decoder over could say what it likes."""
    with pytest.raises(ValidationError):
        ScanTags.model_validate(said)
