"""What each place on a slice adds to each class's logit: class activation, as a part of the exported graph.

Between feature maps and logits, every step of our networks is linear, piecewise linear, or a pooling that is
homogeneous of degree one: by Euler's theorem its value is then a sum over places of activation times derivative.
Carrying a head's weights back through these steps splits a logit into what each place adds to it, without a remainder:
the idea of class activation mapping (Zhou et al. 2016, arXiv 1512.04150), for fully connected layers as in HiResCAM
(Draelos & Carin 2020, arXiv 2011.08891). It takes forward passes only, so any engine computes it along with the answer.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import keras
import tensorflow as tf

_layers, _ops = keras.layers, keras.ops

_VALID_STRIDE = 16  # of the one network whose convolutions lose their margin: its map is smaller than the slice
_AXES = 4  # of a batch of slices
_SILENT = 1e-6  # a standard deviation of nothing


class NotSeparable(Exception):
    """A step between feature maps and features cannot be taken apart into what each place adds."""

    def __init__(self, step: str) -> None:
        super().__init__(f"{step} cannot be split into what each place adds.")


@dataclass(frozen=True)
class Affine:
    """How logits depend on features near a slice: logits [B, C] = sum over D of features [B, D] times slopes + offsets.

    slopes: [B, D, C], offsets: [B, C]; B may be 1 where all slices share them.
    """

    slopes: Any
    offsets: Any


def mean_of(heads: list[Affine]) -> Affine:
    """The mean of heads, one or more, on the same features."""
    share = 1 / len(heads)
    return Affine(
        reduce(_ops.add, [head.slopes for head in heads]) * share,
        reduce(_ops.add, [head.offsets for head in heads]) * share,
    )


def attention(network: keras.Model, head: Affine) -> Any:
    """Logits by place, [B, h, w, C], whose mean over places is the logits; in the graph of a network, image → features.

    The grid covers the network's whole input. What belongs to no place, such as a bias, is spread evenly. Raises
    NotSeparable.
    """
    if len(network.input_shape) != _AXES:
        raise NotSeparable("what has no places")
    walk = _WayBack(network)
    walk.follow(network.outputs[0], head.slopes)
    rows, columns = (min(grid.shape[axis] for grid in walk.grids) for axis in (1, 2))
    whole = reduce(_ops.add, [_coarsened(grid, rows, columns) for grid in walk.grids])
    return whole + reduce(_ops.add, [head.offsets, *walk.offsets])[:, None, None, :]


class _Back(keras.layers.Layer):  # type: ignore[misc] # Keras ships no types
    """[B, C, outputs] → [B, C, inputs], by the weights of a dense layer.

    A layer, because what is computed of a variable outside of one becomes a constant of the graph: the exported model
    would hold these weights twice. They are on the right, where engines keep them small.
    """

    def __init__(self, dense: keras.layers.Dense) -> None:
        super().__init__(trainable=False)
        self._dense = dense

    def compute_output_spec(self, passed: Any) -> Any:
        """Float32 [B, C, inputs]; Keras cannot find out what an operation of TensorFlow makes of a symbolic tensor."""
        return keras.KerasTensor((*passed.shape[:2], self._dense.kernel.shape[0]), "float32")

    def call(self, passed: Any) -> Any:
        """Float32 [B, C, outputs] times the layer's weights, transposed: [B, C, inputs]."""
        inputs, outputs = self._dense.kernel.shape
        # as one matrix: TensorFlow would repeat the weights for each slice of a batch
        flat = tf.matmul(tf.reshape(passed, (-1, outputs)), self._dense.kernel.value, transpose_b=True)
        return tf.reshape(flat, (-1, passed.shape[1], inputs))


