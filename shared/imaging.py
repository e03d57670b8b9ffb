"""Grey slice → the tensor a network sees: the one path that trainer and service both call.

Scaling to [0, 1] and repeating the channel happen inside the model graph, so what travels is uint8.
"""

from typing import Any, Literal, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.body import Body, body_box, find_body
from shared.box import Box
from shared.raster.decode import GreySlice
from shared.window import LUNG_WINDOW, Window

cv2.setNumThreads(1)  # callers prepare slices on many threads; OpenCV's own would spin between one slice and the next

SliceTensor = NDArray[np.uint8]
"""uint8 [height, width, 1]; one slice as the network takes it."""

_AIR_HU, _TISSUE_HU, _WHITE_HU = -1000, 45, 200  # anchored grey: air is 0, soft tissue lies between, white is 200 HU
_AIR_IN_NARROW = 0.06  # of the way from there to soft tissue: as dark as air
_NARROW_HU = 400  # across all grey values of a narrow window, as the mediastinum and the abdomen are read in
_AIR_BEFORE_SCHEMA_3 = 43
_MIN_CONTRAST = 32  # grey values between air and tissue; with fewer there is no anchor, and grey stays as it is


class PreprocessingSpec(BaseModel):
    """How a model wants its slices. The trainer chooses it, the manifest carries it, the service executes it.

    A spec of an unknown schema version, or with a field this code does not know, fails validation: running a model on
    slices prepared otherwise than in training would give wrong answers without an error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1, 2, 3] = 3
    """1 is from before DICOM: it has no window, and means the same with the default one. Up to 2 air has one grey value
    in all exports; from 3 on it is looked for in each slice unless given, and narrow windows are understood."""
    height: int = Field(default=224, ge=32, le=1024)
    width: int = Field(default=224, ge=32, le=1024)
    crop: Literal["body", "body-mask", "none"] = "body"
    """"body" cuts to its bounding box; "body-mask" finds it more exactly and blackens what lies around it."""
    pad: Literal["square", "none"] = "square"
    interpolation: Literal["area"] = "area"
    intensity: Literal["exported", "anchored"] = "exported"
    """"anchored" maps air to 0 and the slice's own soft tissue to one grey value, whatever window it was exported with;
    only with "body-mask"."""
    air_grey: int | None = Field(default=None, ge=0, le=200)
    """Grey value of air in the exports; only "body-mask" reads it. None: each slice shows its own (43 before schema 3).
    In DICOM the window says where air lies."""
    window: Window = LUNG_WINDOW
    """In Hounsfield units: what of a DICOM file's samples the network sees."""

    @model_validator(mode="before")
    @classmethod
    def _had_one_air(cls, fields: Any) -> Any:
        """What an older spec meant where it said nothing."""
        if isinstance(fields, dict) and fields.get("schema_version", 3) in (1, 2):
            return {"air_grey": _AIR_BEFORE_SCHEMA_3, **fields}
        return fields

    @model_validator(mode="after")
    def _has_its_anchors(self) -> Self:
        if self.intensity == "anchored" and self.crop != "body-mask":
            raise ValueError(f'intensity "anchored" needs crop "body-mask", got "{self.crop}"')
        return self


class Placed(NamedTuple):
    """A slice as a network takes it."""

    tensor: SliceTensor
    box: Box
    """Where on the slice it lies."""
    body: Body | None
    """None where it was not looked for exactly."""


def to_tensor(grey: GreySlice, spec: PreprocessingSpec, air_grey: int | None = None) -> SliceTensor:
    """uint8 [h, w] of any size → uint8 [spec.height, spec.width, 1].

    Cropping to the body and padding to a square make aspect ratio, border and position say nothing about the class.
    air_grey: the grey value of air where the file says it (DecodedSlice.air_grey); else it is the spec's.
    """
    return place(grey, spec, air_grey).tensor


def place(grey: GreySlice, spec: PreprocessingSpec, air_grey: int | None = None) -> Placed:
    """What to_tensor() makes of a slice, and where on it that lies: padding may reach beyond the slice's edges."""
    cut, box, body = _cut(grey, spec, spec.air_grey if air_grey is None else air_grey)
    height, width = spec.height, spec.width
    if spec.pad == "square":
        longer = max(cut.shape)
        height = max(1, round(spec.height * cut.shape[0] / longer))
        width = max(1, round(spec.width * cut.shape[1] / longer))
    resized = np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    placed = box.part(resized.shape, (slice(-top, spec.height - top), slice(-left, spec.width - left)))
    return Placed(_pad(resized, spec.height, spec.width, top, left)[:, :, np.newaxis], placed, body)


def _cut(grey: GreySlice, spec: PreprocessingSpec, air: int | None) -> tuple[GreySlice, Box, Body | None]:
    """What the network is to see of a slice, where that lies on it, and the body where it was looked for exactly."""
    if spec.crop == "body-mask":
        body = find_body(grey, air)
        return _anchored(body) if spec.intensity == "anchored" else body.grey, body.box, body
    top, bottom, left, right = body_box(grey) if spec.crop == "body" else (0, grey.shape[0], 0, grey.shape[1])
    return grey[top:bottom, left:right], Box(left, top, right - left, bottom - top), None


def _anchored(body: Body) -> GreySlice:
    """Grey values by two anchors, so that a window's level and width say nothing; 0 to 255 is -1000 to 200 HU.

    A narrow window has lost all between air and its lower end: what is darkest stays air, the rest is placed by the
    extent that such windows have and by soft tissue.
    """
    contrast = body.tissue - body.air
    if contrast < _MIN_CONTRAST:
        return body.grey
    if body.is_narrow:
        hounsfield = (np.arange(256) - body.tissue) * (_NARROW_HU / 256) + _TISSUE_HU
        hounsfield[: body.air + round(_AIR_IN_NARROW * contrast)] = _AIR_HU
    else:
        hounsfield = (np.arange(256) - body.air) * ((_TISSUE_HU - _AIR_HU) / contrast) + _AIR_HU
    table = np.clip((hounsfield - _AIR_HU) * (255 / (_WHITE_HU - _AIR_HU)), 0, 255)
    return np.asarray(cv2.LUT(body.grey, np.round(table).astype(np.uint8)), np.uint8)


def _pad(grey: GreySlice, height: int, width: int, top: int, left: int) -> GreySlice:
    """Put it on black. Only what is already small is padded: a strip of 32 x 60,000 pixels makes no huge square."""
    if grey.shape == (height, width):
        return grey
    padded = np.zeros((height, width), np.uint8)
    padded[top : top + grey.shape[0], left : left + grey.shape[1]] = grey
    return padded
