"""Slices → numbers, by a network whose weights stay as they are. Computed once, they serve any number of heads."""

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.networks.heads import Features
from trainer.progress import with_progress

_BATCH = 8


def feature_extractor(backbone: keras.Model) -> tuple[keras.Model, tuple[int, ...]]:
    """Mean and standard deviation over the area of each feature map of a backbone.

    A model, image uint8 [B, H, W, 1] → features float32 [B, D], and the widths of its blocks, which add up to D: each
    is standardised for itself.
    """
    pooled = []
    for feature_map in backbone.outputs:
        pooled.append(keras.layers.GlobalAveragePooling2D()(feature_map))
        pooled.append(keras.ops.std(feature_map, axis=(1, 2)))
    model = keras.Model(backbone.inputs, keras.ops.concatenate(pooled, axis=1), name="features")
    return model, tuple(block.shape[1] for block in pooled)


def extract(extractor: keras.Model, images: NDArray[np.uint8]) -> Features:
    """float32 [n, D] for uint8 [n, H, W, 1], in the order of the images, showing progress."""
    features = np.empty((len(images), extractor.output_shape[-1]), np.float32)
    for row in with_progress(range(len(images)), len(images), "Features"):
        if row % _BATCH == 0:
            features[row : row + _BATCH] = extractor.predict_on_batch(images[row : row + _BATCH])
    return features
