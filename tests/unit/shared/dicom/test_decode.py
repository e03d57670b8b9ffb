"""DICOM bytes → grey slice: transfer syntaxes, Hounsfield units, what is refused, and that tags stay where they are."""

import io
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, Sequence, uid
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import UID

from shared.dicom import errors as words
from shared.dicom.decode import decode_dicom
from shared.dicom.errors import Localizer, NoPixelData, NoSuchFrame, NotCt, UnreadPixels
from shared.raster.decode import DEFAULT_LIMITS, RasterLimits, SliceError, TooManyPixels, TooSmall, Undecodable
from shared.window import LUNG_WINDOW, Window
from tests.support.inputs.dicom_files import (
    LOSSLESS,
    LOSSY,
    ct_dataset,
    ct_file,
    hounsfield,
    jpeg_ct_file,
    reread,
    written,
)
from tests.support.inputs.image_files import jpeg
from tests.support.inputs.slices import grey_slice

SLICE = grey_slice(1, 128)
HU = hounsfield(SLICE)


def decode(
    body: bytes, frame: int = 1, window: Window = LUNG_WINDOW, limits: RasterLimits = DEFAULT_LIMITS
) -> np.ndarray:
    return decode_dicom(body, window, frame, limits).grey


# --- transfer syntaxes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS.keys())
def test_lossless_forms_give_the_same_pixels(syntax: UID) -> None:
    """Signed 16 bits, and unsigned 12 of 16 with an intercept."""
    assert np.array_equal(decode(ct_file(HU, syntax)), SLICE)
    unsigned = (HU.astype(np.int32) + 1400).astype(np.uint16)
    assert np.array_equal(decode(ct_file(unsigned, syntax, intercept=-1400, BitsStored=12, HighBit=11)), SLICE)


@pytest.mark.parametrize("syntax", LOSSY.values(), ids=LOSSY.keys())
def test_lossy_forms_give_nearly_the_same_pixels(syntax: UID) -> None:
    """Near-lossless JPEG-LS, JPEG 2000, HTJ2K."""
    assert np.abs(decode(ct_file(HU, syntax)).astype(int) - SLICE).mean() < 2


def test_baseline_jpeg_of_8_bits_is_read() -> None:
    """Grey values with a slope that makes Hounsfield units of them."""
    assert np.abs(decode(jpeg_ct_file(SLICE, jpeg(SLICE, quality=95))).astype(int) - SLICE).mean() < 2


