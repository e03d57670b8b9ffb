"""CT-like phantoms of the chest: drawn slices for tests and for the demo model, no patient behind them.

Everything but the nodule is a function of the case seed alone, never of the class, so that only the nodule tells the
class: the same seed drawn as two classes differs in the nodule and nowhere else.
"""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.classes import LUNG_CT_CLASSES

SLICES_PER_CASE = 16
"""A case is a stack of this many slices; every one of them shows the nodule of its class."""

_NORMAL, _BENIGN, _MALIGNANT = range(3)
_FIELD_MM = 512.0 * 0.72


def draw_phantom(class_index: int, case_seed: int, slice_index: int, side: int = 512) -> NDArray[np.uint8]:
    """One slice, uint8 [side, side], as exported in a lung window. class_index in the order of LUNG_CT_CLASSES.

    Equal arguments give equal pixels. Raises ValueError for an unknown class or a slice outside the stack.
    """
    _check(class_index, slice_index)
    chest = np.random.default_rng([1, case_seed])
    unit = side / 512
    centre = (side / 2 + unit * chest.uniform(-15, 15), side / 2 + unit * chest.uniform(-30, 0))
    half_width, half_height = unit * chest.uniform(190, 225), unit * chest.uniform(130, 160)
    grow = 1 + 0.01 * slice_index
    hounsfield = np.full((side, side), -1000, np.float32)
    _ellipse(hounsfield, centre, (half_width, half_height), -100)
    _ellipse(hounsfield, centre, (half_width * 0.92, half_height * 0.9), 50)
    for sign in (-1, 1):
        at = (centre[0] + sign * half_width * 0.42, centre[1])
        _ellipse(hounsfield, at, (half_width * 0.33 * grow, half_height * 0.68 * grow), -860)
    _ellipse(hounsfield, (centre[0], centre[1] + half_height * 0.62), (24 * unit, 20 * unit), 400)
    table = (round(centre[0]), round(centre[1] + half_height - 250 * unit))
    cv2.ellipse(hounsfield, table, (round(330 * unit), round(270 * unit)), 0, 50, 130, 300, max(1, round(4 * unit)))
    hounsfield[nodule_mask(class_index, case_seed, slice_index, side)] = 40
    hounsfield = cv2.GaussianBlur(hounsfield, (0, 0), max(0.4, unit * chest.uniform(0.7, 1.2)))
    noise = np.random.default_rng([2, case_seed, slice_index]).standard_normal((side, side), np.float32)
    hounsfield += chest.uniform(20, 60) * cv2.GaussianBlur(noise, (0, 0), 0.6)
    level, width = chest.normal(-500, 20), chest.normal(1550, 40)
    return np.clip((hounsfield - level) / width * 255 + 127.5, 0, 255).astype(np.uint8)


def nodule_mask(class_index: int, case_seed: int, slice_index: int, side: int = 512) -> NDArray[np.bool_]:
    """Where the nodule is, bool [side, side]; all False for Normal."""
    _check(class_index, slice_index)
    mask = np.zeros((side, side), np.float32)
    if class_index == _NORMAL:
        return mask.astype(np.bool_)
    chest = np.random.default_rng([1, case_seed])
    unit = side / 512
    centre = (side / 2 + unit * chest.uniform(-15, 15), side / 2 + unit * chest.uniform(-30, 0))
    half_width = unit * chest.uniform(190, 225)
    nodule = np.random.default_rng([3, case_seed, class_index])
    at = centre[0] + nodule.choice([-1, 1]) * half_width * 0.44, centre[1] + unit * nodule.uniform(-35, 35)
    radius = unit * (nodule.uniform(8, 12) if class_index == _BENIGN else nodule.uniform(22, 34))
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    spikes = nodule.uniform(0.6, 1.25, 60).repeat(3) if class_index == _MALIGNANT else np.ones(180)
    outline = np.stack([at[0] + radius * spikes * np.cos(angles), at[1] + radius * spikes * np.sin(angles)], axis=1)
    cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], 1, shift=4)
    return mask > 0


def write_phantoms(folder: Path, *, cases_per_class: int, slices_per_case: int, seed: int) -> int:
    """Write <folder>/<class name>/case-003-slice-02.png and cases.csv (file, case); returns the number of slices.

    cases.csv lists files relative to the folder. Raises ValueError for more slices a case than a stack has.
    """
    if not 1 <= slices_per_case <= SLICES_PER_CASE or cases_per_class < 1:
        raise ValueError(
            f"expected at least 1 case and 1 to {SLICES_PER_CASE} slices each, "
            f"got {cases_per_class} cases and {slices_per_case} slices"
        )
    rows = []
    for class_index, name in enumerate(LUNG_CT_CLASSES.names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(cases_per_class):
            case = class_index * cases_per_class + number + 1
            for slice_index in range(slices_per_case):
                file = f"{name}/case-{case:03d}-slice-{slice_index:02d}.png"
                rows.append((file, f"case-{case:03d}", class_index, seed * 1_000_003 + case, slice_index))

    def write(row: tuple[str, str, int, int, int]) -> None:
        file, _, class_index, case_seed, slice_index = row
        if not cv2.imwrite(str(folder / file), draw_phantom(class_index, case_seed, slice_index)):
            raise OSError(f"cannot write {file}")

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, rows))
    with (folder / "cases.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(("file", "case"))
        writer.writerows(row[:2] for row in rows)
    return len(rows)


def _check(class_index: int, slice_index: int) -> None:
    if not 0 <= class_index < len(LUNG_CT_CLASSES.names):
        raise ValueError(f"expected a class index below {len(LUNG_CT_CLASSES.names)}, got {class_index}")
    if not 0 <= slice_index < SLICES_PER_CASE:
        raise ValueError(f"expected a slice index below {SLICES_PER_CASE}, got {slice_index}")


def _ellipse(
    hounsfield: NDArray[np.float32], centre: tuple[float, float], axes: tuple[float, float], value: float
) -> None:
    at, half = (round(centre[0] * 16), round(centre[1] * 16)), (round(axes[0] * 16), round(axes[1] * 16))
    cv2.ellipse(hounsfield, at, half, 0, 0, 360, value, -1, cv2.LINE_8, 4)
