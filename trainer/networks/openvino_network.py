"""A Keras network in OpenVINO's format, which computes features on a processor's cores faster than Keras does."""

import os

import keras
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from trainer.networks.heads import Features
from trainer.progress import with_progress


def to_openvino(network: keras.Model) -> ov.Model:
    """The same graph for batches of any size. It takes seconds for a large network."""
    listed = keras.Model(network.inputs, network.output)  # Keras warns where one input comes in a list, as it does here
    return ov.convert_model(listed)


def compute_features(network: ov.Model, images: NDArray[np.uint8], label: str) -> Features:
    """float32 [n, D] for uint8 [n, H, W, 1], in the order of the images, showing progress under this label.

    Slice by slice, each on one core, in float32 where the network is not quantized: what is computed beside a slice
    changes nothing about it.
    """
    at_a_time = network.clone()
    at_a_time.reshape([1, *images.shape[1:]])
    cores = os.cpu_count() or 1
    limits = {"NUM_STREAMS": cores, "INFERENCE_NUM_THREADS": cores, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(at_a_time, "CPU", limits)
    features = np.empty((len(images), compiled.output(0).shape[1]), np.float32)

    def keep(request: ov.InferRequest, row: int) -> None:
        features[row] = request.get_output_tensor(0).data[0]

    queue = ov.AsyncInferQueue(compiled, cores)
    queue.set_callback(keep)
    for row in with_progress(range(len(images)), len(images), label):
        queue.start_async({0: images[row : row + 1]}, row)
    queue.wait_all()
    return features
