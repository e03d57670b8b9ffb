"""What every engine does: runs a SavedModel."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.artifact import DISTANCE_NAME, FAMILIARITY_NAME, OUTPUT_NAME

OUTPUTS = (OUTPUT_NAME, DISTANCE_NAME, FAMILIARITY_NAME)
"""What is read of a model for a prediction, where it has it; all of it comes from one inference."""

Outputs = dict[str, NDArray[np.float32]]
"""By name: "probabilities" float32 [B, C]; "chest_distance" and "familiarity_distance" float32 [B], where the model has
them."""


class Engine(Protocol):
    """Runs a SavedModel."""

    name: str
    precision: str

    def single_threshold(self) -> int:
        """So many slices take no longer one after the other, each alone, than in batches; measured when asked."""

    def infer_single(self, image: NDArray[np.uint8]) -> Outputs:
        """uint8 [1, H, W, 1] → outputs of one slice. One call at a time, and none of infer() beside it."""

    def infer(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [B, H, W, 1] → outputs, B up to max_batch_size, in several threads at a time."""

    def infer_with_attention(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [B, H, W, 1] → outputs, and "attention" float32 [B, h, w, C] where the model has it; B is any.

        For explanations: one call at a time, beside all others; what it needs is made at the first.
        """
