"""What a chest is made of: paints skin, fat, muscles, bones and the organs between the lungs.

Painted from the outside in, later over earlier. Hounsfield units are textbook values for the tissue.
"""

# ruff: noqa: PLR2004 - anatomy is made of numbers

import cv2
import numpy as np

from trainer.phantoms.anatomy import AROUND, BACK_OF_LUNGS_MM, LUNG_HEIGHT_MM, MOTTLE_MM, Level
from trainer.phantoms.canvas import Canvas, Mask, Points, ellipse

_AIR, _FAT, _WATER, _MUSCLE, _CARTILAGE, _CORTEX = -1000, -100, 10, 50, 130, 700  # Hounsfield units
_SPINE_MM = BACK_OF_LUNGS_MM - 38.0  # y of the middle of a vertebral body
_VERTEBRA_MM, _RIB_MM = 25.0, 26.0  # from one to the next, along the height
_RIB_DROP_MM = 105.0  # a rib's front end lies this much below its head
_RIB_THICKNESS_MM = 13.0

_Tube = tuple[tuple[float, float, float, float], ...]
# Tubes between the lungs: (height, x mm, y mm, radius mm) where they pass; straight from one to the next.
_BLOOD_TUBES: tuple[_Tube, ...] = (
    ((0.00, -17, 2, 6), (0.20, -14, -8, 7), (0.27, -8, -14, 8)),  # brachiocephalic artery
    ((0.00, 14, 2, 4), (0.27, 8, -4, 5)),  # left carotid
    ((0.00, 28, 10, 5), (0.27, 18, 6, 6)),  # left subclavian
    ((0.00, -30, -2, 7), (0.22, -28, -14, 9), (0.56, -31, -18, 10)),  # superior vena cava
    ((0.02, 30, -4, 7), (0.20, 16, -24, 7), (0.27, -14, -26, 7)),  # left brachiocephalic vein
    ((0.30, -13, -24, 15), (0.45, -13, -28, 16), (0.58, -6, -24, 15)),  # ascending aorta
    ((0.30, 22, 14, 13), (0.40, 25, 26, 12), (1.00, 18, 24, 11)),  # descending aorta
    ((0.40, 18, -34, 13), (0.58, 10, -44, 15)),  # pulmonary trunk
)
_SOFT_TUBES: tuple[_Tube, ...] = (((0.0, 6, 14, 7), (0.45, 8, 16, 7), (1.0, 10, 8, 8)),)  # oesophagus
_AIR_TUBES: tuple[_Tube, ...] = (
    ((0.0, 1, -4, 8.5), (0.28, -3, 2, 9), (0.40, -2, 4, 10)),  # trachea
    ((0.40, -8, 4, 7.5), (0.46, -24, 5, 6.5), (0.54, -34, 4, 5)),  # right main bronchus
    ((0.40, 6, 5, 7), (0.48, 24, 7, 6), (0.55, 36, 9, 5)),  # left main bronchus
)


def paint_chest(canvas: Canvas, level: Level) -> Mask:
    """Paint everything but the vessels within the lungs; returns where the lungs are."""
    canvas.fill(level.body(AROUND), _WATER + 10)  # skin
    canvas.fill(level.body(AROUND) * _inwards(level, 2.0), _FAT)
    _paint_muscles(canvas, level)
    inside = lungs(canvas, level)
    canvas.fill(level.cavity(AROUND, 1.5), _MUSCLE - 20)
    _paint_mediastinum(canvas, level)
    _paint_spine(canvas, level)
    _paint_ribs(canvas, level)
    _paint_sternum(canvas, level)
    _paint_lungs(canvas, level, inside)
    return inside


def lungs(canvas: Canvas, level: Level) -> Mask:
    """Where the lungs are in the slice: bool [side, side]."""
    mask = np.zeros((canvas.side, canvas.side), np.uint8)
    canvas.fill_mask(mask, level.cavity(AROUND), 1)
    canvas.fill_mask(mask, level.mediastinum(), 0)
    if level.dome_mm > 0:
        middle = level.middle_y - 0.1 * level.half_y
        canvas.fill_mask(mask, ellipse(-0.5 * level.half_x, middle, level.dome_mm, 0.9 * level.dome_mm), 0)
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(4 * canvas.pixels_per_mm) + 1,) * 2)
    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, ball).astype(np.bool_)


def _inwards(level: Level, mm: float) -> Points:
    return np.array([1 - mm / level.body_x, 1 - mm / (level.half_y + 30)])


