"""One fitted member of a model: what training on one part of the slices gives, whichever way it was trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self
from zipfile import BadZipFile

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.data.balance import Indices
from trainer.data.dataset import AS_IS
from trainer.networks.heads import Features, Head, LinearHead, LinearMap, Logits, NeighbourHead, Standardiser

Seen = Mapping[str, NDArray[np.uint8]]
Known = dict[tuple[str, int], NDArray[np.float32]]

_BATCH = 8  # slices, where features are asked for
_HEADS: tuple[Any, ...] = (LinearMap, LinearHead, NeighbourHead)


@dataclass(frozen=True)
class Member:
    """A fitted member. It answers for rows of the dataset it came from, and can become part of a model for others.

    network: image uint8 [B, H, W, 1] → features [B, D]; members that share one are computed once. head: features →
    logits. seen: the dataset's, uint8 [n, H, W, 1] as it is and for each view. known: features by view and row, as far
    as they were computed.
    """

    network: keras.Model
    head: Head
    seen: Seen
    known: Known = field(default_factory=dict, compare=False, repr=False)
    shares_network: bool = False

    def features_of(self, rows: Indices, view: str = AS_IS) -> Features:
        """What the network gives for rows of the dataset, or a view of them, float32 [m, D]; each is computed once."""
        new = [row for row in dict.fromkeys(rows.tolist()) if (view, row) not in self.known]
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            answers = self.network.predict_on_batch(self.seen[view][batch])
            self.known.update(zip([(view, row) for row in batch], answers, strict=True))
        features = [self.known[view, row] for row in rows.tolist()]
        return np.asarray(features, np.float32).reshape(len(rows), self.network.output_shape[-1])

    def logits(self, rows: Indices, view: str = AS_IS) -> Logits:
        """Uncalibrated logits float64 [m, C] for rows of the dataset, or a view of them."""
        return self.head.logits(self.features_of(rows, view))

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
        seen: Seen,
        known: Known | None = None,
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
            return cls(network, kind(**fields), seen, {} if known is None else known, shares_network)
        except (ValueError, KeyError, TypeError, BadZipFile) as error:
            raise ValueError(f"{file.name} holds no fitted member of this kind") from error


class Learner(Protocol):
    """A way to fit members: made once for a dataset, its case groups and the settings."""

    def fit(self, training: Indices, validation: Indices | None, seed: int) -> Member:
        """Fit to the training rows. Validation rows may decide when to stop; a learner may not need them."""

    def load(self, file: Path) -> Member:
        """A member that was saved. Raises OSError or ValueError where the file is no such member."""
