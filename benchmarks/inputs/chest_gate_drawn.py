"""Pictures that are no chest CT slice, drawn: each kind by a seed, and equal seeds draw equal pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.inputs.chest_gate_pictures import Picture

_WORDS = (  # noqa: SIM905
    "patient report findings no evidence of the a lesion date invoice total amount due please and with in is "
    "follow up normal impression signed page copy order price quantity address street city number name"
).split()
_FONTS = "/usr/share/fonts/truetype/dejavu"


def drawn_kinds() -> dict[str, Callable[[int], Picture]]:
    """What a seed draws, by kind."""
    return {
        "uniform": _uniform, "gradient": _gradient, "stripes and checkers": _stripes, "white noise": _noise,
        "clouds": _clouds, "speckle": _speckle, "page of text": _page, "form": _form, "terminal": _terminal,
        "dashboard": _dashboard, "shapes": _shapes, "rings and blobs": _rings, "plot": _plot,
    }  # fmt: skip


def _size(random: np.random.Generator) -> tuple[int, int]:
    return int(random.integers(200, 800)), int(random.integers(200, 800))


def _uniform(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    return np.full(_size(random), random.integers(0, 256), np.uint8)


def _gradient(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    height, width = _size(random)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    angle = random.uniform(0, 2 * np.pi)
    ramp = np.hypot(x - 0.5, y - 0.5) if seed % 2 else x * np.cos(angle) + y * np.sin(angle)
    return _stretched(ramp, float(random.integers(0, 100)), float(random.integers(150, 256)))


def _stretched(values: NDArray[Any], low: float, high: float) -> Picture:
    """The least value becomes low and the greatest high."""
    stretched = cv2.normalize(values, np.empty_like(values), low, high, cv2.NORM_MINMAX)
    return np.asarray(stretched).astype(np.uint8)


def _stripes(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    height, width = _size(random)
    y, x = np.mgrid[0:height, 0:width]
    period = random.integers(8, 120)
    on = (
        (x // period) % 2
        if seed % 3 == 0
        else (x // period + y // period) % 2
        if seed % 3 == 1
        else (x + y) // period % 2
    )
    return np.where(on, random.integers(128, 256), random.integers(0, 100)).astype(np.uint8)


def _noise(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    return np.clip(random.normal(random.uniform(60, 190), random.uniform(10, 90), _size(random)), 0, 255).astype(
        np.uint8
    )


def _clouds(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    height, width = _size(random)
    total = np.zeros((height, width), np.float32)
    for octave in range(2, 8):
        coarse = random.normal(0, 1, (2**octave, 2**octave)).astype(np.float32)
        fine = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
        total += fine / 2 ** (octave * random.uniform(0.6, 1.2))
    return _stretched(total, 0, 255)


def _speckle(seed: int) -> Picture:
    """Like ultrasound: a fan of multiplicative noise on black, with darker hollows."""
    random = np.random.default_rng(seed)
    height, width = _size(random)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    reach, angle = np.hypot(x - width / 2, y), np.abs(np.arctan2(x - width / 2, y + 1))
    fan = (reach > height * 0.08) & (reach < height * 0.95) & (angle < random.uniform(0.5, 0.8))
    echo = cv2.GaussianBlur(random.rayleigh(60, (height, width)).astype(np.float32), (0, 0), random.uniform(0.8, 2))
    for _ in range(int(random.integers(0, 5))):
        at = (int(random.uniform(0.3, 0.7) * width), int(random.uniform(0.3, 0.8) * height))
        hollow = np.zeros((height, width), np.float32)
        cv2.ellipse(
            hollow,
            at,
            (int(width * random.uniform(0.03, 0.15)), int(height * random.uniform(0.03, 0.15))),
            0,
            0,
            360,
            1,
            -1,
        )
        echo = echo * (1 - random.uniform(0.5, 0.9) * cv2.GaussianBlur(hollow, (0, 0), 3))
    seen: NDArray[Any] = np.clip(np.asarray(echo) * fan * (1.3 - reach / height), 0, 255)
    return seen.astype(np.uint8)


def _font(random: np.random.Generator, low: int, high: int) -> Any:
    size = int(random.integers(low, high))
    files = sorted(Path(_FONTS).glob("*.ttf"))
    return (
        ImageFont.truetype(str(files[random.integers(0, len(files))]), size) if files else ImageFont.load_default(size)
    )


def _text(random: np.random.Generator, words: int) -> str:
    return " ".join(_WORDS[i] for i in random.integers(0, len(_WORDS), words))


def _page(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    height, width = int(random.integers(500, 900)), int(random.integers(400, 700))
    page = Image.new("L", (width, height), int(random.integers(225, 256)))
    draw, font = ImageDraw.Draw(page), _font(random, 10, 22)
    for y in range(30, height - 40, int(font.size * 1.5)):
        if random.random() > 0.12:
            draw.text((30, y), _text(random, int(random.integers(3, 9))), int(random.integers(0, 70)), font)
    turned = page.rotate(random.uniform(-2, 2), fillcolor=240)
    return np.asarray(turned)


def _form(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    height, width = int(random.integers(500, 900)), int(random.integers(400, 900))
    form = Image.new("RGB", (width, height), (250, 250, 245))
    draw, font = ImageDraw.Draw(form), _font(random, 11, 18)
    draw.rectangle((0, 0, width, 60), fill=tuple(random.integers(0, 200, 3).tolist()))
    draw.text((20, 15), _text(random, 3).upper(), (255, 255, 255), _font(random, 20, 30))
    for y in range(90, height - 50, 45):
        draw.text((20, y), _text(random, 2), (30, 30, 30), font)
        draw.rectangle((width // 3, y - 6, width - 20, y + 26), outline=(120, 120, 120))
        if random.random() < 0.6:
            draw.text((width // 3 + 8, y), _text(random, 3), (0, 0, 120), font)
    pixels = np.asarray(form).astype(np.float32)
    light = 1 - random.uniform(0, 0.4) * np.linspace(0, 1, width)[None, :, None]  # as photographed under a lamp
    return np.clip(pixels * light + random.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)


def _terminal(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    height, width = _size(random)
    window = Image.new("RGB", (width, height), tuple(random.integers(0, 45, 3).tolist()))
    draw, font = ImageDraw.Draw(window), _font(random, 10, 18)
    for y in range(8, height, int(font.size * 1.3)):
        colour = tuple(random.integers(120, 256, 3).tolist())
        draw.text((8, y), "$ " * (random.random() < 0.3) + _text(random, int(random.integers(0, 9))), colour, font)
    return np.asarray(window)


def _dashboard(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    height, width = int(random.integers(400, 900)), int(random.integers(600, 1200))
    dark = random.random() < 0.5
    window = Image.new("RGB", (width, height), (28, 30, 36) if dark else (244, 245, 248))
    draw, font = ImageDraw.Draw(window), _font(random, 11, 18)
    ink = (230, 230, 230) if dark else (40, 40, 40)
    draw.rectangle((0, 0, int(width * 0.18), height), fill=(40, 44, 55) if dark else (255, 255, 255))
    for y in range(20, height - 20, 36):
        draw.text((14, y), _text(random, 1), ink, font)
    for _ in range(int(random.integers(3, 9))):
        x, y = int(random.uniform(0.2, 0.8) * width), int(random.uniform(0, 0.8) * height)
        box = (x, y, x + int(random.integers(80, 350)), y + int(random.integers(60, 250)))
        draw.rounded_rectangle(box, 10, fill=tuple(random.integers(60, 256, 3).tolist()), outline=(128, 128, 128))
        draw.text((x + 10, y + 10), _text(random, 2), ink, font)
    return np.asarray(window)


def _shapes(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    height, width = _size(random)
    picture = np.full((height, width), random.choice((0, 255, 128)), np.uint8)
    for _ in range(int(random.integers(2, 14))):
        at = (int(random.integers(0, width)), int(random.integers(0, height)))
        grey, kind = int(random.integers(0, 256)), random.integers(0, 3)
        size = (int(random.integers(10, width // 2)), int(random.integers(10, height // 2)))
        if kind == 0:
            cv2.ellipse(picture, at, size, int(random.integers(0, 180)), 0, 360, grey, -1)
        elif kind == 1:
            cv2.rectangle(picture, at, (at[0] + size[0], at[1] + size[1]), grey, -1)
        else:
            cv2.line(
                picture,
                at,
                (int(random.integers(0, width)), int(random.integers(0, height))),
                grey,
                int(random.integers(1, 12)),
            )
    return picture


def _rings(seed: int) -> Picture:
    """Bright blobs on black with holes in them: drawings that come close to a chest."""
    random = np.random.default_rng(seed)
    height, width = _size(random)
    picture = np.zeros((height, width), np.uint8)
    centre = (width // 2 + int(random.integers(-30, 30)), height // 2 + int(random.integers(-30, 30)))
    axes = (int(width * random.uniform(0.2, 0.48)), int(height * random.uniform(0.2, 0.48)))
    cv2.ellipse(picture, centre, axes, int(random.integers(0, 180)), 0, 360, int(random.integers(120, 256)), -1)
    for _ in range(int(random.integers(0, 6))):
        at = (
            centre[0] + int(axes[0] * random.uniform(-0.6, 0.6)),
            centre[1] + int(axes[1] * random.uniform(-0.6, 0.6)),
        )
        hole = (int(axes[0] * random.uniform(0.08, 0.4)), int(axes[1] * random.uniform(0.08, 0.4)))
        cv2.ellipse(picture, at, hole, int(random.integers(0, 180)), 0, 360, int(random.integers(0, 100)), -1)
    grain = random.normal(0, random.uniform(0, 15), picture.shape)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), random.uniform(0.5, 3)) + grain, 0, 255).astype(np.uint8)


def _plot(seed: int) -> Picture:
    random = np.random.default_rng(seed)
    height, width = int(random.integers(300, 600)), int(random.integers(400, 800))
    picture = np.full((height, width, 3), 255, np.uint8)
    cv2.rectangle(picture, (50, 20), (width - 20, height - 40), (0, 0, 0), 1)
    for _ in range(int(random.integers(1, 6))):
        values = np.cumsum(random.normal(0, 1, 60))
        y = height - 60 - (values - values.min()) / (np.ptp(values) + 1e-9) * (height - 100)
        points = np.stack([np.linspace(55, width - 25, 60), y], axis=1).astype(np.int32)
        colour = random.integers(0, 220, 3).tolist()
        cv2.polylines(
            picture, [points], isClosed=False, color=colour, thickness=int(random.integers(1, 4)), lineType=cv2.LINE_AA
        )
    return picture
