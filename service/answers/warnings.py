"""What a reader of an answer must know of the file it was made from."""

from shared.artifact import Manifest
from shared.raster.decode import ImageType

UNMEASURED_ON_DICOM = (
    "This model was trained on exported images (JPEG, PNG), none of them DICOM: its accuracy on DICOM is unmeasured."
)
UNMEASURED_ON_EXPORTS = (
    "This model was trained on DICOM alone: its accuracy on exported images (JPEG, PNG) is unmeasured."
)


def input_warnings(manifest: Manifest, kind: ImageType, frame: int | None, frames: int) -> list[str]:
    """By the formats of the training slices, as the manifest counts them; older ones count none and knew no DICOM."""
    warnings = []
    if kind == "dicom":
        if not manifest.trained_on("dicom"):
            warnings.append(UNMEASURED_ON_DICOM)
    elif manifest.trained_on("dicom") and not (manifest.trained_on("jpeg") or manifest.trained_on("png")):
        warnings.append(UNMEASURED_ON_EXPORTS)
    if frames > 1:
        warnings.append(f"The file has {frames} frames; this answer is for frame {frame or 1} alone.")
    return warnings
