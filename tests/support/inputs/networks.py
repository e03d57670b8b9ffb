"""Small networks, for tests of what is built on a pretrained one."""

import keras

from trainer.training.frozen_features import feature_extractor


def small_features(side: int = 32, seed: int = 2) -> tuple[keras.Model, tuple[int, ...]]:
    """Untrained: image uint8 [B, side, side, 1] → features of two feature maps, and the widths of its blocks."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((side, side, 1), dtype="uint8", name="image")
    scaled = keras.layers.Rescaling(1 / 255)(image)
    fine = keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu")(scaled)
    coarse = keras.layers.Conv2D(12, 3, 2, padding="same", activation="relu")(fine)
    return feature_extractor(keras.Model(image, [fine, coarse], name="backbone"))
