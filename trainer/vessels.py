"""The vessels within the lungs: trees in three dimensions, so that a branch runs on through neighbouring slices."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.anatomy import LUNG_HEIGHT_MM, Chest
from trainer.canvas import Canvas, Mask

_HILUM_MM = (34.0, 2.0, 0.48 * LUNG_HEIGHT_MM)  # x to either side, y, z below the apex
_TRUNKS, _GENERATIONS = 11, 8  # to each side; each generation doubles the branches
_TRUNK_RADIUS_MM, _TRUNK_LENGTH_MM = 4.6, 17.0
_SHRINK, _SHORTEN, _SPREAD = 0.76, 0.90, 0.42
_SLICE_MM = 1.25  # thickness of a slice
_AIRWAY_GENERATIONS = 3  # wider ones, whose lumen can be seen beside the artery


@dataclass(frozen=True)
class VesselTrees:
    """Straight pieces of vessels, the widest first."""

    start_mm: NDArray[np.float64]  # [n, 3]: x, y, z below the apex
    end_mm: NDArray[np.float64]  # [n, 3]
    radius_mm: NDArray[np.float64]  # [n]
    is_airway: NDArray[np.bool_]  # [n]: has a bronchus beside it


def grow_vessels(case_seed: int, chest: Chest) -> VesselTrees:
    """The arteries and veins of both lungs."""
    random = np.random.default_rng([12, case_seed])
    side = np.repeat([-1.0, 1.0], _TRUNKS)
    n = len(side)
    start = np.stack([side * _HILUM_MM[0], np.full(n, _HILUM_MM[1]), np.full(n, _HILUM_MM[2])], axis=1)
    start += random.normal(0, (3, 6, 14), (n, 3))
    # trunks fan out sideways, evenly from the apex to the base
    turn = np.tile(np.linspace(-1.35, 1.35, _TRUNKS), 2) + random.normal(0, 0.1, n)
    forward = random.uniform(-0.9, 0.9, n)
    heading = _unit(np.stack([side * np.cos(turn), forward * np.cos(turn), 1.25 * np.sin(turn)], axis=1))
    radius = _TRUNK_RADIUS_MM * random.uniform(0.7, 1.15, n)
    pieces = []
    for generation in range(_GENERATIONS):
        length = _TRUNK_LENGTH_MM * chest.size * _SHORTEN**generation * random.uniform(0.7, 1.3, len(radius))
        # two pieces with a bend between them, so that no branch is a ruler's line
        bend = _unit(heading + random.normal(0, 0.18, heading.shape))
        middle = start + heading * (length / 2)[:, None]
        end = middle + bend * (length / 2)[:, None]
        airway = np.full(len(radius), generation < _AIRWAY_GENERATIONS) & (random.random(len(radius)) < 0.6)  # noqa: PLR2004
        pieces += [(start, middle, radius, airway), (middle, end, 0.92 * radius, airway)]
        aside = random.normal(0, 1, bend.shape)
        aside = _unit(aside - bend * (aside * bend).sum(axis=1, keepdims=True)) * _SPREAD
        lean = random.uniform(0.5, 1.5, (len(radius), 1))
        heading = _unit(np.concatenate([bend + aside * lean, bend - aside * (2 - lean)]))
        uneven = random.uniform(0.85, 1.12, len(radius))
        radius = np.concatenate([radius * uneven, radius * (2 - uneven) * 0.92]) * _SHRINK
        start = np.concatenate([end, end])
    starts, ends, radii, airways = (np.concatenate(part) for part in zip(*pieces, strict=True))
    order = np.argsort(-radii, kind="stable")
    return VesselTrees(starts[order], ends[order], radii[order], airways[order])


def paint_vessels(canvas: Canvas, trees: VesselTrees, z_mm: float, lungs: Mask, blood_hu: float) -> None:
    """Paint what a slice at this depth below the apex cuts of the trees, within the lungs."""
    start, end, radius = trees.start_mm, trees.end_mm, trees.radius_mm
    reach = radius + _SLICE_MM / 2
    low, high = np.minimum(start[:, 2], end[:, 2]), np.maximum(start[:, 2], end[:, 2])
    cut = np.flatnonzero((low - reach < z_mm) & (high + reach > z_mm))
    start, end, radius, reach = start[cut], end[cut], radius[cut], reach[cut]
    # the part of each piece within the slice, as fractions of its length
    run = end[:, 2] - start[:, 2]
    run = np.where(np.abs(run) < 1e-6, 1e-6, run)  # noqa: PLR2004 - pieces that lie in the slice
    edges = np.sort(np.stack([z_mm - reach - start[:, 2], z_mm + reach - start[:, 2]], axis=1) / run[:, None], axis=1)
    first, last = np.clip(edges[:, :1], 0, 1), np.clip(edges[:, 1:], 0, 1)
    flat_start = canvas.to_pixels((start + (end - start) * first)[:, :2])
    flat_end = canvas.to_pixels((start + (end - start) * last)[:, :2])

    # brightness: a vessel thinner than a pixel or than the slice fills only a part of it
    width_px = 2 * radius * canvas.pixels_per_mm
    share = np.clip(np.minimum(width_px, 2.2 * radius / _SLICE_MM), 0.15, 1)
    vessels, lumens = np.zeros((2, canvas.side, canvas.side), np.uint8)
    _draw(vessels, flat_start[::-1], flat_end[::-1], width_px[::-1], (255 * share)[::-1])
    airway = trees.is_airway[cut]
    aside = np.array([2.0, -2.4]) * canvas.pixels_per_mm
    beside = [points[airway] + aside * radius[airway, None] for points in (flat_start, flat_end)]
    wide = width_px[airway]
    _draw(vessels, *beside, 1.5 * wide, np.full(len(wide), 190.0))
    _draw(lumens, *beside, 0.9 * wide, np.full(len(wide), 255.0))
    for layer, value in ((vessels, blood_hu), (lumens, -980.0)):
        share_map = layer.astype(np.float32) / 255 * lungs
        canvas.hounsfield += share_map * (value - canvas.hounsfield)


def _draw(
    layer: NDArray[np.uint8],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    width_px: NDArray[np.float64],
    brightness: NDArray[np.float64],
) -> None:
    first, last = np.rint(start * 16).astype(int).tolist(), np.rint(end * 16).astype(int).tolist()
    widths, values = np.maximum(1, np.rint(width_px)).astype(int).tolist(), brightness.tolist()
    for a, b, width, value in zip(first, last, widths, values, strict=True):
        cv2.line(layer, a, b, value, width, cv2.LINE_AA, 4)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float64)
