"""Frozen features: a pretrained network as it is, and a head that is fitted in a second."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import keras
import numpy as np

from trainer.data.balance import Indices
from trainer.data.cases import Groups
from trainer.data.dataset import Dataset
from trainer.networks.attention import Affine
from trainer.networks.heads import Features, Head, LinearHead, Logits, NeighbourHead, Standardiser, fit_head
from trainer.networks.pretrained import build_backbone
from trainer.settings import HeadName, TrainerSettings
from trainer.training.features import extract, feature_extractor
from trainer.training.head_choice import choose_head

_KINDS: dict[str, type[LinearHead] | type[NeighbourHead]] = {"linear": LinearHead, "neighbours": NeighbourHead}


@dataclass(frozen=True)
class FrozenMember:
    """A head, the network below it, and what that says of the dataset's slices."""

    network: keras.Model
    features: Features
    head: Head

    def features_of(self, rows: Indices) -> Features:
        """What the network gives for rows of the dataset, float32 [m, D]."""
        return self.features[rows]

    def logits(self, rows: Indices) -> Logits:
        """Uncalibrated logits float64 [m, C] for rows of the dataset."""
        return self.head.logits(self.features[rows])

    def lay(self, features: Any) -> Any:
        """Features [B, D] of the network in a Keras graph → logits [B, C]."""
        return self.head.lay(features)

    def affine(self, features: Any) -> Affine | None:
        """The same logits as an affine map of the features; None for neighbours, which vote."""
        return self.head.affine(features) if isinstance(self.head, LinearHead) else None

    def save(self, file: Path) -> None:
        """Write the head to an .npz file."""
        fields = {name: value for name, value in vars(self.head).items() if name != "standardiser"}
        kind = next(name for name, head in _KINDS.items() if isinstance(self.head, head))
        with file.open("wb") as opened:
            np.savez(opened, kind=kind, mean=self.head.standardiser.mean, scale=self.head.standardiser.scale, **fields)

    @classmethod
    def load(cls, file: Path, network: keras.Model, features: Features) -> Self:
        """A member that save() wrote. Raises OSError or ValueError where the file is no such member."""
        try:
            with np.load(file, allow_pickle=False) as stored:
                fields = dict(stored)
            head = _KINDS[str(fields.pop("kind"))]
            standardiser = Standardiser(fields.pop("mean"), fields.pop("scale"))
            return cls(network, features, head(standardiser, **fields))
        except (ValueError, KeyError, TypeError, BadZipFile) as error:
            raise ValueError(f"{file.name} holds no fitted head") from error


class FrozenFeatures:
    """Extracts the features of all slices when made; every fit after that takes seconds."""

    def __init__(
        self, dataset: Dataset, groups: Groups, settings: TrainerSettings, features: Features | None = None
    ) -> None:
        """groups: give every slice one of its own where held-out slices may be of seen cases (a split by image).

        features: those that an equal one extracted from the same slices. Raises WeightsError where the network's
        weights are not to be had.
        """
        extractor = feature_extractor(build_backbone(settings.network, settings.preprocessing, settings.weights))
        self._network, self._blocks = extractor.model, extractor.blocks
        self._features = extract(extractor, dataset.images) if features is None else features
        self._labels, self._groups = dataset.labels, groups
        self._classes = len(dataset.classes.names)
        self._head: HeadName = settings.head

    def fit(self, training: Indices, validation: Indices | None, seed: int) -> FrozenMember:  # noqa: ARG002
        """Fit a head to the training rows, which also decide for one. Nothing is random or stopped early."""
        features, labels, groups = self._features[training], self._labels[training], self._groups[training]
        blocks, classes, name = self._blocks, self._classes, self._head
        if name == "auto":
            name = choose_head(features, labels, groups, blocks=blocks, classes=classes)
        head = fit_head(name, features, labels, groups, blocks=blocks, classes=classes)
        return FrozenMember(self._network, self._features, head)

    def save_features(self, file: Path) -> None:
        """Write the features to an .npy file, so that a run that was killed need not extract them again."""
        with file.open("wb") as opened:
            np.save(opened, self._features)

    def load(self, file: Path) -> FrozenMember:
        """A member that save() wrote. Raises OSError or ValueError where the file is no such member."""
        return FrozenMember.load(file, self._network, self._features)
