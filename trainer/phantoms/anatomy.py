"""The chest of one case: the outlines of body, lungs and mediastinum in millimetres, at any height.

Axes: x to the patient's left (right in the image), y to the back, both 0 near the middle of the chest; the height runs
from 0 at the apex of the lungs to 1 at their base. Sizes follow an adult chest, roughly: nothing here is measured.
"""

# ruff: noqa: PLR2004 - anatomy is made of numbers

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.phantoms.canvas import Points

Angles = NDArray[np.float64]
"""float64 [n], radians: 0 is the patient's left side, pi / 2 the back."""

LUNG_HEIGHT_MM = 250.0
MOTTLE_MM = 15.0
BACK_OF_LUNGS_MM = 75.0  # y of the hindmost lung; the spine keeps its place, the front of the chest moves with height

AROUND = np.linspace(0, 2 * np.pi, 144, endpoint=False)

# half width and half depth of the space inside the ribs, half width of the body, by height
_HEIGHTS = (0.0, 0.06, 0.15, 0.30, 0.45, 0.60, 0.80, 1.0)
_CAVITY_X = (52.0, 68.0, 88.0, 109.0, 121.0, 127.0, 130.0, 131.0)
_CAVITY_Y = (26.0, 40.0, 56.0, 76.0, 89.0, 97.0, 101.0, 100.0)
_BODY_X = (204.0, 202.0, 196.0, 180.0, 164.0, 153.0, 148.0, 147.0)

# How far the mediastinum reaches to either side, mm: a row a height, a column a depth from the front to the back.
_MEDIASTINUM_HEIGHTS = (0.05, 0.15, 0.30, 0.42, 0.55, 0.75, 0.95)
_MEDIASTINUM_DEPTHS = (-1.1, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.1)
_MEDIASTINUM_RIGHT = np.array(
    [
        [48, 46, 40, 32, 26, 22, 22, 26, 36],
        [32, 32, 32, 28, 24, 20, 20, 25, 38],
        [6, 14, 26, 32, 28, 20, 20, 24, 38],
        [3, 8, 26, 38, 38, 30, 20, 24, 38],
        [5, 18, 36, 44, 42, 30, 20, 24, 38],
        [14, 30, 44, 50, 46, 32, 20, 24, 38],
        [20, 36, 46, 50, 44, 30, 20, 24, 38],
    ],
    np.float64,
)
_MEDIASTINUM_LEFT = np.array(
    [
        [48, 46, 40, 32, 26, 22, 22, 26, 36],
        [32, 34, 34, 30, 28, 26, 22, 25, 38],
        [6, 14, 26, 32, 36, 38, 32, 24, 38],
        [3, 12, 32, 38, 38, 36, 36, 32, 38],
        [10, 32, 52, 56, 48, 36, 36, 34, 38],
        [34, 66, 80, 80, 66, 44, 36, 34, 38],
        [44, 76, 88, 84, 64, 42, 36, 34, 38],
    ],
    np.float64,
)


@dataclass(frozen=True)
class Chest:
    """What one patient is like. Sizes are factors around 1, densities Hounsfield units."""

    middle_height: float  # of the stack of slices
    size: float
    roundness: float  # depth in relation to width
    heart: float
    anterior_mm: float  # fat behind the sternum that keeps the lungs apart
    shift_mm: float  # of the mediastinum, to the left
    fat_mm: float
    muscle: float
    bulge_mm: float  # of the front, to either side of the sternum
    blood_hu: float  # enhanced by contrast medium, or not
    marrow_hu: float
    lung_hu: float
    dependent_hu: float  # how much denser the hindmost lung is
    mottle_hu: NDArray[np.float32]  # [_, 32, 32]: slow differences of density, a layer every MOTTLE_MM from the apex
    rib_phase: float
    squareness: float  # exponent of the cavity's superellipse
    waves: tuple[float, ...]  # of the skin


def chest_of(case_seed: int) -> Chest:
    """The chest that belongs to a case; equal seeds give equal chests."""
    random = np.random.default_rng([11, case_seed])
    has_contrast = random.random() < 0.4
    return Chest(
        middle_height=random.uniform(0.17, 0.80),
        size=random.uniform(0.90, 1.06),
        roundness=random.uniform(0.93, 1.10),
        heart=random.uniform(0.85, 1.12),
        anterior_mm=random.uniform(0, 16),
        shift_mm=random.normal(0, 4),
        fat_mm=random.uniform(4, 22),
        muscle=random.uniform(0.7, 1.2),
        bulge_mm=random.uniform(2, 14),
        blood_hu=random.uniform(140, 260) if has_contrast else random.uniform(35, 55),
        marrow_hu=random.uniform(130, 260),
        lung_hu=random.uniform(-890, -830),
        dependent_hu=random.uniform(10, 110),
        mottle_hu=random.normal(0, 14, (round(LUNG_HEIGHT_MM / MOTTLE_MM) + 2, 32, 32)).astype(np.float32),
        rib_phase=random.uniform(0, 1),
        squareness=random.uniform(2.1, 2.45),
        waves=tuple(random.normal(0, 0.008, 4)),
    )


