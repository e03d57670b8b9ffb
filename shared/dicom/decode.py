"""DICOM bytes → one grey slice. Imports pydicom and the codecs: only shared.dicom.child imports this module.

What is read of a file: what its pixels need; SOP class, Modality and ImageType to tell whether they are a CT slice's;
shared.dicom.scan_tags; and, where a key is given, PatientID. No other value is looked at, and none enters a message.
"""

import contextlib
import hashlib
import io
import os
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pydicom
import pydicom.config
import simplejpeg
from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.datadict import tag_for_keyword
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut

from shared.dicom import errors as words
from shared.dicom.errors import Localizer, NoPixelData, NoSuchFrame, NotCt, UnreadPixels
from shared.dicom.process import DicomFrame
from shared.dicom.scan_tags import GROUPS, READ, scan_tags_of
from shared.raster.decode import RasterLimits, SliceError, TooManyPixels, TooSmall, Undecodable
from shared.window import Window

_CT = (uid.CTImageStorage, uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage)
_CODECS = {
    uid.JPEGBaseline8Bit: "gdcm",
    uid.JPEGExtended12Bit: "gdcm",
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
    uid.RLELossless: "pydicom",
}
_MAX_SCALE = 1e6
_NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian)
_NATIVE_BIG = (uid.ExplicitVRBigEndian,)
_READ = [
    "SOPClassUID", "Modality", "ImageType", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleIntercept", "RescaleSlope", "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "FloatPixelData", "DoubleFloatPixelData", "PixelData", *READ,
]  # fmt: skip
_LONG = {
    tag_for_keyword(name)
    for name in ("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "ModalityLUTSequence",
                 "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", *READ)
}  # fmt: skip
_MAX_VALUE_BYTES = 1024  # of any other

_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # the tag of an item or fragment, in both byte orders
_MAX_ITEMS, _BYTES_AN_ITEM = 8192, 8192
_MAX_READS, _BYTES_A_READ = 40_000, 512
"""Items, and reads of a file, two or three for each element: so many, and one more for each so many bytes of it. An
enhanced image has some 15 items and 200 reads for each frame, which has 100 kB and more.
"""

_DEFLATED = re.compile(rb"\x02\x00\x10\x00UI..1\.2\.840\.10008\.1\.2\.1\.99", re.DOTALL)
_NATIVE_UID = b"1.2.840.10008.1.2.1\0\0\0"  # what it is once it is inflated, in as many bytes
_INFLATED_BYTES_A_PIXEL = 4  # of the largest frame: twice its samples


def inflated(body: bytes, max_pixels: int) -> bytes:
    """A deflated file as explicit VR little endian, which it is behind its meta information; any other as it is.

    max_pixels: of a frame. Raises shared.raster.decode.Undecodable where it is larger than a slice may be.
    """
    start = 144 + int.from_bytes(body[140:144], "little")  # behind the group of the length that stands there
    found = _DEFLATED.search(body, 144, start)
    if not found:
        return body
    with _or(words.BAD_HEADER):
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflater.decompress(body[start:], _INFLATED_BYTES_A_PIXEL * max_pixels)
        if not inflater.eof:
            raise Undecodable(words.GAVE_UP if inflater.unconsumed_tail else words.BAD_HEADER)
        at = found.end() - len(_NATIVE_UID)
        return b"".join((body[:at], _NATIVE_UID, body[at + len(_NATIVE_UID) : start], content))