class _WayBack:
    """From features back to feature maps, carrying slopes [B, D, C] and collecting what arrives there."""

    def __init__(self, network: keras.Model) -> None:
        self.grids: list[Any] = []
        self.offsets: list[Any] = []
        self._image_rows, self._image_columns = network.input_shape[1:3]
        self._made_by = {id(step.output): step for step in network.operations if not isinstance(step.output, list)}

    def follow(self, features: Any, slopes: Any) -> None:
        """Take one step back, and from there the next."""
        step = self._made_by[id(features)]
        match type(step).__name__:
            case "Dropout":
                self.follow(step.input, slopes)
            case "Concatenate":
                start = 0
                for part in step.input:
                    self.follow(part, slopes[:, start : start + part.shape[1]])
                    start += part.shape[1]
            case "Dense":
                if step.activation is not keras.activations.relu:
                    raise NotSeparable(step.name)
                passed = slopes * _ops.cast(features > 0, "float32")[:, :, None]
                self.offsets.append(_ops.sum(step.bias[None, :, None] * passed, axis=1))
                back = _Back(step)(_ops.transpose(passed, (0, 2, 1)))
                self.follow(step.input, _ops.transpose(back, (0, 2, 1)))
            case _:
                self.grids.append(self._from_pooling(step, features, slopes))

    def _from_pooling(self, step: Any, features: Any, slopes: Any) -> Any:
        """Feature map → what its pooling hands on, by place: [B, h, w, C]."""
        match type(step).__name__:
            case "GlobalAveragePooling2D":
                return _by_place(step.input, slopes)
            case "GlobalMaxPooling2D":
                largest = _ops.cast(step.input >= features[:, None, None, :], "float32")
                share = largest / _ops.mean(largest, axis=(1, 2), keepdims=True)
                return _by_place(step.input * share, slopes)
            case "Std":
                deviation = step.input - _ops.mean(step.input, axis=(1, 2), keepdims=True)
                return _by_place(deviation**2, slopes / _ops.maximum(features, _SILENT)[:, :, None])
            case "Flatten":
                return self._with_margin(_by_own_weights(step.input, slopes))
            case "Reshape" if type(weighing := self._made_by[id(step.input)]).__name__ == "Dot":
                weights, flat = weighing.input  # trainer.training.fine_tuning.attended()
                feature_map = self._made_by[id(flat)].input
                rows, columns = feature_map.shape[1:3]
                share = _ops.reshape(weights, (-1, rows, columns, 1)) * (rows * columns)
                return _by_place(feature_map * share, slopes)
            case _:
                raise NotSeparable(step.name)

    def _with_margin(self, grid: Any) -> Any:
        """Around a map of convolutions without padding lies a margin of the slice where no place is."""
        rows, columns = grid.shape[1:3]
        above = max(0, round((self._image_rows / _VALID_STRIDE - rows) / 2))
        before = max(0, round((self._image_columns / _VALID_STRIDE - columns) / 2))
        # means are over all cells, with the margin's
        grown = (rows + 2 * above) * (columns + 2 * before) / (rows * columns)
        return _ops.pad(grid * grown, ((0, 0), (above, above), (before, before), (0, 0)))


def _by_place(feature_map: Any, slopes: Any) -> Any:
    """[B, h, w, D] and [B, D, C] → [B, h, w, C]."""
    _, rows, columns, depth = feature_map.shape
    places = _ops.matmul(_ops.reshape(feature_map, (-1, rows * columns, depth)), slopes)
    return _ops.reshape(places, (-1, rows, columns, slopes.shape[2]))


def _by_own_weights(feature_map: Any, slopes: Any) -> Any:
    """[B, h, w, D] and, for each number in it, [B, h * w * D, C] → [B, h, w, C]."""
    _, rows, columns, depth = feature_map.shape
    weights = _ops.reshape(slopes, (-1, rows * columns, depth, slopes.shape[2]))
    values = _ops.reshape(feature_map, (-1, rows * columns, depth, 1))
    places = _ops.sum(values * weights, axis=2) * (rows * columns)
    return _ops.reshape(places, (-1, rows, columns, slopes.shape[2]))


def _coarsened(grid: Any, rows: int, columns: int) -> Any:
    """Means of whole cells, so that the mean over all places stays what it is. Raises NotSeparable."""
    _, fine_rows, fine_columns, _ = grid.shape
    if (fine_rows, fine_columns) == (rows, columns):
        return grid
    if fine_rows % rows or fine_columns % columns:
        raise NotSeparable(f"{fine_rows} x {fine_columns} places over {rows} x {columns}")
    return _layers.AveragePooling2D((fine_rows // rows, fine_columns // columns))(grid)
