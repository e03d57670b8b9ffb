"""Networks that come with weights, up to their feature maps; what is learned for CT slices is put on top of them."""

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from shared.artifact import INPUT_NAME
from shared.imaging import PreprocessingSpec
from trainer.networks.chest_resnet import chest_resnet, load_chest_weights
from trainer.networks.efficientnet_lite import efficientnet_lite0, load_imagenet_weights
from trainer.networks.pickled_weights import WeightsError

KERAS_PREFIX = "keras:"
"""What follows it is a network of keras.applications: keras:EfficientNetB0."""

IMAGENET, NONE = "imagenet", "none"
"""Weights by name; anything else is the path of a weights file of Keras."""

_LICENCES = {
    "chest_resnet": (
        "The packages of these weights (Astra, derived from Merlin) say MIT. Their upstream repository has no licence "
        "file, and its training data may include sets that are for research only. What holds for the weights holds for "
        "this version. With --network efficientnet_lite0 a version starts from weights whose licence is clear."
    ),
    "efficientnet_lite0": "Apache-2.0, as the package of these weights says. They were trained on ImageNet.",
}

_layers = keras.layers


class UnknownNetwork(WeightsError):
    """keras.applications has no network of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no network {name}; expected one of {', '.join(_application_names())}.")


class NoImageNetWeights(WeightsError):
    """Keras downloads its weights when they are first used, and could not."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"The ImageNet weights of {name} could not be downloaded ({reason}). "
            "Give a weights file, or none, or use efficientnet_lite0, whose weights are installed with the trainer."
        )


class UnfitWeights(WeightsError):
    """A weights file is missing, or was written by another network."""

    def __init__(self, name: str, file: str, reason: str) -> None:
        super().__init__(f"{file} does not fit {name}: {reason}")


def weights_licence(name: str, weights: str = IMAGENET) -> str | None:
    """What is known of the licence of the weights that a network of this name starts from; None where it has none."""
    if weights == NONE or not (name.startswith(KERAS_PREFIX) or name in _LICENCES):
        return None
    if weights == IMAGENET and name in _LICENCES:
        return _LICENCES[name]
    return "Not known here: see where these weights come from."


def build_backbone(name: str, spec: PreprocessingSpec, weights: str = IMAGENET) -> keras.Model:
    """A model, image uint8 [B, H, W, 1] → list of feature maps float32 [B, h, w, channels], one or more.

    name: efficientnet_lite0, chest_resnet, or keras:NAME. weights: "imagenet" (for chest_resnet: its own), "none", or
    the path of a weights file, written by Keras for the same network without its top. Scaling is inside the graph.
    Raises WeightsError.
    """
    image = keras.Input((spec.height, spec.width, 1), dtype="uint8", name=INPUT_NAME)
    if name.startswith(KERAS_PREFIX):
        return keras.Model(image, [_application(name.removeprefix(KERAS_PREFIX), weights, image)], name="backbone")
    scale, build, load = _INSTALLED[name]
    model = keras.Model(image, list(build(_layers.Rescaling(scale, name="scale")(image))), name="backbone")
    if weights == IMAGENET:
        load(model)
    elif weights != NONE:
        _load_file(model, name, weights)
    return model


_INSTALLED: dict[str, tuple[float, Callable[[Any], Sequence[Any]], Callable[[keras.Model], None]]] = {
    "efficientnet_lite0": (1.0, efficientnet_lite0, load_imagenet_weights),
    "chest_resnet": (1 / 255, chest_resnet, load_chest_weights),
}
"""What grey values are multiplied by, the network, and what fills its weights."""


def _application(name: str, weights: str, image: Any) -> Any:
    if name not in _application_names():
        raise UnknownNetwork(f"{KERAS_PREFIX}{name}")
    build = getattr(keras.applications, name)
    shape = (image.shape[1], image.shape[2], 3)
    try:
        network = build(include_top=False, weights=IMAGENET if weights == IMAGENET else None, input_shape=shape)
    except Exception as error:
        if weights == IMAGENET and "fetch" in str(error):  # Keras raises a bare Exception where a download fails
            raise NoImageNetWeights(f"{KERAS_PREFIX}{name}", str(error).split("--")[-1].strip()) from error
        raise WeightsError(f"{KERAS_PREFIX}{name} cannot be built for {shape[0]} x {shape[1]}: {error}") from error
    if weights not in (IMAGENET, NONE):
        _load_file(network, f"{KERAS_PREFIX}{name}", weights)
    grey = _layers.Rescaling(1.0, name="scale")(image)
    colour = _layers.Concatenate(name="three_channels")([grey, grey, grey])
    # each network of keras.applications wants its own scaling, which lies beside it
    return network(sys.modules[build.__module__].preprocess_input(colour))


def _load_file(model: keras.Model, name: str, file: str) -> None:
    if not Path(file).is_file():
        raise UnfitWeights(name, file, "there is no such file.")
    try:
        with warnings.catch_warnings():
            # Keras only warns where it leaves layers as they are
            warnings.filterwarnings("error", category=UserWarning)
            model.load_weights(file)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise UnfitWeights(name, file, str(error).splitlines()[0]) from error


def _application_names() -> list[str]:
    return sorted(name for name in dir(keras.applications) if name[0].isupper())
