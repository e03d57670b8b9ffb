"""One fitted member of a model: what training on one part of the slices gives, whichever way it was trained."""

from pathlib import Path
from typing import Any, Protocol

import keras

from trainer.data.balance import Indices
from trainer.networks.attention import Affine
from trainer.networks.heads import Features, Logits


class Member(Protocol):
    """A fitted member. It answers for rows of the dataset it came from, and can be laid into a model for others."""

    @property
    def network(self) -> keras.Model:
        """A model, image uint8 [B, H, W, 1] → features [B, D]; members that share one are computed once."""

    def features_of(self, rows: Indices) -> Features:
        """What the network gives for rows of the dataset, float32 [m, D]."""

    def logits(self, rows: Indices) -> Logits:
        """Uncalibrated logits float64 [m, C] for rows of the dataset."""

    def lay(self, features: Any) -> Any:
        """Features [B, D] of the network in a Keras graph → logits [B, C]."""

    def affine(self, features: Any) -> Affine | None:
        """The same logits as an affine map of the features; None where they are none."""

    def save(self, file: Path) -> None:
        """Write what was fitted, so that a run that was killed need not fit it again."""


class Learner(Protocol):
    """A way to fit members: made once for a dataset, its case groups and the settings."""

    def fit(self, training: Indices, validation: Indices | None, seed: int) -> Member:
        """Fit to the training rows. Validation rows may decide when to stop; an approach may not need them."""

    def load(self, file: Path) -> Member:
        """A member that was saved. Raises OSError or ValueError where the file is no such member."""
