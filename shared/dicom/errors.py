"""What a DICOM file can be instead of a CT slice.

No value of a file ever enters a message: what is said of it is chosen from the words of this module.
"""

from shared.raster.decode import SliceError

SOP_CLASSES = {
    "1.2.840.10008.1.3.10": "a DICOMDIR",
    "1.2.840.10008.5.1.4.1.1.1": "a computed radiograph",
    "1.2.840.10008.5.1.4.1.1.1.1": "a digital X-ray",
    "1.2.840.10008.5.1.4.1.1.1.1.1": "a digital X-ray",
    "1.2.840.10008.5.1.4.1.1.1.2": "a mammogram",
    "1.2.840.10008.5.1.4.1.1.1.2.1": "a mammogram",
    "1.2.840.10008.5.1.4.1.1.3.1": "an ultrasound image",
    "1.2.840.10008.5.1.4.1.1.4": "an MR image",
    "1.2.840.10008.5.1.4.1.1.4.1": "an MR image",
    "1.2.840.10008.5.1.4.1.1.4.4": "an MR image",
    "1.2.840.10008.5.1.4.1.1.6.1": "an ultrasound image",
    "1.2.840.10008.5.1.4.1.1.7": "a secondary capture",
    "1.2.840.10008.5.1.4.1.1.7.1": "a secondary capture",
    "1.2.840.10008.5.1.4.1.1.7.2": "a secondary capture",
    "1.2.840.10008.5.1.4.1.1.7.3": "a secondary capture",
    "1.2.840.10008.5.1.4.1.1.7.4": "a secondary capture",
    "1.2.840.10008.5.1.4.1.1.9.1.1": "a waveform",
    "1.2.840.10008.5.1.4.1.1.12.1": "an angiogram",
    "1.2.840.10008.5.1.4.1.1.20": "a nuclear medicine image",
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.88.11": "a structured report",
    "1.2.840.10008.5.1.4.1.1.88.22": "a structured report",
    "1.2.840.10008.5.1.4.1.1.88.33": "a structured report",
    "1.2.840.10008.5.1.4.1.1.88.67": "a dose report",
    "1.2.840.10008.5.1.4.1.1.104.1": "an encapsulated PDF",
    "1.2.840.10008.5.1.4.1.1.128": "a PET image",
    "1.2.840.10008.5.1.4.1.1.128.1": "a PET image",
    "1.2.840.10008.5.1.4.1.1.130": "a PET image",
    "1.2.840.10008.5.1.4.1.1.481.1": "a radiotherapy image",
    "1.2.840.10008.5.1.4.1.1.481.2": "a radiotherapy dose",
    "1.2.840.10008.5.1.4.1.1.481.3": "a radiotherapy structure set",
    "1.2.840.10008.5.1.4.1.1.481.5": "a radiotherapy plan",
}
"""What people send by mistake, by SOP class (PS3.4, B.5)."""
OTHER_SOP_CLASS = "an object of another SOP class"
NO_SOP_CLASS = "an object without a SOP class"

MODALITIES = {
    code: f"an object of the modality {code}"
    for code in (
        "CR", "DX", "ECG", "MG", "MR", "NM", "OT", "PT", "RF", "RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT", "SC", "SEG",
        "SM", "SR", "US", "XA", "XC",
    )
}  # fmt: skip
"""Defined terms of Modality (PS3.3, C.7.3.1.1.1); any other value could be anything, a name among it."""
OTHER_MODALITY = "an object of another modality"

OTHER_SYNTAX = "a transfer syntax that is not among them"
OTHER_SAMPLES = "samples that are no integers of 8 or 16 bits"
COLOUR = "colour"
NO_SCALE = "samples without a rescale slope and intercept, which have no Hounsfield values"

BAD_HEADER = "a part of its header that is needed cannot be read"
BAD_PIXELS = "its pixel data is damaged, incomplete or does not fit the header"
GAVE_UP = "its decoder crashed, or needed more time or memory than a slice may"

WORDS = frozenset(
    {*SOP_CLASSES.values(), OTHER_SOP_CLASS, NO_SOP_CLASS, *MODALITIES.values(), OTHER_MODALITY}
    | {OTHER_SYNTAX, OTHER_SAMPLES, COLOUR, NO_SCALE, BAD_HEADER, BAD_PIXELS, GAVE_UP}
)
"""All that can be said of a DICOM file, but for numbers of pixels and frames."""


class NotCt(SliceError):
    """SOP class or Modality is of something else than CT."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Expected a DICOM file of a CT slice, got {what}.")


class Localizer(SliceError):
    """A localizer (scout, topogram): a projection, no slice."""

    def __init__(self) -> None:
        super().__init__("Expected a CT slice, got a localizer: a projection that slices were planned on.")


class NoPixelData(SliceError):
    """A DICOM file without pixels."""

    def __init__(self) -> None:
        super().__init__("Expected a CT slice, got a DICOM file without pixel data.")


class UnreadPixels(SliceError):
    """Well formed, perhaps, but of a kind that is not read."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Expected monochrome Hounsfield values in one of the accepted transfer syntaxes, got {what}.")


class NoSuchFrame(SliceError):
    """Fewer frames than were asked for."""

    def __init__(self, frame: int, frames: int) -> None:
        super().__init__(f"Frame {frame} was asked for; the image has {frames}, counted from 1.")


class DecoderUnavailable(Exception):  # no SliceError: it says nothing of the slice
    """Nobody could decode the file now: the system ended its decoder twice, or costly files before it take too long."""

    retry_after_s = 2.0

    def __init__(self) -> None:
        super().__init__("DICOM files cannot be decoded now: the decoder was ended from outside, or is kept busy.")
