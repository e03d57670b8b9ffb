"""Any accepted file (JPEG, PNG, DICOM) → one grey slice: the one function that everybody calls is SliceDecoder.decode.

JPEG and PNG are decoded where they are; a DICOM file in a process of its own, which may crash and is limited.
"""

from dataclasses import dataclass

from shared.dicom.errors import NoSuchFrame
from shared.dicom.process import DicomProcess
from shared.dicom.scan_tags import ScanTags
from shared.raster.decode import (
    DEFAULT_LIMITS,
    GreySlice,
    ImageBytes,
    ImageType,
    RasterHeader,
    RasterLimits,
    decode_grey,
    decode_windowed,
    read_header,
)
from shared.window import LUNG_WINDOW, WHOLE_16_BIT, Window

_AIR_HU = -1000


@dataclass(frozen=True)
class DecodedSlice:
    """One grey slice, and what its file said of it."""

    grey: GreySlice
    """uint8 [h, w], upright."""
    header: RasterHeader | None
    """None for DICOM, whose header only the process that decodes it reads."""
    frames: int = 1
    """How many the file has; this is one of them."""
    window: Window | None = None
    """What made grey of more than 8 bits: in Hounsfield units for DICOM, in sample values for 16-bit PNG; else None."""
    patient: str | None = None
    """Keyed digest of a DICOM file's PatientID, where the decoder was given a key."""
    tags: ScanTags | None = None
    """How a DICOM file says that it was acquired."""

    @property
    def kind(self) -> ImageType:
        """Of the file."""
        return self.header.kind if self.header else "dicom"

    @property
    def air_grey(self) -> int | None:
        """Grey value of air, for to_tensor(); None where only the spec knows it."""
        return self.window.grey_of(_AIR_HU) if self.window and self.header is None else None


class SliceDecoder:
    """Turns files into grey slices, in any number of threads. The process for DICOM starts with the first DICOM file.

    patient_key: makes a digest of PatientID, so that slices of one patient can be told to be that and no more.
    """

    def __init__(self, limits: RasterLimits = DEFAULT_LIMITS, patient_key: bytes | None = None) -> None:
        self._limits = limits
        self._dicom = DicomProcess(limits, patient_key)

    def read_header(self, body: ImageBytes, frame: int | None = None) -> RasterHeader | None:
        """What a JPEG or PNG says of its pixels, in microseconds; None for DICOM, by its magic word (PS3.10, 7.1).

        Raises shared.raster.decode.SliceError where decode() would refuse the file, or this frame of it, unseen.
        """
        if body[128:132] == b"DICM":
            return None
        header = read_header(body, self._limits)
        if frame is not None and frame != 1:
            raise NoSuchFrame(frame, 1)
        return header

    def decode(
        self,
        body: ImageBytes,
        hounsfield_window: Window = LUNG_WINDOW,
        *,
        header: RasterHeader | None = None,
        frame: int | None = None,
        level: float | None = None,
        width: float | None = None,
    ) -> DecodedSlice:
        """Decode one frame of a whole file.

        hounsfield_window: the model's, `spec.window`; DICOM is shown in it. header: what read_header() said, where it
        was asked before. frame: counted from 1; None is the first one. level and width: another window for display, of
        DICOM and 16-bit PNG; images of 8 bits have none. Blocks for as long as it takes: call it off the event loop.
        Raises shared.raster.decode.SliceError, or shared.dicom.errors.DecoderUnavailable where it says nothing of the
        file.
        """
        header = header or self.read_header(body, frame)
        if header is None:
            window = _window(hounsfield_window, level, width)
            decoded = self._dicom.decode(body, window, frame or 1)
            return DecodedSlice(decoded.grey, None, decoded.frames, window, decoded.patient, decoded.tags)
        if header.bit_depth < 16:  # noqa: PLR2004 - bits
            return DecodedSlice(decode_grey(body, self._limits, header=header), header)
        asked = None if level is None and width is None else _window(WHOLE_16_BIT, level, width)
        grey, seen = decode_windowed(body, self._limits, asked, header)
        return DecodedSlice(grey, header, window=seen)

    def close(self) -> None:
        """End the process for DICOM."""
        self._dicom.close()


def _window(default: Window, level: float | None, width: float | None) -> Window:
    return Window(level=default.level if level is None else level, width=default.width if width is None else width)
