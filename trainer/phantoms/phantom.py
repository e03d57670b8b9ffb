"""CT-like phantoms of the chest: drawn slices for tests and for the demo model, no patient behind them.

Everything but the nodule is a function of the case seed alone, never of the class: the same seed drawn as two classes
differs in the nodule and nowhere else. What a classifier learns from phantoms is the nodule.
"""

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.classes import LUNG_CT_CLASSES
from trainer.phantoms.anatomy import LUNG_HEIGHT_MM, Chest, Level, chest_of
from trainer.phantoms.canvas import Canvas
from trainer.phantoms.nodule import Nodule, benign_nodule, malignant_nodule, nodule_shares, paint_nodule
from trainer.phantoms.scanner import Scanner, expose, noise_of, paint_table, scanner_of
from trainer.phantoms.tissue import lungs, paint_chest
from trainer.phantoms.vessels import VesselTrees, grow_vessels, paint_vessels
from trainer.progress import in_threads, with_progress
from trainer.terminal import counted

SLICES_PER_CASE = 16
"""A case is a stack of this many slices from head to feet; every one of them shows the nodule of its class."""

_SLICE_DISTANCE_MM = 1.5
_NORMAL, _BENIGN, _MALIGNANT = range(3)


@dataclass(frozen=True)
class _Case:
    """What the slices of a case share."""

    seed: int
    chest: Chest
    scanner: Scanner
    vessels: VesselTrees

    def canvas(self, side: int) -> Canvas:
        return Canvas(side, self.scanner.field_mm, self.scanner.centre_mm, self.scanner.tilt_deg)

    def level(self, slice_index: int) -> Level:
        from_middle_mm = (slice_index - (SLICES_PER_CASE - 1) / 2) * _SLICE_DISTANCE_MM
        return Level(self.chest, self.chest.middle_height + from_middle_mm / LUNG_HEIGHT_MM)


@lru_cache(maxsize=16)
def _case(seed: int) -> _Case:
    chest = chest_of(seed)
    return _Case(seed, chest, scanner_of(seed), grow_vessels(seed, chest))


@lru_cache(maxsize=16)
def _nodule(class_index: int, case_seed: int) -> Nodule | None:
    """The case's nodule, placed where every slice of the stack has lung around it; None for Normal."""
    if class_index == _NORMAL:
        return None
    case, random = _case(case_seed), np.random.default_rng([15, case_seed, class_index])
    canvas = case.canvas(128)
    always = np.logical_and.reduce(
        [lungs(canvas, case.level(i)) for i in (0, SLICES_PER_CASE // 2, SLICES_PER_CASE - 1)]
    )
    room_mm = cv2.distanceTransform(always.astype(np.uint8), cv2.DIST_L2, 5) / canvas.pixels_per_mm
    # from the pleura to the centre, so that little is cut off; less where the lung is too narrow for it
    wanted_mm = 16.0 if class_index == _BENIGN else 24.0
    rows, columns = np.nonzero(room_mm >= min(wanted_mm, 0.9 * float(room_mm.max())))
    pick = int(random.integers(len(rows)))
    x, y = canvas.to_mm(np.array([[columns[pick], rows[pick]]], np.float64))[0]
    return (benign_nodule if class_index == _BENIGN else malignant_nodule)(random, (float(x), float(y)))


def draw_phantom(class_index: int, case_seed: int, slice_index: int, side: int = 512) -> NDArray[np.uint8]:
    """One slice, uint8 [side, side], as exported in a lung window. class_index in the order of LUNG_CT_CLASSES.

    Equal arguments give equal pixels. Raises ValueError for an unknown class or a slice outside the stack.
    """
    _check(class_index, slice_index)
    case, nodule = _case(case_seed), _nodule(class_index, case_seed)
    canvas, level = case.canvas(side), case.level(slice_index)
    paint_table(canvas, case.scanner, case.level(0), case_seed)
    inside = paint_chest(canvas, level)
    paint_vessels(canvas, case.vessels, level.height * LUNG_HEIGHT_MM, inside, case.chest.blood_hu)
    noise_hu = noise_of(canvas, case.scanner, np.random.default_rng([16, case_seed, slice_index]))
    if nodule is not None:
        paint_nodule(canvas, nodule, nodule_shares(canvas, nodule, _along(slice_index), inside))
    return expose(canvas, case.scanner, noise_hu)


def nodule_mask(class_index: int, case_seed: int, slice_index: int, side: int = 512) -> NDArray[np.bool_]:
    """Where the nodule is in that slice, bool [side, side]; all False for Normal. Raises as draw_phantom does."""
    _check(class_index, slice_index)
    nodule = _nodule(class_index, case_seed)
    if nodule is None:
        return np.zeros((side, side), np.bool_)
    canvas, level = _case(case_seed).canvas(side), _case(case_seed).level(slice_index)
    return nodule_shares(canvas, nodule, _along(slice_index), lungs(canvas, level)) > 127  # noqa: PLR2004 - half a pixel


def _along(slice_index: int) -> float:
    return 2 * slice_index / (SLICES_PER_CASE - 1) - 1


def write_phantoms(folder: Path, *, cases_per_class: int, slices_per_case: int, seed: int) -> int:
    """Write <folder>/<class name>/case-003-slice-02.png and cases.csv (file, case); returns the number of slices.

    The slices of a case are spread evenly over its stack and numbered by their place in it; no two cases share a
    number. cases.csv lists files relative to the folder. Raises ValueError for more slices a case than a stack has.
    """
    if not 1 <= slices_per_case <= SLICES_PER_CASE or cases_per_class < 1:
        raise ValueError(
            f"expected at least 1 case and 1 to {SLICES_PER_CASE} slices each, "
            f"got {counted(cases_per_class, 'case')} and {counted(slices_per_case, 'slice')}"
        )
    stack = np.linspace(0, SLICES_PER_CASE - 1, slices_per_case).round().astype(int).tolist()
    wanted = [
        (class_index, case, slice_index)
        for class_index in range(len(LUNG_CT_CLASSES.names))
        for case in range(class_index * cases_per_class + 1, (class_index + 1) * cases_per_class + 1)
        for slice_index in stack
    ]
    for name in LUNG_CT_CLASSES.names:
        (folder / name).mkdir(parents=True, exist_ok=True)

    def write(place: tuple[int, int, int]) -> tuple[str, str]:
        class_index, case, slice_index = place
        file = f"{LUNG_CT_CLASSES.names[class_index]}/case-{case:03d}-slice-{slice_index:02d}.png"
        if not cv2.imwrite(str(folder / file), draw_phantom(class_index, seed * 1_000_003 + case, slice_index)):
            raise OSError(f"cannot write {file}")
        return file, f"case-{case:03d}"

    with (folder / "cases.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(("file", "case"))
        writer.writerows(with_progress(in_threads(write, wanted), len(wanted), "Drawing slices"))
    return len(wanted)


def _check(class_index: int, slice_index: int) -> None:
    if not 0 <= class_index < len(LUNG_CT_CLASSES.names):
        raise ValueError(f"expected a class index below {len(LUNG_CT_CLASSES.names)}, got {class_index}")
    if not 0 <= slice_index < SLICES_PER_CASE:
        raise ValueError(f"expected a slice index below {SLICES_PER_CASE}, got {slice_index}")
