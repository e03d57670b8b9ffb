"""Slices as others export and acquire them, made of slices that a version was not trained on."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from service.explain.png import encode_png
from shared.raster.decode import GreySlice, decode_grey
from trainer.data import views

Rendering = Callable[[GreySlice, np.random.Generator], GreySlice]


def _window(level: float, width: float) -> Rendering:
    """By the slice's own air and soft tissue, in Hounsfield units."""
    return lambda grey, random: views.windowed(grey, level, width, random)


def _blur(sigma: float) -> Rendering:
    return lambda grey, _: views.blurred(grey, sigma)


def _noise(deviation: float) -> Rendering:
    return lambda grey, random: views.noisy(grey, deviation, random)


_CIRCLE = 1.05  # its radius, of half of the body's width: it touches the sides
_MEDIASTINUM = _window(40, 400)

RENDERINGS: dict[str, Rendering] = {
    "mediastinal window, 40/400": _MEDIASTINUM,
    "mediastinal window, 50/350": _window(50, 350),
    "lung window, -500/1200": _window(-500, 1200),
    "bone window, 400/1800": _window(400, 1800),
    "black around the body": lambda grey, _: views.around(grey, 0),
    "grey (64) around the body": lambda grey, _: views.around(grey, 64),
    "circular field": lambda grey, _: views.in_circle(grey, _CIRCLE, 0),
    "field cut to 0.85": lambda grey, _: views.cut(grey, 0.85),
    "field cut to 0.90": lambda grey, _: views.cut(grey, 0.90),
    "half the size": lambda grey, _: views.resized(grey, 0.5, 0.5),
    "noise, 8 grey values": _noise(8),
    "mediastinal window in a circular field": lambda grey, random: views.in_circle(
        _MEDIASTINUM(grey, random), _CIRCLE, 0
    ),
}
"""What is a chest slice still, and must not be refused."""

STRENGTHS: dict[str, Rendering] = {
    **{f"blur, {sigma:g} pixels": _blur(sigma) for sigma in (0.5, 1, 1.5, 2)},
    **{f"noise, {deviation} grey values": _noise(deviation) for deviation in (4, 8, 12, 16)},
}
"""From what is hardly seen to what nobody would miss."""

CHANGES: dict[str, Rendering] = {
    "inverted": lambda grey, _: 255 - grey,
    "upside down": lambda grey, _: grey[::-1],
    "mirrored": lambda grey, _: grey[:, ::-1],
    "turned by 90 degrees": lambda grey, _: np.rot90(grey),
    "left half": lambda grey, _: grey[:, : grey.shape[1] // 2],
    "upper half": lambda grey, _: grey[: grey.shape[0] // 2],
    "darker": lambda grey, _: np.asarray(grey * 0.7).astype(np.uint8),
}
"""What no scanner makes: some of it should be refused."""


def rendered(files: Sequence[Path], rendering: Rendering) -> Iterator[bytes]:
    """Each file's slice as a PNG; equal places in the list get equal noise."""
    for seed, file in enumerate(files):
        grey = rendering(decode_grey(file.read_bytes()), np.random.default_rng(seed))
        yield encode_png(np.ascontiguousarray(grey))
