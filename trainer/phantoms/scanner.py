"""The scanner of one case: field of view, table, blanket, reconstruction kernel, noise and export window.

It knows nothing of the class, so that no trace of the scanner can tell it.
"""

# ruff: noqa: PLR2004 - a table is made of numbers

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.phantoms.anatomy import AROUND, Level
from trainer.phantoms.canvas import Canvas

_TABLE_HU, _FOAM_HU, _CLOTH_HU = 500, -930, -780


@dataclass(frozen=True)
class Scanner:
    """How one case was taken: the same for all of its slices."""

    field_mm: float  # side of the exported square
    centre_mm: tuple[float, float]
    tilt_deg: float
    blur_mm: float  # sigma of the point spread
    sharpening: float  # overshoot at edges of a lung kernel, in relation to the edge
    noise_hu: float  # standard deviation in the body
    grain_mm: float  # sigma of the noise's correlation
    level_hu: float
    width_hu: float
    circle: float  # radius of what is reconstructed, in relation to the side; corners lie outside below 0.71
    table_gap_mm: float
    table_rise: float  # how much the table curves upwards, 1 / mm
    table_thickness_mm: float
    has_wedge: bool  # the rail under the table


def scanner_of(case_seed: int) -> Scanner:
    """The scanner that belongs to a case; equal seeds give equal scanners."""
    random = np.random.default_rng([13, case_seed])
    is_sharp, is_low_dose = random.random() < 0.5, random.random() < 0.04
    return Scanner(
        field_mm=random.uniform(360, 440),
        centre_mm=(random.normal(0, 6), random.uniform(-30, 10)),
        tilt_deg=random.normal(0, 2),
        blur_mm=random.uniform(0.45, 0.65) if is_sharp else random.uniform(0.6, 0.95),
        sharpening=random.uniform(0.2, 0.7) if is_sharp else 0.0,
        noise_hu=(3 if is_low_dose else 1) * (random.uniform(25, 75) if is_sharp else random.uniform(12, 35)),
        grain_mm=random.uniform(0.35, 0.5) if is_sharp else random.uniform(0.6, 0.9),
        level_hu=random.normal(-500, 15),
        width_hu=random.normal(1600, 40),
        circle=random.uniform(0.54, 0.66),
        table_gap_mm=random.uniform(9, 18),
        table_rise=random.uniform(0.0004, 0.0011),
        table_thickness_mm=random.uniform(26, 48),
        has_wedge=random.random() < 0.3,
    )


def paint_table(canvas: Canvas, scanner: Scanner, level: Level, case_seed: int) -> None:
    """Paint the table under the patient and the blanket around; before the body, which hides what it covers."""
    # below the lowest skin of any slice of the case, so that the table stays where it is
    top = 75 + 36 + 0.7 * level.chest.fat_mm + scanner.table_gap_mm
    x = np.linspace(-205, 205, 60)
    upper = np.stack([x, top - scanner.table_rise * x**2], axis=1)
    sag = scanner.table_thickness_mm * (1 - (np.abs(x) / 205) ** 2.5)
    lower = upper + np.stack([np.zeros_like(x), sag], axis=1)
    pad = np.stack([x, np.full_like(x, -scanner.table_gap_mm * 0.8)], axis=1) * [0, 1]
    inner = np.abs(x) < 190  # the mattress is narrower than the table
    canvas.fill(np.concatenate([upper[inner], (upper + pad)[inner][::-1]]), _FOAM_HU)
    canvas.fill(np.concatenate([upper, lower[::-1]]), _FOAM_HU - 30)
    for shell in (upper, lower):
        canvas.stroke(shell, 2.2, _TABLE_HU)
    if scanner.has_wedge:
        bottom = top + scanner.table_thickness_mm
        canvas.fill(
            np.array([(-70.0, bottom - 22), (70, bottom - 22), (26, bottom + 14), (-26, bottom + 14)]), _TABLE_HU
        )
        canvas.fill(np.array([(-16.0, bottom - 12), (16, bottom - 12), (16, bottom - 4), (-16, bottom - 4)]), -900)
    random = np.random.default_rng([14, case_seed])
    skin = level.body(AROUND)
    for _ in range(4):
        first = int(random.integers(0, len(AROUND)))
        fold = np.roll(skin, -first, axis=0)[: int(random.integers(12, 40))]
        away = 1 + np.abs(np.cumsum(random.normal(0, 0.012, len(fold)))) + 0.01
        canvas.stroke(fold * away[:, None], 0.7, _CLOTH_HU)


def noise_of(canvas: Canvas, scanner: Scanner, random: np.random.Generator) -> NDArray[np.float32]:
    """Noise in Hounsfield units, float32 [side, side], of the kernel's grain: most where most tissue absorbs.

    Taken before the nodule is painted, so that not even the noise's strength knows of it.
    """
    side, per_mm = canvas.side, canvas.pixels_per_mm
    grain = _blur(random.standard_normal((side, side), np.float32), max(0.3, scanner.grain_mm * per_mm))
    grain -= _blur(grain, max(0.6, 3 * scanner.grain_mm * per_mm))  # no slow waves
    coarse = cv2.resize(canvas.hounsfield, (32, 32), interpolation=cv2.INTER_AREA)
    mass = cv2.GaussianBlur(np.clip((coarse + 1000) / 1000, 0, 1), (0, 0), 4)
    strength = cv2.resize((0.35 + 0.75 * mass) * (scanner.noise_hu / float(grain.std())), (side, side))
    return np.asarray(grain * strength, np.float32)


def expose(canvas: Canvas, scanner: Scanner, noise_hu: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Hounsfield units as drawn → grey values as exported, uint8 [side, side]."""
    per_mm, side = canvas.pixels_per_mm, canvas.side
    slice_hu = _blur(canvas.hounsfield, max(0.3, scanner.blur_mm * per_mm))
    if scanner.sharpening:
        slice_hu += np.float32(scanner.sharpening) * (slice_hu - _blur(slice_hu, max(0.5, 1.3 * per_mm)))
    slice_hu += noise_hu
    outside = np.full((side, side), 1, np.uint8)
    cv2.circle(outside, (side // 2, side // 2), round(scanner.circle * side), 0, -1)
    slice_hu[outside.astype(np.bool_)] = -1024
    np.maximum(slice_hu, -1024, out=slice_hu)  # where the scale of a scanner ends
    grey = (slice_hu - (scanner.level_hu - scanner.width_hu / 2)) * (255 / scanner.width_hu)
    return np.asarray(np.clip(np.rint(grey), 0, 255), np.uint8)


def _blur(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), np.float32)
