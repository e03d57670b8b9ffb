"""DICOM: the decoder that runs in a child process, here without one; and what a child that was taken over may say."""

import functools
import json
import os
import socket
import warnings
from contextlib import ExitStack, closing

import numpy as np

from shared.dicom.decode import decode_dicom, inflated
from shared.dicom.errors import DecoderUnavailable
from shared.dicom.process import ENDED, LENGTH, DicomProcess
from shared.raster.decode import RasterLimits, SliceError
from shared.window import LUNG_WINDOW
from tests.fuzz.target import MAX_CALL_S, Reader, Target
from tests.support.inputs.dicom_files import LOSSLESS, LOSSY, ct_dataset, ct_file, hounsfield, jpeg_ct_file, written
from tests.support.inputs.image_files import jpeg
from tests.support.inputs.slices import grey_slice

_LIMITS = RasterLimits(max_pixels=512 * 512, min_side=1)
_GREY = grey_slice(5, side=32)
_DICM = bytes(128) + b"DICM"


_BY_GDCM = (b"1.2.840.10008.1.2.4.51", b"1.2.840.10008.1.2.4.57", b"1.2.840.10008.1.2.4.70")
"""JPEG of 12 bits and lossless: gdcm ends its process on some damaged files, so that it is tried in one of its own."""


def _decode(body: bytes) -> None:
    """The first byte is the frame; a third of them asks for a digest of the patient, too."""
    if any(syntax in body for syntax in _BY_GDCM):
        return
    frame = body[0] if body else 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in the child
        try:
            decoded = decode_dicom(
                inflated(_DICM + body[133:], _LIMITS.max_pixels),
                LUNG_WINDOW,
                1 + frame // 3,
                _LIMITS,
                b"k" * 32 if frame % 3 == 0 else None,
            )
        except (SliceError, MemoryError):
            return
    assert decoded.grey.dtype == np.uint8
    assert decoded.grey.ndim == 2
    assert 1 <= decoded.grey.size <= _LIMITS.max_pixels
    assert decoded.patient is None or len(decoded.patient) == 32


