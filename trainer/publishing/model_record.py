"""What a run knows of the model it trained; the manifest and the model card are both written from it."""

from pydantic import BaseModel, JsonValue

from shared.chest_ct import ChestGate
from shared.classes import ClassSet
from shared.decisions import DecisionRules
from shared.familiarity import FamiliarityRules
from shared.imaging import PreprocessingSpec
from shared.variant import Variant, VariantName


class ModelRecord(BaseModel, frozen=True):
    """What a run knows of its model; becomes the manifest once number, time and files are known."""

    architecture: str
    classes: ClassSet
    preprocessing: PreprocessingSpec
    dataset: dict[str, JsonValue]
    split: dict[str, JsonValue]
    metrics: dict[str, JsonValue]
    thresholds: DecisionRules | None = None
    chest_gate: ChestGate | None = None
    familiarity: FamiliarityRules | None = None
    variants: dict[VariantName, Variant] = {}
    training: dict[str, JsonValue] = {}
    warnings: tuple[str, ...] = ()
    seed: int
    duration_s: float
