"""A model in another precision, beside the SavedModel of its version: fitted and judged as it is served.

<model>/3/variants/int8/  model.xml  model.bin                  OpenVINO's format, same input and outputs
                          golden.npz                            the version's golden slices, what this variant answers

Its figures, rules and limits are its own, and stand in the one manifest: what is promised is what was measured on what
serves.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from shared.chest_ct import ChestGate
from shared.decisions import DecisionRules
from shared.familiarity import FamiliarityRules

REFERENCE = "f32"
"""The SavedModel itself."""
VARIANTS_DIR = "variants"
VARIANT_MODEL_FILE = "model.xml"
VARIANT_WEIGHTS_FILE = "model.bin"

VariantName = Literal["int8"]
"""int8: weights and activations of the network with 8 bits; what was fitted on its features stays float32."""


class Variant(BaseModel):
    """What the manifest says of one variant; each field replaces the manifest's own where the variant serves."""

    model_config = ConfigDict(frozen=True)

    may_serve: bool
    """Whether it is as good as the reference, paired by case, out of fold."""
    comparison: dict[str, JsonValue]
    """With the reference: differences with their intervals, and how often gate and familiarity agree; for people."""
    metrics: dict[str, JsonValue]
    thresholds: DecisionRules | None
    chest_gate: ChestGate | None
    familiarity: FamiliarityRules | None
    warnings: tuple[str, ...] = ()
    golden_tolerance: float = Field(gt=0, le=0.1)
    """What an engine may differ from the answers that this variant gave when it was published."""