@pytest.mark.parametrize(
    "syntax", [LOSSLESS[name] for name in ("rle", "jpeg-ls", "jpeg-2000", "htj2k", "jpeg-lossless")]
)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_pixels_that_end_early_are_refused(syntax: UID, share: float) -> None:
    """Nobody guesses what is missing, whatever the codec would."""
    dataset = reread(ct_file(HU, syntax))
    coded = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([coded[: int(len(coded) * share) // 2 * 2]])
    with pytest.raises(Undecodable):
        decode(_saved(dataset))


def test_native_pixels_that_end_early_are_refused() -> None:
    """Half of the rows."""
    dataset = ct_dataset(HU)
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]
    with pytest.raises(Undecodable):
        decode(written(dataset))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("syntax", LOSSLESS.values(), ids=LOSSLESS.keys())
def test_a_file_that_ends_early_is_refused(syntax: UID, share: float) -> None:
    """Cut anywhere: in the header, in the pixels."""
    body = ct_file(HU, syntax)
    with pytest.raises(SliceError):
        decode(body[: int(len(body) * share)])


def test_a_syntax_that_is_not_read_is_named_as_such() -> None:
    """MPEG video."""
    dataset = ct_dataset(HU)
    dataset.PixelData = encapsulate([b"\0\0\1\xb3"])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    with pytest.raises(UnreadPixels, match=words.OTHER_SYNTAX):
        decode(_saved(dataset))


# --- Hounsfield units -------------------------------------------------------------------------------------------------


def test_slope_and_intercept_come_before_the_window() -> None:
    """Samples of half a Hounsfield unit."""
    stored = (HU.astype(np.int32) * 2 + 200).astype(np.int16)
    assert np.array_equal(decode(ct_file(stored, slope=0.5, intercept=-100)), SLICE)


def test_a_table_of_hounsfield_units_is_applied() -> None:
    """Modality LUT Sequence instead of slope and intercept."""
    item = Dataset()
    item.LUTDescriptor = [256, 0, 16]
    item.ModalityLUTType = "HU"
    table = hounsfield(np.arange(256, dtype=np.uint8)).astype(np.int32) + 2000
    item.add_new("LUTData", "US", table.tolist())
    dataset = ct_dataset(SLICE, ModalityLUTSequence=Sequence([item]), RescaleSlope=None, RescaleIntercept=None)
    shifted = Window(level=LUNG_WINDOW.level + 2000, width=LUNG_WINDOW.width)
    assert np.array_equal(decode(written(dataset), window=shifted), SLICE)


def test_the_files_own_window_is_not_used() -> None:
    """What a network sees must not depend on what somebody liked to look at."""
    assert np.array_equal(decode(ct_file(HU, WindowCenter=40, WindowWidth=400)), SLICE)


def test_monochrome1_is_inverted_after_the_window() -> None:
    """Its lowest sample is meant to be white (PS3.3, C.7.6.3.1.2)."""
    assert np.array_equal(decode(ct_file(HU, PhotometricInterpretation="MONOCHROME1")), 255 - SLICE)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black(photometric: str) -> None:
    """Outside of the reconstructed circle there is no sample: a value, or all of a range."""
    stored = HU.copy()
    stored[:20], stored[-20:] = -2000, 3000
    expected = SLICE.copy() if photometric == "MONOCHROME2" else 255 - SLICE
    expected[:20] = 0
    expected[-20:] = 255 if photometric == "MONOCHROME2" else 0
    body = ct_file(stored, PixelPaddingValue=-2000, PhotometricInterpretation=photometric)
    assert np.array_equal(decode(body), expected)
    expected[-20:] = 0
    assert np.array_equal(
        decode(ct_file(np.where(stored > 2000, -1990, stored).astype(np.int16), PixelPaddingValue=-2000,
                       PixelPaddingRangeLimit=-1980, PhotometricInterpretation=photometric)), expected
    )  # fmt: skip


def test_bits_above_the_stored_ones_say_nothing() -> None:
    """Old files keep overlays there."""
    unsigned = (HU.astype(np.int32) + 1400).astype(np.uint16) | np.uint16(0xF000)
    assert np.array_equal(decode(ct_file(unsigned, intercept=-1400, BitsStored=12, HighBit=11)), SLICE)
    signed = (HU.clip(-2048, 2047) & 0x0FFF).astype(np.uint16)
    assert np.array_equal(decode(ct_file(signed, BitsStored=12, HighBit=11, PixelRepresentation=1)), SLICE)


@pytest.mark.parametrize("scale", [{"slope": None}, {"intercept": None}, {"slope": 0}])
def test_samples_without_a_scale_are_refused(scale: dict[str, Any]) -> None:
    """A Hounsfield value cannot be guessed."""
    keywords = {"RescaleSlope" if name == "slope" else "RescaleIntercept": value for name, value in scale.items()}
    with pytest.raises(UnreadPixels, match="Hounsfield"):
        decode(ct_file(HU, **keywords))


# --- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [LOSSLESS[name] for name in ("explicit", "rle", "jpeg-ls", "jpeg-2000")])
def test_one_frame_of_many_is_decoded(syntax: UID) -> None:
    """Counted from 1."""
    greys = [grey_slice(seed, 64) for seed in range(3)]
    body = ct_file(np.stack([hounsfield(grey) for grey in greys]), syntax)
    for number, grey in enumerate(greys, 1):
        assert np.array_equal(decode(body, number), grey)
    for number in (4, 60_000):
        with pytest.raises(NoSuchFrame, match="the image has 3"):
            decode(body, number)


def test_an_enhanced_image_has_a_scale_for_each_frame() -> None:
    """Pixel Value Transformation, the frame's own before the shared one."""
    stack = np.stack([HU, HU + 500]).astype(np.int16)
    own, common = _scale(1, -500), _scale(1, 0)
    dataset = ct_dataset(
        stack, SOPClassUID=uid.EnhancedCTImageStorage, RescaleSlope=None, RescaleIntercept=None,
        SharedFunctionalGroupsSequence=Sequence([common]), PerFrameFunctionalGroupsSequence=Sequence([Dataset(), own]),
    )  # fmt: skip
    body = written(dataset)
    assert np.array_equal(decode(body, 1), SLICE)
    assert np.array_equal(decode(body, 2), SLICE)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "error", "said"),
    [
        ({"SOPClassUID": uid.MRImageStorage, "Modality": "MR"}, NotCt, "an MR image"),
        ({"SOPClassUID": uid.SecondaryCaptureImageStorage}, NotCt, "a secondary capture"),
        ({"SOPClassUID": "1.2.3.4.5"}, NotCt, words.OTHER_SOP_CLASS),
        ({"Modality": "MR"}, NotCt, "an object of the modality MR"),
        ({"Modality": "SMITH"}, NotCt, words.OTHER_MODALITY),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, Localizer, "localizer"),
        ({"PhotometricInterpretation": "RGB"}, UnreadPixels, "colour"),
        ({"SamplesPerPixel": 3}, UnreadPixels, "colour"),
        ({"BitsAllocated": 32}, UnreadPixels, words.OTHER_SAMPLES),
        ({"Rows": 65535, "Columns": 65535}, TooManyPixels, "65535 x 65535"),
        ({"Rows": 16}, TooSmall, "128 x 16"),
        ({"HighBit": 3}, Undecodable, words.BAD_PIXELS),
        ({"Rows": None}, Undecodable, words.BAD_HEADER),
    ],
)
def test_what_is_no_ct_slice_is_refused_by_name(elements: dict[str, Any], error: type[SliceError], said: str) -> None:
    """Before a pixel is decoded; the message is made of our own words."""
    with pytest.raises(error, match=said):
        decode(ct_file(HU, **elements))


