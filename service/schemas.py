"""What the service answers, as JSON."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.config import JsonDict

from shared import VERSION
from shared.decisions import Verdict

Method = Literal["class-activation", "occlusion"]
ServedVariant = Literal["f32", "int8"]
"""f32 is the SavedModel; the others are shared.variant.VariantName."""

NOTE = "model attention, not lesion location"
"""What every explanation says of itself."""

_VARIANT = (
    "What of the version made this answer: f32 is the model as it was trained, int8 the same with 8-bit weights and "
    "activations, and with rules that were fitted and judged on what it says."
)
_REQUEST_ID = "4f0c6a1e5d2b4c7f9a3e8d1b6c5f2a70"
_PREDICTION: JsonDict = {
    "prediction": "Normal cases",
    "confidence": 0.956,
    "all_predictions": {"Normal cases": 0.956, "Benign cases": 0.032, "Malignant cases": 0.012},
    "decision": {
        "target_class": "Malignant cases",
        "verdict": "negative",
        "operating_point": "high_sensitivity",
        "threshold": 0.214,
        "reason": None,
    },
    "prediction_set": ["Normal cases"],
    "familiarity": {"score": 0.61, "limit": 0.01, "is_familiar": True, "reasons": []},
    "model_version": 3,
    "variant": "f32",
    "request_id": _REQUEST_ID,
    "warnings": ["Research and education only: not for diagnosis."],
}


def _with_examples(*examples: JsonDict) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [*examples]})


def _is_none(value: object) -> bool:
    """Left out where there is none; null elsewhere means that the model gives no such thing."""
    return value is None


class Decision(BaseModel):
    """What the probabilities mean for the class whose sensitivity counts."""

    target_class: str = Field(description="The class that is looked for.")
    verdict: Verdict = Field(description="uncertain lies between what is ruled out and what is ruled in.")
    operating_point: str = Field(
        description="Name of the threshold, as in /model-info under manifest.thresholds, or of the variant "
        "under manifest.variants.int8.thresholds."
    )
    threshold: float = Field(ge=0, le=1, description="Probability of the target class from which it is called.")
    reason: str | None = Field(
        default=None,
        description="Why the verdict is not what the most probable class, or the probability, suggests, in a sentence.",
    )


class Familiarity(BaseModel):
    """Whether the slice is like those that the version was trained on and judged by."""

    score: float = Field(
        ge=0,
        le=1,
        description="Share of training slices, each seen as a new one, that are as unlike the others or more.",
    )
    limit: float = Field(ge=0, le=1, description="Below it a slice is unfamiliar.")
    is_familiar: bool = Field(description="If false, no figure of this version holds for the slice.")
    reasons: list[str] = Field(description="What is unlike the training slices, a sentence each.")


class Prediction(BaseModel):
    """The answer for one slice."""

    model_config = _with_examples(_PREDICTION)

    prediction: str = Field(description="The most probable class.")
    confidence: float = Field(ge=0, le=1, description="Its probability, as the model gives it.")
    all_predictions: dict[str, float] = Field(description="Probability of every class; they sum to 1.")
    decision: Decision | None = Field(
        description="Whether the slice is called for the target class, at the operating point that was chosen when the "
        "model was trained; null where the model carries no thresholds."
    )
    prediction_set: list[str] | None = Field(
        description="Every class that cannot be ruled out: holds the right one for about 90 % of the slices of each "
        "class; null where the model carries no thresholds."
    )
    familiarity: Familiarity | None = Field(
        default=None,
        description="null where the version does not ask: it answers whatever it is shown.",
    )
    model_version: int = Field(description="The version that made this answer.")
    variant: ServedVariant = Field(description=_VARIANT)
    request_id: str = Field(description="Also in the header X-Request-ID and in the log.")
    warnings: list[str] = Field(description="What a reader of this answer must know.")


class GridBox(BaseModel):
    """Where the grid lies on the slice as it is displayed, in pixels from its upper left corner."""

    left: float = Field(description="May be negative: what the network saw may reach beyond the slice.")
    top: float = Field(description="May be negative.")
    width: float
    height: float


class SliceSize(BaseModel):
    """Size of the slice as it is displayed."""

    width: int
    height: int


class ExplanationAnswer(BaseModel):
    """Where the model looked."""

    model_config = _with_examples(
        {
            "class_name": "Normal cases",
            "method": "class-activation",
            "note": NOTE,
            "grid": [[0.0, 0.12, 0.0], [0.31, 1.0, 0.05], [0.0, 0.2, 0.0]],
            "box": {"left": 31.5, "top": -14.0, "width": 449.0, "height": 449.0},
            "slice": {"width": 512, "height": 512},
            "prediction": _PREDICTION,
            "model_version": 3,
            "request_id": _REQUEST_ID,
            "warnings": ["Research and education only: not for diagnosis."],
        }
    )

    class_name: str = Field(description="The class that was asked about; by default the predicted one.")
    method: Method = Field(
        description="class-activation: what each place adds to the class, by the model itself; occlusion: by how much "
        "blurring a part lowers it, for models that cannot tell."
    )
    note: str = Field(description="What the map is, and is not.")
    grid: list[list[float]] = Field(
        description="Rows of columns, 0 to 1: 1 where most speaks for the class; all 0 where nothing does."
    )
    box: GridBox
    slice: SliceSize
    prediction: Prediction = Field(
        description="As POST /predict gives it where variant is f32 there, too; else the float32 model's own."
    )
    model_version: int = Field(description="The version that made this answer.")
    request_id: str = Field(description="Also in the header X-Request-ID and in the log.")
    warnings: list[str] = Field(description="What a reader of this answer must know.")


class Problem(BaseModel):
    """Why there is no answer (RFC 9457)."""

    type: str = Field(description="Which kind of problem; stable, fit for programs.")
    title: str = Field(description="The kind in words.")
    status: int = Field(description="The HTTP status code.")
    detail: str = Field(description="What came and what was expected.")
    reasons: list[str] | None = Field(
        default=None,
        description="Of not-a-chest-ct and unfamiliar-slice: what speaks against it, a sentence each.",
        exclude_if=_is_none,
    )
    request_id: str = Field(description="Also in the header X-Request-ID and in the log.")
    retry_after_s: float | None = Field(
        default=None, description="Seconds after which a retry may succeed.", exclude_if=_is_none
    )


class BatchItem(BaseModel):
    """The answer for one file of a batch."""

    index: int = Field(ge=0, description="Position of the file in the request.")
    file_name: str | None = Field(
        default=None, description="As the form named it, at most 255 characters; kept nowhere.", exclude_if=_is_none
    )
    status: int = Field(description="The status that POST /predict would have given.")
    result: Prediction | None = Field(default=None, exclude_if=_is_none)
    problem: Problem | None = Field(default=None, exclude_if=_is_none)


class BatchAnswer(BaseModel):
    """One item for each file, in order."""

    model_config = _with_examples(
        {
            "results": [
                {"index": 0, "file_name": "slice-01.dcm", "status": 200, "result": _PREDICTION},
                {
                    "index": 1,
                    "file_name": "photo.gif",
                    "status": 415,
                    "problem": {
                        "type": "urn:lungct:problem:not-an-image-type",
                        "title": "Not a JPEG, PNG or DICOM",
                        "status": 415,
                        "detail": "Expected a JPEG, PNG or DICOM image, got a GIF image.",
                        "request_id": _REQUEST_ID,
                    },
                },
            ]
        }
    )

    results: list[BatchItem]


class Health(BaseModel):
    """Whether the service can answer, and what an operator should look at."""

    model_config = _with_examples(
        {"status": "ok", "service_version": VERSION, "model_version": 3, "reasons": []},
        {
            "status": "degraded",
            "service_version": VERSION,
            "model_version": 2,
            "reasons": ["version 3 is bad: golden.npz is missing"],
        },
        {
            "status": "unavailable",
            "service_version": VERSION,
            "model_version": None,
            "reasons": ["no valid model version is published yet"],
        },
    )

    status: Literal["ok", "degraded", "unavailable"]
    service_version: str = Field(description="Which software answers; no number of a model.")
    model_version: int | None = Field(description="The version of the model that serves.")
    reasons: list[str] = Field(description="Why the status is not ok.")


class Failure(BaseModel):
    """A version that could not be loaded."""

    model_version: int
    reason: str
    at: datetime
    retried: bool = Field(description="Whether it is tried again although its files have not changed.")


class ModelInfo(BaseModel):
    """The version that serves, and what else is in the repository."""

    model_config = _with_examples(
        {
            "model_name": "lung-ct",
            "model_version": 2,
            "engine": "openvino 2026.4.1, f32",
            "variant": "int8",
            "loaded_at": "2026-11-23T04:59:55.776243Z",
            "versions": [1, 2, 3, 4],
            "loading": 4,
            "pinned": 4,
            "failures": [
                {
                    "model_version": 3,
                    "reason": "golden.npz is missing",
                    "at": "2026-11-23T05:12:31.004512Z",
                    "retried": False,
                }
            ],
            "warnings": ["Research and education only: not for diagnosis."],
            "health": {"status": "ok", "service_version": VERSION, "model_version": 2, "reasons": []},
            "ledger": False,
            "documents": ["model-info/card", "model-info/figures/confusion_matrix.png"],
            "manifest": {
                "schema_version": 1,
                "model_name": "lung-ct",
                "model_version": 2,
                "architecture": "cnn",
                "classes": {"names": ["Normal cases", "Benign cases", "Malignant cases"], "target": "Malignant cases"},
            },
        }
    )

    model_name: str
    model_version: int | None = Field(description="The version that serves; null when there is none.")
    engine: str | None = Field(
        description="What runs the model, and the precision of what the model itself leaves open."
    )
    variant: ServedVariant | None = Field(
        description="What of the version serves: f32, or a variant whose figures, thresholds and limits hold instead "
        "of the manifest's own, and stand in manifest.variants; null when there is no version."
    )
    loaded_at: datetime | None
    versions: list[int] = Field(description="Versions in the repository, oldest first.")
    loading: int | None = Field(description="The version that is being loaded now.")
    pinned: int | None = Field(description="The version that the operator pinned, if any.")
    failures: list[Failure] = Field(description="Versions that could not be loaded, newest first.")
    warnings: list[str] = Field(description="What a reader of this model's answers must know.")
    health: Health = Field(description="What /health says, here always with status 200.")
    ledger: bool = Field(
        description="Whether every answer gets a line in a ledger: what it said, when, whose key it was, and a keyed "
        "digest of the image. The image itself is kept nowhere."
    )
    documents: list[str] = Field(
        description="The serving version's card and figures, as addresses relative to this one: model-info/card."
    )
    manifest: dict[str, JsonValue] | None = Field(
        description="manifest.json of the serving version, without files and long lists. metrics.shortcuts and "
        "metrics.stress say what the model could have learnt instead."
    )