def _paint_lungs(canvas: Canvas, level: Level, inside: Mask) -> None:
    """Air and thin tissue; denser towards the back, where blood and weight gather in a patient lying down."""
    rows = (np.arange(canvas.side) + 0.5) / canvas.pixels_per_mm
    drop = np.clip((rows - rows[inside.any(axis=1)][:1].sum()) / 170, 0, 1) ** 2
    layer, share = divmod(level.height * LUNG_HEIGHT_MM / MOTTLE_MM, 1)
    mottle = (1 - share) * level.chest.mottle_hu[int(layer)] + share * level.chest.mottle_hu[int(layer) + 1]
    field = cv2.resize(mottle, inside.shape, interpolation=cv2.INTER_CUBIC)
    field += (level.chest.lung_hu + level.chest.dependent_hu * drop)[:, None].astype(np.float32)
    np.copyto(canvas.hounsfield, field, where=inside)


def _paint_muscles(canvas: Canvas, level: Level) -> None:
    chest, upper = level.chest, float(np.clip((0.62 - level.height) / 0.5, 0, 1))
    canvas.fill(level.cavity(AROUND, 9.0), _MUSCLE)  # between the ribs
    for side in (-1, 1):
        lateral = 0.45 + 0.25 * upper
        canvas.fill(level.sector(-0.30, 0.24, 0.10, min(0.9, lateral * chest.muscle), side), _MUSCLE)  # serratus
        canvas.fill(level.sector(-0.08, 0.36, 0.38, 0.40 + (0.22 + 0.3 * upper) * chest.muscle, side), _MUSCLE)
        canvas.fill(level.sector(0.30, 0.53, 0.45, 0.45 + 0.3 * chest.muscle, side), _MUSCLE)  # trapezius
        if upper > 0:
            canvas.fill(level.sector(-0.47, -0.16, 0.22, 0.22 + 0.55 * upper * chest.muscle, side), _MUSCLE)  # pectoral
            canvas.fill(level.sector(0.02, 0.42, 0.06, 0.18 + 0.66 * upper * chest.muscle, side), _MUSCLE)  # shoulder
            _paint_scapula(canvas, level, side, upper)
        canvas.fill(ellipse(side * 25, BACK_OF_LUNGS_MM + 13, 21 * chest.muscle, 14), _MUSCLE)  # beside the spine


def _paint_scapula(canvas: Canvas, level: Level, side: int, upper: float) -> None:
    angles = np.linspace(0.33 - 0.2 * upper, 0.36, 16) * np.pi
    blade = level.wall(angles if side > 0 else np.pi - angles, 0.40)
    thick = 3.5 + 3 * upper
    canvas.stroke(blade, thick, _CORTEX)
    canvas.stroke(blade[1:-1], thick - 4, level.chest.marrow_hu)
    if upper > 0.6:  # the glenoid and the spine of the scapula, only near the shoulder
        canvas.stroke(
            np.stack([blade[2], level.wall(angles[:1] if side > 0 else np.pi - angles[:1], 0.75)[0]]), 7, _CORTEX
        )


def _paint_mediastinum(canvas: Canvas, level: Level) -> None:
    outline = level.mediastinum()
    canvas.fill(outline, _FAT + 30)
    blood = level.chest.blood_hu
    if level.height > 0.5:  # the heart begins
        centre = outline[(outline[:, 1] < _SPINE_MM - 20)].mean(axis=0)
        front = outline[outline[:, 1] < _SPINE_MM - 17]
        grow = min(1.0, (level.height - 0.5) * 12)
        canvas.fill(centre + (front - centre) * 0.94 * grow, _MUSCLE)
        canvas.fill(centre + (front - centre) * 0.80 * grow, _MUSCLE + 0.6 * (blood - 45))
    for tube in _SOFT_TUBES:
        _paint_tube(canvas, level, tube, _MUSCLE - 15)
    for tube in _BLOOD_TUBES:
        _paint_tube(canvas, level, tube, blood)
    _paint_arches(canvas, level, blood)
    for tube in _AIR_TUBES:
        _paint_tube(canvas, level, tube, _MUSCLE, 1.5)
        _paint_tube(canvas, level, tube, _AIR)