def test_a_file_without_pixels_is_refused() -> None:
    """A header alone."""
    dataset = ct_dataset(HU)
    del dataset.PixelData
    with pytest.raises(NoPixelData):
        decode(_saved(dataset))


def test_frames_that_a_header_invents_cost_nothing() -> None:
    """60,000 frames announced, one there."""
    body = ct_file(HU, NumberOfFrames=60_000)
    with pytest.raises(Undecodable):
        decode(body, 59_999)


# --- patients ---------------------------------------------------------------------------------------------------------


def test_patients_can_be_told_apart_and_not_traced_back() -> None:
    """Equal for one PatientID and key, another for another key, none without a key or an id."""
    bodies = [ct_file(HU, PatientID=name) for name in ("Smith", "Smith", "Jones", "")]

    def patients(key: bytes | None) -> list[str | None]:
        return [decode_dicom(body, LUNG_WINDOW, 1, DEFAULT_LIMITS, key).patient for body in bodies]

    first, again, other, unnamed = patients(b"one key")
    assert first == again != other
    assert unnamed is None
    assert first not in patients(b"another key")
    assert patients(None) == [None] * 4


# --- helpers ----------------------------------------------------------------------------------------------------------


def _saved(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _scale(slope: float, intercept: float) -> Dataset:
    transformation, group = Dataset(), Dataset()
    transformation.RescaleSlope, transformation.RescaleIntercept = slope, intercept
    group.PixelValueTransformationSequence = Sequence([transformation])
    return group
