"""One fitted member of a model: what training on one part of the slices gives, whichever way it was trained."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self
from zipfile import BadZipFile

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.data.balance import Indices
from trainer.networks.heads import Features, Head, LinearHead, LinearMap, Logits, NeighbourHead, Standardiser

_BATCH = 8  # slices, where features are asked for
_HEADS: tuple[Any, ...] = (LinearMap, LinearHead, NeighbourHead)


@dataclass(frozen=True)
class Member:
    """A fitted member. It answers for rows of the dataset it came from, and can become part of a model for others.

    network: image uint8 [B, H, W, 1] → features [B, D]; members that share one are computed once. head: features →
    logits. images: uint8 [n, H, W, 1], the dataset's. known: features by row, as far as they were computed.
    """

    network: keras.Model
    head: Head
    images: NDArray[np.uint8]
    known: dict[int, NDArray[np.float32]] = field(default_factory=dict, compare=False, repr=False)
    shares_network: bool = False

    def features_of(self, rows: Indices) -> Features:
        """What the network gives for rows of the dataset, float32 [m, D]; each is computed once."""
        new = [row for row in dict.fromkeys(rows.tolist()) if row not in self.known]
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            self.known.update(zip(batch, self.network.predict_on_batch(self.images[batch]), strict=True))
        features = [self.known[row] for row in rows.tolist()]
        return np.asarray(features, np.float32).reshape(len(rows), self.network.output_shape[-1])

    def logits(self, rows: Indices) -> Logits:
        """Uncalibrated logits float64 [m, C] for rows of the dataset."""
        return self.head.logits(self.features_of(rows))

    def save(self, file: Path) -> None:
        """Write the head, and the network unless others share it, to an .npz file, for a run that resumes."""
        fields = vars(self.head).copy()
        standardiser = vars(fields.pop("standardiser")) if "standardiser" in fields else {}
        weights = [] if self.shares_network else self.network.get_weights()
        layers = {f"network_{number}": value for number, value in enumerate(weights)}
        with file.open("wb") as opened:
            np.savez(opened, kind=type(self.head).__name__, **fields, **standardiser, **layers)

    @classmethod
    def load(
        cls,
        file: Path,
        network: keras.Model,
        images: NDArray[np.uint8],
        known: dict[int, NDArray[np.float32]] | None = None,
        *,
        shares_network: bool = False,
    ) -> Self:
        """A member that save() wrote, for a network of the same layers. Raises OSError or ValueError."""
        try:
            with np.load(file, allow_pickle=False) as stored:
                fields = dict(stored)
            kind = {head.__name__: head for head in _HEADS}[str(fields.pop("kind"))]
            weights = [fields.pop(name) for name in list(fields) if name.startswith("network_")]
            if "mean" in fields:
                fields["standardiser"] = Standardiser(fields.pop("mean"), fields.pop("scale"))
            if not shares_network:
                network.set_weights(weights)
            return cls(network, kind(**fields), images, {} if known is None else known, shares_network)
        except (ValueError, KeyError, TypeError, BadZipFile) as error:
            raise ValueError(f"{file.name} holds no fitted member of this kind") from error


class Learner(Protocol):
    """A way to fit members: made once for a dataset, its case groups and the settings."""

    def fit(self, training: Indices, validation: Indices | None, seed: int) -> Member:
        """Fit to the training rows. Validation rows may decide when to stop; a learner may not need them."""

    def load(self, file: Path) -> Member:
        """A member that was saved. Raises OSError or ValueError where the file is no such member."""
