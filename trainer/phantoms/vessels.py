"""The vessels within the lungs: trees in three dimensions, so that a branch runs on through neighbouring slices."""

# ruff: noqa: PLR2004 - anatomy is made of numbers

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.phantoms.anatomy import BACK_OF_LUNGS_MM, LUNG_HEIGHT_MM, Chest, Level
from trainer.phantoms.canvas import Canvas, Mask

_HILUM_MM = np.array([36.0, 4.0, 0.47 * LUNG_HEIGHT_MM])  # x to either side, y, z below the apex
_TWIGS, _BATCH = 1300, 40  # to each side; how many find their branch at once
_TWIG_RADIUS_MM = 0.36
_MURRAY = 2.8  # radius ** 2.8 is conserved where a vessel divides (Murray 1926, 10.1073/pnas.12.3.207, has 3)
_DETOUR = 0.45  # what a way to the hilum costs against new length (Cuntz et al. 2010, 10.1371/journal.pcbi.1000877)
_SLICE_MM = 1.25  # thickness of a slice
_AIRWAY_RADIUS_MM = (1.2, 2.0)  # vessels of this size have a bronchus beside them that can be seen


@dataclass(frozen=True)
class VesselTrees:
    """Straight pieces of vessels, the thinnest first."""

    start_mm: NDArray[np.float64]  # [n, 3]: x, y, z below the apex
    end_mm: NDArray[np.float64]  # [n, 3]
    radius_mm: NDArray[np.float64]  # [n]


def grow_vessels(case_seed: int, chest: Chest) -> VesselTrees:
    """A tree for each lung, from the hilum to twigs spread evenly through it."""
    random = np.random.default_rng([12, case_seed])
    sides = [_grow_tree(random, chest, side) for side in (-1.0, 1.0)]
    start, end, radius = (np.concatenate(part) for part in zip(*sides, strict=True))
    order = np.argsort(radius, kind="stable")
    return VesselTrees(start[order], end[order], radius[order])