def decode_dicom(
    body: bytes,
    window: Window,
    frame: int,
    limits: RasterLimits,
    patient_key: bytes | None = None,
    *,
    announced: Callable[[int], None] = lambda _: None,
) -> DicomFrame:
    """Decode one frame, counted from 1, of a CT image: modality LUT, then window, then MONOCHROME1 inversion.

    Padding is black. announced: is told how many pixels there are before they are decoded. Raises
    shared.raster.decode.SliceError.
    """
    with _or(words.BAD_HEADER):
        dataset = pydicom.dcmread(
            _Reader(inflated(body, limits.max_pixels)), specific_tags=[*_READ, *(["PatientID"] if patient_key else [])]
        )
        if any(len(raw.value or b"") > _MAX_VALUE_BYTES for tag, raw in dataset.items() if tag not in _LONG):
            raise ValueError("a value is too long to be what it should")
        _check_is_ct(dataset)
        frames = _check_pixels(dataset, frame, limits)
        patient = _digest(str(dataset.get("PatientID") or "").strip(), patient_key)
    announced(int(dataset.Rows) * int(dataset.Columns))
    with _or(words.BAD_PIXELS):
        stored = _stored_values(dataset, frame)
    with _or(words.BAD_HEADER):
        values, is_padding = _hounsfield(dataset, frame, stored), _padding(dataset, stored)
        tags = scan_tags_of(dataset, *filter(None, (_of_frame(dataset, frame, name) for name in GROUPS)))
    grey = window.apply(values)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = np.subtract(255, grey, dtype=np.uint8)
    if is_padding is not None:
        grey[is_padding] = 0
    return DicomFrame(grey, frames, patient, tags)