class Level:
    """The outlines of a chest at one height. Angles in radians: 0 is the patient's left side, pi / 2 the back."""

    def __init__(self, chest: Chest, height: float) -> None:
        self.chest, self.height = chest, height
        self.half_x = float(np.interp(height, _HEIGHTS, _CAVITY_X)) * chest.size
        self.half_y = float(np.interp(height, _HEIGHTS, _CAVITY_Y)) * chest.size * chest.roundness
        self.middle_y = BACK_OF_LUNGS_MM - self.half_y
        self.front_y = self.middle_y - self.half_y
        self.dome_mm = (height - 0.80) * 320  # radius of the liver's dome within the lung; none above it
        self.body_x = float(np.interp(height, _HEIGHTS, _BODY_X)) * chest.size + chest.fat_mm

    def cavity(self, angles: Angles, outwards_mm: float = 0.0) -> Points:
        """Points float64 [n, 2], mm, on the inner side of the ribs at angles [n], or so far outwards of it."""
        power = 2 / self.chest.squareness
        x = np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** power
        y = np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** power
        half_x, half_y = self.half_x + outwards_mm, self.half_y + outwards_mm
        return np.stack([half_x * x, self.middle_y + half_y * y], axis=1)

    def body(self, angles: Angles) -> Points:
        """Points float64 [n, 2], mm, on the skin at angles [n]."""
        chest, cos, sin = self.chest, np.cos(angles), np.sin(angles)
        ripple = 1 + sum(a * np.cos((k + 2) * (angles - np.pi / 2)) for k, a in enumerate(chest.waves))
        neck_mm = 24 * max(0.0, 0.3 - self.height) / 0.3  # collar bones and shoulders thicken the front
        front = self.front_y - 16 - 0.8 * chest.fat_mm - neck_mm
        back = BACK_OF_LUNGS_MM + 36 + 0.7 * chest.fat_mm
        middle = 0.42 * front + 0.58 * back
        x = self.body_x * np.sign(cos) * np.abs(cos) ** 0.8 * ripple
        half_y = np.where(sin < 0, middle - front, back - middle)
        y = middle + half_y * np.sign(sin) * np.abs(sin) ** np.where(sin < 0, 0.85, 0.75) * ripple
        groove = np.where(sin < 0, 5.0, -6.0) * np.exp(-((x / 20) ** 2))
        bulge = np.where(sin < 0, -chest.bulge_mm, 0.0) * np.exp(-(((np.abs(x) - 78) / 38) ** 2))
        return np.stack([x, y + groove + bulge], axis=1)

    def wall(self, angles: Angles, depth: float | NDArray[np.float64]) -> Points:
        """Points [n, 2] in the chest wall: depth 0 on the cavity, 1 on the skin; one for all, or [n, 1]."""
        return self.cavity(angles) * (1 - depth) + self.body(angles) * depth

    def sector(self, start: float, stop: float, inner: float, outer: float, side: int) -> Points:
        """A piece of the wall between two angles (in units of pi) and two depths; side 1 is the left, -1 the right."""
        angles = np.linspace(start, stop, 24) * np.pi
        angles = angles if side > 0 else np.pi - angles
        swell = np.sin(np.linspace(0, np.pi, 24)[:, None]) ** 0.6  # thin at both ends, as muscles are
        middle = (inner + outer) / 2
        near, far = (self.wall(angles, middle + (rim - middle) * swell) for rim in (inner, outer))
        return np.concatenate([near, far[::-1]])

    def mediastinum(self) -> Points:
        """Outline [n, 2] of what lies between the lungs, the spine included."""
        depths = np.linspace(_MEDIASTINUM_DEPTHS[0], _MEDIASTINUM_DEPTHS[-1], 60)
        y = self.middle_y + self.half_y * depths
        sides = []
        for sign, table in ((-1, _MEDIASTINUM_RIGHT), (1, _MEDIASTINUM_LEFT)):
            reach = [np.interp(self.height, _MEDIASTINUM_HEIGHTS, column) for column in table.T]
            dense = np.interp(depths, _MEDIASTINUM_DEPTHS, reach)
            dense = dense + self.chest.anterior_mm * np.clip(-depths - 0.3, 0, 0.5)
            dense = np.convolve(np.pad(dense, 4, mode="edge"), np.full(9, 1 / 9), mode="valid")
            heart = self.chest.heart if self.height > 0.3 else 1.0  # below the arch of the aorta
            dense = np.where(depths < 0.4, dense * (1 + (heart - 1) * min(1, (self.height - 0.3) * 6)), dense)
            sides.append(np.stack([sign * dense * self.chest.size + self.chest.shift_mm * (depths < 0.3), y], axis=1))
        return np.concatenate([sides[0], sides[1][::-1]])