def _grow_tree(
    random: np.random.Generator, chest: Chest, side: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Start and end [n, 3] and radius [n] of the pieces, mm.

    Each twig, the nearest to the hilum first, joins the node that costs least: the new length plus a share of the way
    from there to the hilum.
    """
    hilum = _HILUM_MM * [side * chest.size, 1, 1]
    nodes = np.concatenate([hilum[None], _twigs(random, chest, side, hilum)])
    count, squares = len(nodes), (nodes**2).sum(axis=1)
    parents, way = np.zeros(count, np.int64), np.zeros(count)
    for first in range(1, count, _BATCH):
        batch = nodes[first : first + _BATCH]
        # |a - b|² = |a|² + |b|² - 2ab: a matrix product is four times faster here than the differences
        square = squares[first : first + _BATCH, None] + squares[:first] - 2 * batch @ nodes[:first].T
        apart = np.sqrt(np.maximum(square, 0))
        parent = np.argmin(apart + _DETOUR * way[:first], axis=1)
        parents[first : first + _BATCH] = parent
        way[first : first + _BATCH] = way[parent] + apart[np.arange(len(batch)), parent]
    beyond, parent_of = [1] * count, parents.tolist()  # twigs that each node feeds, itself included
    for node in range(count - 1, 0, -1):
        beyond[parent_of[node]] += beyond[node]
    radius = _TWIG_RADIUS_MM * np.array(beyond[1:], np.float64) ** (1 / _MURRAY)
    start, end = nodes[parents[1:]], nodes[1:]
    # a bend in the middle, so that no branch is a ruler's line
    length = np.linalg.norm(end - start, axis=1, keepdims=True)
    middle = (start + end) / 2 + random.normal(0, 0.07, end.shape) * length
    return np.concatenate([start, middle]), np.concatenate([middle, end]), np.concatenate([radius, 0.94 * radius])


def _twigs(random: np.random.Generator, chest: Chest, side: float, hilum: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points [n, 3] spread through one lung, the nearest to the hilum first."""
    height = random.uniform(0.02, 1.0, 4 * _TWIGS)
    x, y = random.uniform(0, 1, len(height)), random.uniform(-1, 1, len(height))
    heights = np.linspace(0, 1, 26)
    levels = [Level(chest, float(h)) for h in heights]
    half_x = np.interp(height, heights, [level.half_x for level in levels])
    half_y = np.interp(height, heights, [level.half_y for level in levels])
    points = np.stack([side * x * half_x, BACK_OF_LUNGS_MM - half_y + y * half_y, height * LUNG_HEIGHT_MM], axis=1)
    # more of them where the lung is wide, none at the pleura or in the mediastinum
    is_inside = (x**2 + y**2 < 0.94**2) & (x * half_x > 22) & (random.random(len(height)) < half_x * half_y / 13000)
    points = points[is_inside][:_TWIGS]
    return points[np.argsort(np.linalg.norm(points - hilum, axis=1), kind="stable")]


def paint_vessels(canvas: Canvas, trees: VesselTrees, z_mm: float, lungs: Mask, blood_hu: float) -> None:
    """Paint what a slice at this depth below the apex cuts of the trees, within the lungs."""
    start, end, radius = trees.start_mm, trees.end_mm, trees.radius_mm
    reach = 0.8 * radius + _SLICE_MM / 2
    low, high = np.minimum(start[:, 2], end[:, 2]), np.maximum(start[:, 2], end[:, 2])
    cut = np.flatnonzero((low - reach < z_mm) & (high + reach > z_mm))
    start, end, radius, reach = start[cut], end[cut], radius[cut], reach[cut]
    # the part of each piece within the slice, as fractions of its length
    run = end[:, 2] - start[:, 2]
    run = np.where(np.abs(run) < 1e-6, 1e-6, run)  # pieces that lie in the slice
    edges = np.sort(np.stack([z_mm - reach - start[:, 2], z_mm + reach - start[:, 2]], axis=1) / run[:, None], axis=1)
    first, last = np.clip(edges[:, :1], 0, 1), np.clip(edges[:, 1:], 0, 1)
    flat = [canvas.to_pixels((start + (end - start) * at)[:, :2]) for at in (first, last)]

    # a vessel thinner than a pixel or than the slice fills only a part of it
    width_px = 2 * radius * canvas.pixels_per_mm
    share = np.clip(np.minimum(width_px, 2.2 * radius / _SLICE_MM), 0.15, 1)
    vessels, lumens = np.zeros((2, canvas.side, canvas.side), np.uint8)
    airway = (radius > _AIRWAY_RADIUS_MM[0]) & (radius < _AIRWAY_RADIUS_MM[1])
    beside = np.array([1.9, -2.2]) * canvas.pixels_per_mm * radius[airway, None]
    _draw(vessels, flat[0][airway] + beside, flat[1][airway] + beside, 1.9 * width_px[airway], 130 * share[airway])
    _draw(lumens, flat[0][airway] + beside, flat[1][airway] + beside, 1.2 * width_px[airway], 255 * share[airway])
    _draw(vessels, flat[0], flat[1], width_px, 255 * share)
    for layer, value in ((vessels, blood_hu), (lumens, -980.0)):
        shares = layer.astype(np.float32) * np.float32(1 / 255) * lungs
        canvas.hounsfield += shares * (np.float32(value) - canvas.hounsfield)


def _draw(
    layer: NDArray[np.uint8],
    start_px: NDArray[np.float64],
    end_px: NDArray[np.float64],
    width_px: NDArray[np.float64],
    brightness: NDArray[np.float64],
) -> None:
    first, last = np.rint(start_px * 16).astype(int).tolist(), np.rint(end_px * 16).astype(int).tolist()
    widths, values = np.maximum(1, np.rint(width_px)).astype(int).tolist(), brightness.tolist()
    for a, b, width, value in zip(first, last, widths, values, strict=True):
        cv2.line(layer, a, b, value, width, cv2.LINE_AA, 4)
