"""What a quantized network says of all slices and views; computed once, and kept with the network for a resumed run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from trainer.data.dataset import AS_IS
from trainer.networks.heads import Features
from trainer.networks.openvino_network import to_openvino
from trainer.networks.quantization import quantize
from trainer.training.frozen_features import extract
from trainer.training.work_folder import WorkFolder

_FILE = "int8.npz"
_GRAPH, _WEIGHTS = "network.xml", "network.bin"


@dataclass(frozen=True)
class QuantizedFeatures:
    """A quantized network, image uint8 [B, H, W, 1] → features, and its features float32 [n, D] by view."""

    network: ov.Model
    features: dict[str, Features]

    @property
    def tells_slices_apart(self) -> bool:
        """Whether any feature differs between slices as they are."""
        return bool(np.ptp(self.features[AS_IS], axis=0).any())

    def save(self, file: Path) -> None:
        """Write both to one .npz file."""
        with TemporaryDirectory(dir=file.parent) as folder, file.open("wb") as opened:
            ov.save_model(self.network, Path(folder) / _GRAPH, compress_to_fp16=False)
            parts = {name: np.fromfile(Path(folder) / name, np.uint8) for name in (_GRAPH, _WEIGHTS)}
            np.savez(opened, **parts, **self.features)  # type: ignore[arg-type] # its names are no options

    @classmethod
    def load(cls, file: Path) -> "QuantizedFeatures":
        """What save() wrote. Raises OSError or ValueError where the file is nothing like that."""
        with np.load(file, allow_pickle=False) as stored:
            parts = dict(stored)
        try:
            graph, weights = parts.pop(_GRAPH).tobytes(), parts.pop(_WEIGHTS)
            return cls(ov.Core().read_model(graph, ov.Tensor(weights)), parts)
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"{file.name} holds no quantized network") from error


def quantize_features(
    network: keras.Model, seen: Mapping[str, NDArray[np.uint8]], work: WorkFolder | None = None
) -> QuantizedFeatures:
    """Quantize a network by slices uint8 [n, H, W, 1] as they are, and ask it about them and about each view.

    Equal arguments give equal results on equal processors.
    """
    stored = None if work is None else work.load(_FILE, QuantizedFeatures.load)
    if stored is not None and set(stored.features) == set(seen):
        return stored
    quantized = quantize(to_openvino(network), seen[AS_IS])
    made = QuantizedFeatures(quantized, extract(quantized, seen, "Features in int8"))
    if work is not None:
        work.keep(_FILE, made.save)
    return made
