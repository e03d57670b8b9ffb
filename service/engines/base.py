"""What every engine does: runs a SavedModel."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.artifact import DISTANCE_NAME, FAMILIARITY_NAME, OUTPUT_NAME

OUTPUTS = (OUTPUT_NAME, DISTANCE_NAME, FAMILIARITY_NAME)
"""What is read of a model for a prediction, where it has it; all of it comes from one inference."""

Outputs = dict[str, NDArray[np.float32]]
"""By name: "probabilities" float32 [B, C]; "chest_distance" and "familiarity_distance" float32 [B], where the model has
them."""


@dataclass(frozen=True)
class Pace:
    """How long a model takes on this machine, in seconds, as its trial measured."""

    alone_s: float = 1.0
    """A slice that all cores share."""
    one_s: float = 1.0
    """A slice on each core, beside as many others."""
    full_s: float = 1.0
    """A full batch on each core, likewise; a batch of one slice, where larger ones are no faster."""
    batch_size: int = 1

    def batch_s(self, size: int) -> float:
        """A batch of 1 to batch_size slices on each core: one slice after the other, or padded to a full one."""
        return min(size * self.one_s, self.full_s)


UNMEASURED = Pace()
"""Slice by slice: of a model that had no trial yet."""


class Engine(Protocol):
    """Runs a SavedModel."""

    name: str
    precision: str

    def infer_single(self, image: NDArray[np.uint8]) -> Outputs:
        """uint8 [1, H, W, 1] → outputs of one slice. One call at a time, and none of infer() beside it."""

    def infer(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [B, H, W, 1] → outputs, B up to the batch size, in several threads at a time."""

    def replay(self, images: NDArray[np.uint8]) -> Iterator[Outputs]:
        """uint8 [n, H, W, 1] → outputs for all of them, once for each way in which predictions may be computed."""

    def infer_with_attention(self, images: NDArray[np.uint8]) -> Outputs:
        """uint8 [B, H, W, 1] → outputs, and "attention" float32 [B, h, w, C] where the model has it; B is any.

        For explanations: one call at a time, beside all others; what it needs is made at the first.
        """
