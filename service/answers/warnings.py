"""What a reader of an answer must know: of the software, of the model, of the file."""

from service.inference.chest_gate import Predicted, warning_of
from shared.artifact import Manifest

DISCLAIMER = "Research and education only: not for diagnosis."
UNFAMILIAR = "This slice is unlike those that the model was trained on: none of the model's figures hold for it."
WITHHELD = "The slice is unlike those that the model was trained on, so that no verdict is given."
UNMEASURED_ON_DICOM = (
    "This model was trained on exported images (JPEG, PNG), none of them DICOM: its accuracy on DICOM is unmeasured."
)
UNMEASURED_ON_EXPORTS = (
    "This model was trained on DICOM alone: its accuracy on exported images (JPEG, PNG) is unmeasured."
)

EXPLAINED_IN_F32 = (
    "The explanation comes from the float32 model; its probabilities may differ a little from the prediction's."
)
"""Where a variant predicts."""


def warnings_of(manifest: Manifest, predicted: Predicted, frame: int | None, verdict: str | None = None) -> list[str]:
    """What is true of the answer for one slice, which is the frame that was asked for.

    The manifest counts the formats of the training slices; older ones count none and knew no DICOM.
    """
    warnings = [DISCLAIMER, *manifest.warnings]
    if predicted.kind == "dicom":
        if not manifest.trained_on("dicom"):
            warnings.append(UNMEASURED_ON_DICOM)
    elif manifest.trained_on("dicom") and not (manifest.trained_on("jpeg") or manifest.trained_on("png")):
        warnings.append(UNMEASURED_ON_EXPORTS)
    if predicted.frames > 1:
        warnings.append(f"The file has {predicted.frames} frames; this answer is for frame {frame or 1} alone.")
    if predicted.familiarity and not predicted.familiarity.is_familiar:
        warnings.append(f"{UNFAMILIAR} {' '.join(predicted.familiarity.reasons)}")
    if verdict == "negative" and manifest.familiarity and manifest.thresholds and predicted.acquisition:
        target = manifest.thresholds.target_class
        few = manifest.familiarity.few_cases(predicted.acquisition, target, manifest.classes.names.index(target))
        warnings += [few] if few else []
    return warnings + warning_of(predicted.doubts)
