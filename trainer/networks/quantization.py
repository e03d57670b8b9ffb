"""A network with 8 bits for its weights and for what its layers hand on: twice as fast, and a network of its own.

What it says of a slice differs from what the network in float32 says: whatever was fitted to that must be fitted anew.
"""

import logging
import time

import numpy as np
import openvino as ov
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_MOST_SLICES = 200  # more change the ranges hardly, and each takes half a second


def quantize(network: ov.Model, images: NDArray[np.uint8]) -> ov.Model:
    """The network, image uint8 [B, H, W, 1] → features, with 8 bits. Deterministic.

    images: uint8 [n, H, W, 1], of which up to 200, evenly spread, tell the range of each layer; no label is asked.
    Weights keep to half of their range, so that processors without instructions for 8 bits add them up without
    overflow, to what all others get.
    """
    # seconds to import, for those who need it
    import nncf  # noqa: PLC0415
    import rich  # noqa: PLC0415

    logging.setLoggerClass(logging.Logger)  # NNCF has every logger of the process be one of its own kind
    logging.getLogger("nncf").setLevel(logging.ERROR)
    rich.get_console().quiet = True  # on which NNCF draws its progress, and nobody else anything
    rows = np.unique(np.linspace(0, len(images) - 1, _MOST_SLICES).round().astype(np.int64))
    logger.info("Quantizing the network to int8, by what it says of %d slices: some minutes on few cores", len(rows))
    started = time.monotonic()
    one_at_a_time = network.clone()
    one_at_a_time.reshape([1, *images.shape[1:]])
    quantized = nncf.quantize(
        one_at_a_time,
        nncf.Dataset([images[row : row + 1] for row in rows]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(rows),
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
    )
    quantized.reshape([-1, *images.shape[1:]])
    logger.info("Quantized in %.0f s", time.monotonic() - started)
    return quantized