def _dicom_seeds() -> list[bytes]:
    stored = hounsfield(_GREY)
    several = np.stack([stored, stored[::-1], stored.T])
    files = [ct_file(stored, syntax) for syntax in (*LOSSLESS.values(), *LOSSY.values())]
    files += [
        jpeg_ct_file(_GREY, jpeg(_GREY)),
        ct_file(several), ct_file(several, LOSSLESS["rle"]), ct_file(several, LOSSLESS["jpeg-ls"]),
        ct_file(stored, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1500),
        ct_file(_GREY, slope=4, intercept=-1000), ct_file(stored, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        ct_file(stored, SOPClassUID="1.2.840.10008.5.1.4.1.1.4", Modality="MR"), ct_file(stored, Rows=None),
        ct_file(stored, PixelData=None, slope=None), written(ct_dataset(stored, NumberOfFrames=2**31 - 1)),
    ]  # fmt: skip
    return [bytes([3 * (number % 3)]) + body for number, body in enumerate(files)]


@functools.cache
def _process() -> DicomProcess:
    return DicomProcess(_LIMITS, b"k" * 32, cpu_s=MAX_CALL_S)


def _decode_costly(body: bytes) -> None:
    """As the service does it: whatever a codec does to its process, the caller hears of one of the known errors."""
    try:
        decoded = _process().decode(_DICM + body[133:], LUNG_WINDOW, 1 + (body[0] // 3 if body else 0))
    except (SliceError, DecoderUnavailable):
        return
    assert 1 <= decoded.grey.size <= _LIMITS.max_pixels


class _Hostile(DicomProcess):
    """Its child says what it is told to say."""

    def __init__(self, says: bytes) -> None:
        super().__init__(_LIMITS)
        self._says = says
        self._held = ExitStack()

    def _hand_over(self, *files: int) -> None:
        """The socket of a child, and where its parent says how it ended."""
        childs = self._held.enter_context(socket.socket(fileno=os.dup(files[0])))
        childs.sendall(self._says)
        childs.shutdown(socket.SHUT_WR)
        os.write(files[1], ENDED.pack(0))

    def close(self) -> None:
        super().close()
        self._held.close()


def _answer_of_a_child(body: bytes) -> None:
    """The first byte says whether the rest is all, or a JSON text and pixels for which the lengths are added."""
    mode, reader = body[:1], Reader(body[1:])
    says = reader.rest()
    if mode != b"\0":
        said, _, pixels = says.partition(b"\n")
        says = b"".join(part for content in (said, pixels) for part in (LENGTH.pack(len(content)), content))
    with closing(_Hostile(says)) as process:
        try:
            decoded = process.decode(_DICM, LUNG_WINDOW, 1)
        except (SliceError, DecoderUnavailable) as error:
            assert len(str(error)) < 4096
            return
    assert decoded.grey.ndim == 2
    assert decoded.grey.size <= _LIMITS.max_pixels
    assert decoded.patient is None or len(decoded.patient) == 32


def _answer_seeds() -> list[bytes]:
    answers: list[dict[str, object]] = [
        {"height": 2, "width": 3, "frames": 1, "patient": None, "tags": {}},
        {"height": 2, "width": 3, "frames": 4, "patient": "0" * 32, "tags": {"kernel": "B70f", "thickness_mm": 1.5}},
        {"height": 2, "width": 3, "frames": 1, "patient": None, "tags": {"kernel": "Smith", "has_contrast": 1}},
        {"busy": True},
        {"refused": "Localizer", "arguments": []},
        {"refused": "NoSuchFrame", "arguments": [3, 1]},
        {"refused": "TooManyPixels", "arguments": [30_000, 30_000, 512]},
        {"refused": "NotCt", "arguments": ["an MR image"]},
        {"refused": "Undecodable", "arguments": ["its pixel data is damaged, incomplete or does not fit the header"]},
        {"height": -1, "width": -6, "frames": 1, "patient": None},
        {"height": 2.5, "width": 3, "frames": "1", "patient": 7},
        {"height": 3, "width": 2, "frames": 1e999, "patient": ["x"]},
        {"refused": "Error", "arguments": [1]},
        {"refused": ["Localizer"], "arguments": {}},
        {"refused": "Localizer", "arguments": [1, 2, 3]},
        {"refused": "NotCt", "arguments": [["x"]]},
        {},
    ]
    said = [json.dumps(answer).encode() for answer in answers]
    said += [b"[]", b"1", b"null", b'"refused"', b"\xff\xfe", b"", b"{", b"[" * 4000, b'{"height":' + b"9" * 4000]
    return [
        *(b"\1" + one + b"\nabcdef" for one in said),
        b"\0" + LENGTH.pack(2**64 - 1), b"\0" + LENGTH.pack(3) + b"{}", b"\0" + LENGTH.pack(2) + b"{}",
    ]  # fmt: skip


_DICOM_WORDS = (
    b"DICM", b"\x28\0\x10\0US\2\0", b"\x28\0\x08\0IS", b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff", b"\xe0\x7f\x10\0OW\0\0",
    b"\xfe\xff\0\xe0", b"\xfe\xff\0\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0",
    b"\x08\0\x16\0UI", b"\x28\0\x00\x30SQ\0\0\xff\xff\xff\xff", b"\0\x52\x29\x92SQ\0\0", b"UN\0\0", b"FD", b"OV\0\0",
    *(syntax.encode() for syntax in (*LOSSLESS.values(), *LOSSY.values())), b"MONOCHROME1", b"ISO 2022 IR 87",
    b"\xff\x4f\xff\x51", b"\xff\xd8\xff\xc3", b"\xff\xd8\xff\xf7", b"\xff\xd9",
)  # fmt: skip
_ANSWER_WORDS = (
    b'"refused":', b'"arguments":', b'"height":', b'"width":', b'"frames":', b'"patient":', b'"tags":', b"null",
    b"true", b"1e999", b"NaN", b"-1", b"[", b"{}", b'"Localizer"', b'"NotCt"', b"9" * 400, b'"\\ud800"',
)  # fmt: skip

TARGETS = (
    Target("dicom", _decode, _dicom_seeds, _DICOM_WORDS),
    Target("dicom-process", _decode_costly, _dicom_seeds, _DICOM_WORDS, share=0.3),
    Target("dicom-answer", _answer_of_a_child, _answer_seeds, _ANSWER_WORDS, max_bytes=8192),
)
