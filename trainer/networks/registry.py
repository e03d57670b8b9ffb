"""The networks that can be trained, by name.

Every network takes `image` uint8 [B, H, W, 1] and gives `probabilities` float32 [B, C]: scaling to [0, 1] and repeating
the grey channel happen inside the graph, so whoever serves the model cannot do them otherwise than training did.
"""

from collections.abc import Callable
from typing import Any

import keras

from shared.artifact import INPUT_NAME, OUTPUT_NAME
from shared.imaging import PreprocessingSpec
from trainer.settings import NetworkName

_layers = keras.layers


def build_network(name: NetworkName, spec: PreprocessingSpec, n_classes: int) -> keras.Model:
    """An untrained network: uint8 [B, spec.height, spec.width, 1] → float32 [B, n_classes], rows summing to 1.

    Its weights come from Keras's global seed: set that first where they must repeat.
    """
    image = keras.Input((spec.height, spec.width, 1), dtype="uint8", name=INPUT_NAME)
    features = _BODIES[name](_layers.Rescaling(1 / 255, name="scale")(image))
    probabilities = _layers.Dense(n_classes, activation="softmax", dtype="float32", name=OUTPUT_NAME)(features)
    return keras.Model(image, probabilities, name=name)


def _cnn(grey: Any) -> Any:
    return cnn_body(_layers.Concatenate(name="three_channels")([grey, grey, grey]))


def cnn_body(x: Any) -> Any:
    """Colour float32 [B, H, W, 3] from 0 to 1 → features [B, 256].

    The reference's network: 19,395,395 parameters for 224 x 224 and three classes, nearly all in the first Dense.

    Weights begin as He et al. 2015 (10.1109/ICCV.2015.123) draw them for ReLU; with Keras's usual ones (Glorot) most
    of the first ten epochs pass before the loss begins to fall.
    """
    for filters in (32, 64, 128, 256):
        x = _layers.Conv2D(filters, 3, padding="valid", activation="relu", kernel_initializer="he_uniform")(x)
        x = _layers.MaxPooling2D(2)(x)
    x = _layers.Flatten()(x)
    for units in (512, 256):
        x = _layers.Dense(units, activation="relu", kernel_initializer="he_uniform")(x)
        x = _layers.Dropout(0.5)(x)
    return x


def _tiny(grey: Any) -> Any:
    """Learns phantoms in seconds: batch normalization (Ioffe & Szegedy 2015) bears a learning rate of 0.01.

    Global maximum pooling asks "is it anywhere?", which is the question of a nodule.
    """
    x = _layers.AveragePooling2D(2)(grey)
    for filters in (8, 16, 32):
        x = _layers.MaxPooling2D(2)(_normalized_convolution(x, filters))
    x = _normalized_convolution(x, 48)
    return _layers.Concatenate()([_layers.GlobalMaxPooling2D()(x), _layers.GlobalAveragePooling2D()(x)])


def _normalized_convolution(x: Any, filters: int) -> Any:
    x = _layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_uniform")(x)
    # with the usual momentum of 0.99, validation would see useless means for the first hundreds of steps
    return _layers.ReLU()(_layers.BatchNormalization(momentum=0.9)(x))


_BODIES: dict[NetworkName, Callable[[Any], Any]] = {"cnn": _cnn, "tiny": _tiny}
