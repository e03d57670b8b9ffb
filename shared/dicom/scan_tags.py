"""What a DICOM file says of how its slice was acquired, in words of our own: any other value could be a name."""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

GROUPS = ("CTReconstructionSequence", "PixelMeasuresSequence", "ContrastBolusUsageSequence")
"""Functional groups of an enhanced image that say it for a frame."""
READ = ("ConvolutionKernel", "Manufacturer", "SliceThickness", "ContrastBolusAgent")
"""Elements that say it for a whole file."""

OTHER = "another"
"""Kernel or maker that is said, and is none that is widely known."""
_KERNEL = (
    r"[A-Z][a-z]?[0-9]{2}[a-z]{0,2}"  # Siemens: B70f, Br40d
    r"|STANDARD|SOFT|DETAIL|LUNG|CHEST|BONE|BONEPLUS|EDGE|ULTRA"  # GE
    r"|A|B|C|D|E|F|L|EB|EC|UA|UB|UC|YA|YB|YC|YD"  # Philips
    r"|FC[0-9]{2}(-H)?"  # Canon, Toshiba
    r"|B_(SOFT|SHARP|VSHARP)_[A-D]"  # United Imaging
)
_MAKER = "CANON|FUJIFILM|GE|HITACHI|NEUROLOGICA|NEUSOFT|PHILIPS|SAMSUNG|SHIMADZU|SIEMENS|TOSHIBA|UIH"
_MAX_CHARACTERS = 64  # of what is looked at: names, numbers and words are shorter
_MAX_THICKNESS_MM = 100.0


class ScanTags(BaseModel):
    """How a slice was acquired, by its file: nothing here is a text of the file's own. None is what it does not say."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kernel: str | None = Field(default=None, pattern=rf"^({_KERNEL}|{OTHER})$")
    """Of the reconstruction."""
    maker: str | None = Field(default=None, pattern=rf"^({_MAKER}|{OTHER})$")
    """Of the scanner."""
    thickness_mm: float | None = Field(default=None, gt=0, le=_MAX_THICKNESS_MM)
    has_contrast: bool = False
    """Whether a contrast agent is named; a file that says nothing of one counts as without."""


def scan_tags_of(*datasets: Any) -> ScanTags:
    """By pydicom datasets as they were read: a file's, and those of its functional groups. Damage says nothing."""
    kernel, maker, thickness, agent, administered = (
        next(filter(None, (_text(one, keyword) for one in datasets)), "")
        for keyword in (*READ, "ContrastBolusAgentAdministered")
    )
    brand = re.match(r"[A-Z]*", maker.upper())
    try:
        thickness_mm = float(thickness)
    except ValueError:
        thickness_mm = 0
    return ScanTags(
        kernel=_known(kernel, _KERNEL),
        maker=_known(brand[0] if brand and brand[0] else maker, _MAKER),
        thickness_mm=thickness_mm if 0 < thickness_mm <= _MAX_THICKNESS_MM else None,
        has_contrast=administered == "YES" or agent.upper() not in ("", "NO", "NONE"),
    )


def _known(value: str, known: str) -> str | None:
    if not value:
        return None
    return value if re.fullmatch(known, value) else OTHER


def _text(dataset: Any, keyword: str) -> str:
    """The first value of an element, as its bytes stand in the file: pydicom's own reading fails on damage."""
    element = dataset.get_item(keyword, keep_deferred=True)
    value = getattr(element, "value", None)
    if not isinstance(value, bytes):
        return ""
    return value[:_MAX_CHARACTERS].decode("latin-1").split("\\")[0].strip(" \0")
