"""The nodule that makes a case Benign or Malignant, and nothing else does."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.phantoms.canvas import Canvas, Mask, Points

_OUTLINE_POINTS = 96
_HARMONICS = np.arange(2, 10)  # of the outline: waves around it
_BENIGN_RADIUS_MM, _MALIGNANT_RADIUS_MM = (6.5, 9.5), (17.0, 28.0)


@dataclass(frozen=True)
class Nodule:
    """One nodule: a body that is a wavy circle in each slice, and spicules that stand out from it.

    It runs through the whole stack, so that every slice of a labelled case shows it: a small one is longer than wide.
    """

    centre_mm: tuple[float, float]
    radius_mm: float
    density_hu: float
    waviness: NDArray[np.float64]  # [harmonics]: amplitudes in relation to the radius; none on a benign one
    phases: NDArray[np.float64]  # [harmonics]
    spicule_angles: NDArray[np.float64]  # [n]
    spicule_lengths_mm: NDArray[np.float64]  # [n]
    twist: NDArray[np.float64]  # [harmonics]: how the phases turn through the stack


def benign_nodule(random: np.random.Generator, centre_mm: tuple[float, float]) -> Nodule:
    """A small, round, smooth nodule at a place (x, y) in mm; the generator decides the rest."""
    none = np.zeros(len(_HARMONICS))
    return Nodule(
        centre_mm=centre_mm,
        radius_mm=random.uniform(*_BENIGN_RADIUS_MM),
        density_hu=random.choice([random.uniform(20, 80), random.uniform(150, 400)], p=[0.7, 0.3]),  # or calcified
        waviness=none,
        phases=none,
        spicule_angles=np.empty(0),
        spicule_lengths_mm=np.empty(0),
        twist=none,
    )


def malignant_nodule(random: np.random.Generator, centre_mm: tuple[float, float]) -> Nodule:
    """A large, lobulated, spiculated nodule at a place (x, y) in mm; the generator decides the rest."""
    radius = random.uniform(*_MALIGNANT_RADIUS_MM)
    spicules = int(random.integers(12, 24))
    return Nodule(
        centre_mm=centre_mm,
        radius_mm=radius,
        density_hu=random.uniform(10, 70),
        waviness=random.uniform(0.3, 1.0, len(_HARMONICS)) * 0.34 / _HARMONICS**0.8,
        phases=random.uniform(0, 2 * np.pi, len(_HARMONICS)),
        spicule_angles=random.uniform(0, 2 * np.pi, spicules),
        spicule_lengths_mm=radius * np.minimum(0.9, 0.1 + random.exponential(0.25, spicules)),
        twist=random.uniform(-0.9, 0.9, len(_HARMONICS)),
    )


def _radius_at(nodule: Nodule, angles: NDArray[np.float64], along: float) -> NDArray[np.float64]:
    """Mm from the centre, [n]. along: -1 at the top of the stack, 1 at its bottom; widest in between."""
    waves = np.cos(_HARMONICS * angles[:, None] + nodule.phases + along * nodule.twist) @ nodule.waviness
    return np.asarray(nodule.radius_mm * (1 - 0.22 * along**2) * (1 + waves), np.float64)


def _ray(nodule: Nodule, angles: NDArray[np.float64], distance: NDArray[np.float64]) -> Points:
    return np.stack([np.cos(angles) * distance, np.sin(angles) * distance], axis=1) + nodule.centre_mm


def nodule_shares(canvas: Canvas, nodule: Nodule, along: float, lungs: Mask) -> NDArray[np.uint8]:
    """How much of each pixel is nodule, 0 to 255, uint8 [side, side]; within the lungs only."""
    shares = np.zeros((canvas.side, canvas.side), np.uint8)
    angles = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False)
    canvas.fill_mask(shares, _ray(nodule, angles, _radius_at(nodule, angles, along)), 255)
    foot = _radius_at(nodule, nodule.spicule_angles, along)
    for angle, start, length in zip(nodule.spicule_angles, foot, nodule.spicule_lengths_mm, strict=True):
        # a thin triangle that begins inside the body and ends in a point
        lean, half_foot = 0.18 * along, 1.3
        base = _ray(nodule, np.array([angle]), np.array([0.8 * start]))[0]
        tip = _ray(nodule, np.array([angle + lean]), np.array([start + length * (1 - 0.3 * along**2)]))[0]
        across = np.array([-np.sin(angle), np.cos(angle)]) * half_foot
        canvas.fill_mask(shares, np.stack([base + across, tip, base - across]), 255)
    return np.asarray(cv2.bitwise_and(shares, shares, mask=lungs.astype(np.uint8)), np.uint8)


def paint_nodule(canvas: Canvas, nodule: Nodule, shares: NDArray[np.uint8]) -> None:
    """Paint the nodule over the lung, in Hounsfield units."""
    canvas.hounsfield += shares.astype(np.float32) / 255 * (nodule.density_hu - canvas.hounsfield)
