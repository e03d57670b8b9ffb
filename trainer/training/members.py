"""One fitted member of a model: what training on one part of the slices gives, whichever way it was trained."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.data.balance import Indices
from trainer.networks.attention import Affine
from trainer.networks.heads import Features, Logits

_BATCH = 8  # slices, where features are asked for


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
        """Fit to the training rows. Validation rows may decide when to stop; a learner may not need them."""

    def load(self, file: Path) -> Member:
        """A member that was saved. Raises OSError or ValueError where the file is no such member."""


@dataclass(frozen=True)
class NetworkMember:
    """A network of its own, and the linear map behind it: weights float32 [D, C], bias float32 [C].

    images: uint8 [n, H, W, 1], those of the dataset whose rows it answers for.
    """

    network: keras.Model
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    images: NDArray[np.uint8]
    _known: dict[int, NDArray[np.float32]] = field(default_factory=dict, compare=False, repr=False)

    def features_of(self, rows: Indices) -> Features:
        """What the network gives for rows of the dataset, float32 [m, D]; each is computed once."""
        new = [row for row in dict.fromkeys(rows.tolist()) if row not in self._known]
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            self._known.update(zip(batch, self.network.predict_on_batch(self.images[batch]), strict=True))
        known = [self._known[row] for row in rows.tolist()]
        return np.asarray(known, np.float32).reshape(len(rows), len(self.weights))

    def logits(self, rows: Indices) -> Logits:
        """Uncalibrated logits float64 [m, C] for rows of the dataset."""
        return self.features_of(rows).astype(np.float64) @ self.weights + self.bias

    def lay(self, features: Any) -> Any:
        """Features [B, D] of the network in a Keras graph → logits [B, C]."""
        layer = keras.layers.Dense(len(self.bias))
        laid = layer(features)
        layer.set_weights([self.weights, self.bias])
        return laid

    def affine(self, features: Any) -> Affine:  # noqa: ARG002 - the same for all features
        """The same logits as an affine map of the features."""
        return Affine(keras.ops.convert_to_tensor(self.weights[None]), keras.ops.convert_to_tensor(self.bias[None]))

    def save(self, file: Path) -> None:
        """Write the weights of the network and of the map behind it to an .npz file."""
        layers = {f"network_{number}": value for number, value in enumerate(self.network.get_weights())}
        with file.open("wb") as opened:
            np.savez(opened, weights=self.weights, bias=self.bias, **layers)

    @classmethod
    def load(cls, file: Path, network: keras.Model, images: NDArray[np.uint8]) -> Self:
        """A member that save() wrote, for a network of the same layers. Raises OSError or ValueError."""
        try:
            with np.load(file, allow_pickle=False) as stored:
                fields = dict(stored)
            weights, bias = fields.pop("weights"), fields.pop("bias")
            network.set_weights([fields[f"network_{number}"] for number in range(len(fields))])
        except (ValueError, KeyError) as error:
            raise ValueError(f"{file.name} holds no fitted network of this kind") from error
        return cls(network, weights, bias, images)
