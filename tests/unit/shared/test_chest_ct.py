"""What a chest slice looks like, and what does not look like one."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.inputs.chest_gate_drawn import drawn_kinds
from benchmarks.inputs.chest_gate_pictures import packaged_photographs
from shared.chest_ct import ANY_FIELD, NARROW, ChestGate, ImageLimits, look_at
from shared.imaging import PreprocessingSpec, to_tensor
from shared.raster.colour import is_coloured
from shared.raster.decode import GreySlice, decode_grey, read_header
from tests.support.acquisitions import MEDIASTINUM, in_window
from tests.support.inputs.slices import grey_slice, jpeg_slice, png_slice
from trainer.phantoms.phantom import draw_phantom

SPECS = {
    "body": PreprocessingSpec(),
    "none": PreprocessingSpec(crop="none"),
    "anchored": PreprocessingSpec(crop="body-mask", intensity="anchored"),
}


def _doubts(grey: GreySlice, spec: PreprocessingSpec) -> tuple[str, ...]:
    return ImageLimits().doubts(look_at(to_tensor(grey, spec)))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_slices_pass(spec: PreprocessingSpec) -> None:
    """Phantoms of every class and drawn slices pass, however a model wants them prepared."""
    slices = [draw_phantom(kind, seed, 3) for kind in range(3) for seed in range(4)]
    slices += [grey_slice(seed) for seed in range(6)]
    assert [_doubts(one, spec) for one in slices] == [()] * len(slices)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_other_pictures_do_not(spec: PreprocessingSpec) -> None:
    """Of uniform pictures, patterns, noise, text and photographs, at least 95 of 100 are doubted."""
    drawn = drawn_kinds()
    names = ("uniform", "gradient", "stripes and checkers", "white noise", "clouds", "page of text", "form", "shapes")
    pictures = [drawn[name](seed) for name in names for seed in range(5)] + list(packaged_photographs(20))
    grey = [one if one.ndim == 2 else np.asarray(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), np.uint8) for one in pictures]
    assert np.mean([bool(_doubts(one, spec)) for one in grey]) >= 0.95


def test_each_check_says_what_it_misses() -> None:
    """No contrast, no air around, an upright body, no lungs: each has its own word."""
    spec, grey = SPECS["none"], grey_slice(3)
    assert _doubts(np.full((256, 256), 90, np.uint8), spec) == ("contrast",)
    assert "body" in _doubts(np.rot90(grey).copy(), spec)
    solid = np.where(grey > 0, np.maximum(grey, 140), 0).astype(np.uint8)
    solid = np.asarray(cv2.morphologyEx(solid, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), np.uint8)
    assert _doubts(solid, spec) == ("lungs",)
    assert "body" in _doubts(255 - grey, spec)


def test_a_narrow_window_may_have_limits_of_its_own() -> None:
    """Where it has none, the same hold for all windows; where looks decide nothing, there are none."""
    gate = ChestGate(image_limits=ANY_FIELD, narrow_limits=NARROW)
    assert (gate.limits_in(is_narrow=False), gate.limits_in(is_narrow=True)) == (ANY_FIELD, NARROW)
    assert ChestGate(image_limits=ANY_FIELD).limits_in(is_narrow=True) == ANY_FIELD
    assert ChestGate(image_limits=None).limits_in(is_narrow=True) is None


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_phantoms_in_a_mediastinal_window_pass_its_limits(seed: int) -> None:
    """Rendered narrow and found whole, they look like a chest."""
    grey = in_window(draw_phantom(0, seed, 3), seed, MEDIASTINUM)
    assert NARROW.doubts(look_at(to_tensor(grey, SPECS["anchored"]))) == ()


def test_colour_is_seen_and_empty_colour_channels_are_not() -> None:
    """A picture in colour has colour; a grey one has none, also as a JPEG or PNG with three channels."""
    grey = grey_slice(1)
    coloured = cv2.applyColorMap(grey, cv2.COLORMAP_JET)
    for extension in (".jpg", ".png"):
        body = cv2.imencode(extension, coloured)[1].tobytes()
        assert is_coloured(body, read_header(body))
        body = cv2.imencode(extension, cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))[1].tobytes()
        assert not is_coloured(body, read_header(body))
    assert not any(is_coloured(body, read_header(body)) for body in (jpeg_slice(), png_slice()))


@pytest.mark.real_data
def test_real_slices_pass(real_slices: Path) -> None:
    """Of real chest slices, hardly any is doubted."""
    files = sorted(real_slices.rglob("*.jpg"))[::7]
    doubted = [bool(_doubts(decode_grey(file.read_bytes()), SPECS["body"])) for file in files]
    assert np.mean(doubted) <= 0.01


def test_what_is_far_or_no_number_is_too_far() -> None:
    """By the limit of the version, if it has one."""
    gate = ChestGate(max_distance=2.0)
    assert [gate.is_too_far(far) for far in (1.0, 2.0, 2.5, math.nan)] == [False, False, True, True]
    assert not ChestGate().is_too_far(math.inf)