class _Reader(io.BytesIO):
    """A file that is read so many times and no more: each element and each item of a sequence is Python objects."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        if sum(map(body.count, _ITEMS)) > _MAX_ITEMS + len(body) // _BYTES_AN_ITEM:
            raise Undecodable(words.GAVE_UP)
        self._left = _MAX_READS + len(body) // _BYTES_A_READ

    def read(self, size: int | None = -1, /) -> bytes:
        """Raises Undecodable where it was read too often, or all at once, as for inflating it."""
        self._left -= 1
        if self._left < 0 or size is None or size < 0:
            raise Undecodable(words.GAVE_UP)
        return super().read(size)


@contextlib.contextmanager
def _or(damage: str) -> Iterator[None]:
    """Whatever pydicom and the codecs raise on damaged files means this. Their own texts repeat values of the file."""
    try:
        yield
    except (SliceError, MemoryError):
        raise
    except Exception:
        raise Undecodable(damage) from None


# --- what it is -------------------------------------------------------------------------------------------------------


def _check_is_ct(dataset: pydicom.FileDataset) -> None:
    sop_class = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    if not sop_class:
        raise NotCt(words.NO_SOP_CLASS)
    if sop_class not in _CT:
        raise NotCt(words.SOP_CLASSES.get(sop_class, words.OTHER_SOP_CLASS))
    modality = str(dataset.get("Modality") or "CT").strip().upper()
    if modality != "CT":
        raise NotCt(words.MODALITIES.get(modality, words.OTHER_MODALITY))
    kinds = dataset.get("ImageType") or []
    if any(str(kind).strip().upper() == "LOCALIZER" for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        raise Localizer


def _check_pixels(dataset: pydicom.FileDataset, frame: int, limits: RasterLimits) -> int:
    """The number of frames."""
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise UnreadPixels(words.OTHER_SAMPLES)
    if "PixelData" not in dataset:
        raise NoPixelData
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in (*_CODECS, *_NATIVE, *_NATIVE_BIG):
        raise UnreadPixels(words.OTHER_SYNTAX)
    if dataset.SamplesPerPixel != 1 or dataset.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnreadPixels(words.COLOUR)
    if dataset.BitsAllocated not in (8, 16) or not 1 <= dataset.BitsStored <= dataset.BitsAllocated:
        raise UnreadPixels(words.OTHER_SAMPLES)
    height, width, frames = int(dataset.Rows), int(dataset.Columns), int(dataset.get("NumberOfFrames") or 1)
    if height * width > limits.max_pixels:
        raise TooManyPixels(width, height, limits.max_pixels)
    if min(height, width) < limits.min_side:
        raise TooSmall(width, height, limits.min_side)
    if not 1 <= frame <= frames:
        raise NoSuchFrame(frame, frames)
    return frames


def _digest(patient: str, key: bytes | None) -> str | None:
    return hashlib.blake2b(patient.encode(), key=key, digest_size=16).hexdigest() if key and patient else None


# --- pixels -----------------------------------------------------------------------------------------------------------


def _stored_values(dataset: pydicom.FileDataset, frame: int) -> NDArray[Any]:
    """[rows, columns] of one frame, (u)int8 or (u)int16, without what overlays put into unused bits."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in _CODECS and syntax != uid.RLELossless:
        coded = get_frame(dataset.PixelData, frame - 1, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
        _check_whole(coded)
    if syntax == uid.JPEGBaseline8Bit:  # as strict as for a JPEG that comes by itself
        stored = simplejpeg.decode_jpeg(coded, "GRAY", strict=True)[:, :, 0]
    else:
        with _warnings_are_errors():
            stored, _ = get_decoder(syntax).as_array(
                dataset, index=frame - 1, raw=True, decoding_plugin=_CODECS.get(syntax, "")
            )
    if stored.shape != (dataset.Rows, dataset.Columns):
        raise ValueError("not as large as the header says")
    return _within_stored_bits(stored, dataset)


def _check_whole(coded: bytes) -> None:
    """JPEG of every kind ends with the same marker, but for a byte that makes its length even."""
    if not coded.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ValueError("it ends early")


@contextlib.contextmanager
def _warnings_are_errors() -> Iterator[None]:
    """The libjpeg in gdcm fills up what is missing, and says so only on standard error."""
    heard, said = os.pipe()
    os.set_blocking(heard, False)
    os.set_blocking(said, False)  # a codec with much to say must not wait for a reader
    before = os.dup(2)
    os.dup2(said, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        for file in (before, said):
            os.close(file)
        with os.fdopen(heard, "rb") as end:
            complaint = end.read(1)
    if complaint:
        raise ValueError("a codec complained")


def _within_stored_bits(stored: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    kind = f"{'i' if dataset.PixelRepresentation else 'u'}{stored.dtype.itemsize}"
    above, below = stored.dtype.itemsize * 8 - dataset.BitsStored, 0
    if dataset.file_meta.TransferSyntaxUID not in _CODECS:
        below = int(dataset.HighBit) + 1 - dataset.BitsStored
    if not 0 <= below <= above:
        raise ValueError("the bits are not where samples can be")
    inside: NDArray[Any] = np.right_shift(np.left_shift(stored.view(kind), above - below), above)
    return inside


# --- what they mean ---------------------------------------------------------------------------------------------------


def _hounsfield(dataset: Dataset, frame: int, stored: NDArray[Any]) -> NDArray[Any]:
    if dataset.get("ModalityLUTSequence"):
        return apply_modality_lut(stored, dataset)
    scale = _of_frame(dataset, frame, "PixelValueTransformationSequence") or dataset
    if scale.get("RescaleSlope") is None or scale.get("RescaleIntercept") is None:
        raise UnreadPixels(words.NO_SCALE)
    slope, intercept = float(scale.RescaleSlope), float(scale.RescaleIntercept)
    if not (np.isfinite([slope, intercept]).all() and slope and max(abs(slope), abs(intercept)) < _MAX_SCALE):
        raise UnreadPixels(words.NO_SCALE)
    values = stored.astype(np.float32)
    values *= slope
    values += intercept
    return values


def _of_frame(dataset: Dataset, frame: int, name: str) -> Dataset | None:
    """An item of the functional groups of an enhanced image: the frame's own, or what all frames share."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in (*own[frame - 1 : frame], *shared[:1]):
        if items := group.get(name):
            first: Dataset = items[0]
            return first
    return None


def _padding(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where there is no sample: outside of the circle that was reconstructed."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    return (stored >= low) & (stored <= high)