def _paint_tube(canvas: Canvas, level: Level, tube: _Tube, value: float, wall_mm: float = 0.0) -> None:
    knots = np.array(tube)
    if not knots[0, 0] <= level.height <= knots[-1, 0]:
        return
    x, y, radius = (float(np.interp(level.height, knots[:, 0], knots[:, i])) for i in (1, 2, 3))
    # a tube that runs sideways is cut as an ellipse
    slope = np.hypot(*np.diff(knots[:, 1:3], axis=0).max(axis=0)) / (np.ptp(knots[:, 0]) * LUNG_HEIGHT_MM)
    half_x = (radius + wall_mm) * level.chest.size
    canvas.fill(ellipse(x, y, half_x * min(1.6, 1 + 0.4 * slope), half_x), value)


def _paint_arches(canvas: Canvas, level: Level, blood: float) -> None:
    """The aorta's arch and the right pulmonary artery lie in the slice for a few millimetres."""
    for height, half, path, width in (
        (0.285, 0.035, ((-12, -22), (4, -14), (16, 0), (22, 16)), 25),
        (0.47, 0.03, ((16, -32), (8, -14), (-12, -6), (-36, -4)), 19),
    ):
        inside = 1 - ((level.height - height) / half) ** 2
        if inside > 0:
            canvas.stroke(np.array(path, np.float64), width * level.chest.size * inside**0.5, blood)


def _paint_spine(canvas: Canvas, level: Level) -> None:
    marrow, size = level.chest.marrow_hu, level.chest.size
    turn = (level.height * LUNG_HEIGHT_MM / _VERTEBRA_MM + level.chest.rib_phase) % 1
    is_disc = turn < 0.2  # a fifth of the way from one vertebra to the next
    body = ellipse(0, _SPINE_MM, 17 * size, 14.5 * size)
    canvas.fill(body, _CARTILAGE - 30 if is_disc else _CORTEX)
    if not is_disc:
        canvas.fill(ellipse(0, _SPINE_MM, 15 * size, 12.5 * size), marrow)
    arch, canal = _SPINE_MM + 22, ellipse(0, _SPINE_MM + 22, 8.5, 8)
    canvas.fill(ellipse(0, arch, 13, 12), _CORTEX - 250)
    for side in (-1, 1):
        process = np.array([(side * 9, arch + 3), (side * 22, arch + 7), (side * 33, arch + 11 * turn)])
        canvas.stroke(process, 9 - 4 * turn, _CORTEX)
        canvas.stroke(process, 4 - 3 * turn, marrow)
    tip = arch + 30 + 6 * turn
    canvas.fill(np.array([(-5.0, arch + 9), (5, arch + 9), (2.5, tip), (-2.5, tip)]), _CORTEX - 200 * turn)
    canvas.fill(canal, 25)


def _paint_ribs(canvas: Canvas, level: Level) -> None:
    """Ribs slope from the spine down to the front, so that a slice cuts several, each at another angle."""
    z = level.height * LUNG_HEIGHT_MM
    # a slice at z meets rib k where its head's height plus the drop so far is z
    first = (level.chest.rib_phase - 2) * _RIB_MM
    for rib in range(14):
        progress = (z - first - rib * _RIB_MM + 20) / _RIB_DROP_MM  # 0 at the head, 1 at the front end
        half = _RIB_THICKNESS_MM / 2 / _RIB_DROP_MM
        start, stop = max(0.0, progress - half), min(1.0, progress + half)
        if stop - start < half / 2:
            continue
        for side in (-1, 1):
            angles = (0.42 - np.linspace(start, stop, 14) * 0.80) * np.pi
            rib_line = level.cavity(angles if side > 0 else np.pi - angles, 6.0)
            if progress > 0.84:  # the front end is cartilage
                canvas.stroke(rib_line, 7.5, _CARTILAGE)
                continue
            canvas.stroke(rib_line, 6.5, _CORTEX)
            canvas.stroke(rib_line[1:-1], 3.5, level.chest.marrow_hu)


def _paint_sternum(canvas: Canvas, level: Level) -> None:
    y, marrow = level.front_y - 9, level.chest.marrow_hu
    if 0.12 < level.height < 0.75:  # from the manubrium to the xiphoid
        half = 27 - 14 * min(1.0, max(0.0, (level.height - 0.16) / 0.2))
        plate = np.array([(-half, y), (half, y)])
        canvas.stroke(plate, 13, _CORTEX)
        canvas.stroke(plate, 9, marrow)
    if level.height < 0.2:  # collar bones
        for side in (-1, 1):
            bone = np.array([(side * 28, y - 2), (side * (40 + 300 * (0.2 - level.height)), y - 8)])
            canvas.stroke(bone, 13, _CORTEX)
            canvas.stroke(bone, 8, marrow)
