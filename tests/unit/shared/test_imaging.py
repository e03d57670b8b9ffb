import hashlib
import itertools
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from shared.body import body_box
from shared.imaging import PreprocessingSpec, place, to_tensor
from shared.raster.decode import decode_grey
from shared.window import LUNG_WINDOW
from tests.support.inputs.image_files import jpeg, png
from trainer.phantoms.phantom import draw_phantom, nodule_mask

SPEC = PreprocessingSpec()
WHOLE = PreprocessingSpec(crop="none", pad="none")


def block_picture() -> np.ndarray:
    """uint8 [128, 128], black but for a body of 8 x 8 blocks at rows 32 to 95, columns 16 to 111; no two alike."""
    blocks = 100 + np.arange(8 * 12, dtype=np.uint8).reshape(8, 12)
    picture = np.zeros((128, 128), np.uint8)
    picture[32:96, 16:112] = np.kron(blocks, np.ones((8, 8), np.uint8))
    return picture


def scene(table_px: int = 8, air: int = 0) -> np.ndarray:
    """uint8 [512, 512]: a body with two lungs, ellipse of rows 110 to 370, columns 76 to 436, on a curved table."""
    picture = np.full((512, 512), air, np.uint8)
    cv2.ellipse(picture, (256, 240), (180, 130), 0, 0, 360, 170, -1)
    for side in (-80, 80):
        cv2.ellipse(picture, (256 + side, 235), (60, 90), 0, 0, 360, 40, -1)
    if table_px:
        cv2.ellipse(picture, (256, 300), (230, 90), 0, 20, 160, 150, table_px)
    return picture


def bordered(grey: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    return np.pad(grey, ((top, bottom), (left, right)))


# --- golden pixels ----------------------------------------------------------------------------------------------------


def test_golden_pixels_at_full_size() -> None:
    """A body as wide as the tensor is taken as it is, centred, with black above and below: worked out by hand."""
    tensor = to_tensor(block_picture(), PreprocessingSpec(height=96, width=96))
    expected = np.zeros((96, 96, 1), np.uint8)
    expected[16:80, :, 0] = block_picture()[32:96, 16:112]
    assert np.array_equal(tensor, expected)


def test_golden_pixels_by_area() -> None:
    """Reduced to a third, each pixel is the mean of the 3 x 3 that it covers, rounded: worked out by hand."""
    fine = np.random.default_rng(4).integers(100, 200, (96, 96), dtype=np.uint8)
    picture = np.zeros((128, 128), np.uint8)
    picture[16:112, 16:112] = fine
    tensor = to_tensor(picture, PreprocessingSpec(height=32, width=32))
    means = fine.reshape(32, 3, 32, 3).mean(axis=(1, 3))
    assert np.abs(tensor[:, :, 0] - means).max() <= 0.5 + 1e-9


def test_golden_pixels_of_a_phantom_like_scene() -> None:
    """A fixed drawing gives fixed pixels: a change in cropping or scaling is seen here before it reaches a model."""
    tensor = to_tensor(scene(), PreprocessingSpec(height=64, width=64))
    expected = [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 170, 170, 170, 170, 0, 0],
        [146, 40, 40, 170, 170, 40, 40, 24],
        [170, 40, 40, 108, 40, 40, 40, 170],
        [170, 40, 40, 167, 70, 40, 40, 170],
        [2, 82, 40, 170, 170, 40, 160, 0],
        [0, 0, 170, 170, 170, 162, 0, 11],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert np.abs(tensor[4::8, 4::8, 0] - np.array(expected)).max() <= 2


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (96, 192, slice(16, 80), slice(0, 192)),
        (192, 96, slice(32, 160), slice(0, 96)),
        (48, 48, slice(8, 40), slice(0, 48)),
    ],
)
def test_a_spec_need_not_be_square(height: int, width: int, rows: slice, columns: slice) -> None:
    """A square around the body fills height and width, as padding first and scaling then would do."""
    tensor = to_tensor(block_picture(), PreprocessingSpec(height=height, width=width))
    assert tensor.shape == (height, width, 1)
    filled = tensor[:, :, 0] > 0
    assert filled[rows, columns].all()
    assert filled.sum() == filled[rows, columns].sum()


# --- the tensor -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(32, 32), (33, 77), (512, 512), (512, 801), (1000, 300), (2048, 2048)])
@pytest.mark.parametrize("crop", ["body", "none"])
@pytest.mark.parametrize("pad", ["square", "none"])
def test_every_shape_becomes_the_specs(shape: tuple[int, ...], crop: str, pad: str) -> None:
    """uint8 [height, width, 1], contiguous, from whatever size and with every combination of steps."""
    grey = np.asarray(cv2.resize(scene(), shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    tensor = to_tensor(grey, PreprocessingSpec(height=96, width=64, crop=crop, pad=pad))
    assert (tensor.shape, tensor.dtype, tensor.flags.c_contiguous) == ((96, 64, 1), np.uint8, True)


@pytest.mark.parametrize("shape", [(32, 60_000), (60_000, 32), (256, 60_000)])
def test_a_long_strip_needs_no_square_of_its_length(shape: tuple[int, ...]) -> None:
    """A strip within the limit of pixels would pad to gigabytes; it becomes a line instead."""
    tensor = to_tensor(np.full(shape, 200, np.uint8), SPEC)
    lines = np.count_nonzero(tensor.any(axis=(1, 2))), np.count_nonzero(tensor.any(axis=(0, 2)))
    assert sorted(lines)[1] == 224
    assert 1 <= sorted(lines)[0] <= 4


def test_the_input_is_left_alone() -> None:
    """The caller's slice is neither changed nor aliased."""
    grey = np.random.default_rng(0).integers(0, 256, (224, 224), dtype=np.uint8)
    before = grey.copy()
    to_tensor(grey, WHOLE)[:] = 0
    assert np.array_equal(grey, before)


def test_scaling_keeps_the_range() -> None:
    """Black stays 0 and white 255: scaling to [0, 1] is the model's."""
    grey = np.zeros((512, 512), np.uint8)
    grey[:, 256:] = 255
    tensor = to_tensor(grey, WHOLE)
    assert (tensor.min(), tensor.max()) == (0, 255)


def digest(body: bytes) -> str:
    return hashlib.sha256(to_tensor(decode_grey(body), SPEC).tobytes()).hexdigest()


def test_every_thread_and_process_gives_the_same_tensor() -> None:
    """What trainer, service and each of their workers see of one file is equal to the bit."""
    bodies = [jpeg(draw_phantom(1, 4, 2, side=300)), png(scene()), jpeg(np.dstack([scene()] * 3), progressive=True)]
    expected = [digest(body) for body in bodies]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(digest, bodies * 20)) == expected * 20
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        assert list(processes.map(digest, bodies * 2)) == expected * 2


# --- the body ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("air", [0, 30, 60])
@pytest.mark.parametrize("table_px", [0, 4, 8, 12])
def test_the_box_holds_the_body_without_the_table(table_px: int, air: int) -> None:
    """Within two cells of the overview (4 pixels each here) the box is the body's, whatever it lies on and in."""
    assert np.abs(np.subtract(body_box(scene(table_px, air)), (110, 371, 76, 437))).max() <= 8


def test_the_box_of_a_phantom_holds_its_nodule() -> None:
    """Cropping takes air and table away, never what the class depends on."""
    for seed, class_index in itertools.product(range(12), (1, 2)):
        slice_index = seed % 16
        top, bottom, left, right = body_box(draw_phantom(class_index, seed, slice_index, side=256))
        rows, columns = np.nonzero(nodule_mask(class_index, seed, slice_index, side=256))
        assert top <= rows.min() <= rows.max() < bottom
        assert left <= columns.min() <= columns.max() < right
        assert (bottom - top) * (right - left) < 0.9 * 256 * 256


@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_a_uniform_slice_is_taken_whole(level: int) -> None:
    """No threshold divides one grey level, so nothing is a body."""
    assert body_box(np.full((100, 80), level, np.uint8)) == (0, 100, 0, 80)


@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (512, 512), (33, 2000), (700, 300)])
def test_noise_is_taken_whole(shape: tuple[int, ...]) -> None:
    """Specks that pass the threshold hang together nowhere."""
    for seed in range(5):
        noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        assert body_box(noise) == (0, shape[0], 0, shape[1])


def test_a_speck_is_no_body() -> None:
    """Less than a twentieth of the slice, as a corner of the table or a label, does not become the whole tensor."""
    grey = np.zeros((512, 512), np.uint8)
    grey[400:480, 400:480] = 255
    assert body_box(grey) == (0, 512, 0, 512)
    grey[200:480, 200:480] = 255
    assert body_box(grey) == (200, 480, 200, 480)


def test_the_largest_bright_area_is_the_body() -> None:
    """Labels, arms and the like come before it in reading order, or after, and do not count."""
    labelled = scene()
    labelled[10:40, 20:120] = 255
    labelled[470:500, 400:500] = 255
    assert body_box(labelled) == body_box(scene())


def test_a_thin_bridge_does_not_join_table_and_body() -> None:
    """Where skin touches the table along some pixels, the box still ends at the body."""
    touching = scene()
    touching[370:395, 254:259] = 160
    assert body_box(touching)[1] <= 380


def test_any_shape_has_a_box_within_it() -> None:
    """Over 300 seeded pictures of odd shapes, the box is never empty and never beyond the slice."""
    random = np.random.default_rng(6)
    for _ in range(300):
        height, width = (int(side) for side in random.integers(32, 700, 2))
        grey = np.zeros((height, width), np.uint8)
        for _ in range(random.integers(4)):
            centre = (int(random.integers(width)), int(random.integers(height)))
            axes = (int(random.integers(1, width)), int(random.integers(1, height)))
            cv2.ellipse(grey, centre, axes, 0, 0, 360, int(random.integers(256)), -1)
        top, bottom, left, right = body_box(grey)
        assert 0 <= top < bottom <= height
        assert 0 <= left < right <= width


BORDERS = [(0, 0, 56, 55), (0, 0, 145, 144), (100, 100, 100, 100), (0, 200, 37, 0), (64, 0, 0, 0)]


@pytest.mark.parametrize("border", BORDERS)
def test_a_border_says_nothing(border: tuple[int, int, int, int]) -> None:
    """Black around a slice, as exports of other sizes have it, leaves nearly the tensor; uncropped, it would not."""
    cropped, uncropped, others = [], [], []
    for seed in range(6):
        grey = draw_phantom(0, seed, seed)
        tensor = to_tensor(grey, SPEC).astype(int)
        cropped.append(np.abs(to_tensor(bordered(grey, *border), SPEC) - tensor).mean())
        uncropped.append(np.abs(to_tensor(bordered(grey, *border), WHOLE).astype(int) - to_tensor(grey, WHOLE)).mean())
        others.append(np.abs(to_tensor(draw_phantom(0, seed + 1, seed), SPEC) - tensor).mean())
    assert np.mean(cropped) < 10
    assert np.mean(cropped) < 0.5 * np.mean(uncropped)
    assert np.mean(cropped) < 0.5 * np.mean(others)


def test_a_place_says_nothing() -> None:
    """The same body elsewhere in the field gives nearly the same tensor, to a pixel or two."""
    body = scene(table_px=0)[100:380, 66:446]
    tensors = []
    for top, left in ((0, 0), (10, 70), (200, 100), (232, 132)):
        grey = np.zeros((512, 512), np.uint8)
        grey[top : top + 280, left : left + 380] = body
        tensors.append(to_tensor(grey, SPEC).astype(int))
    for one, other in itertools.combinations(tensors, 2):
        assert np.abs(one - other).mean() < 5


def test_proportions_stay() -> None:
    """A wide body stays wide: cropped to its box and padded, it is not stretched to the square."""
    tensor = to_tensor(scene(), SPEC)[:, :, 0] > 0
    rows, columns = np.flatnonzero(tensor.any(axis=1)), np.flatnonzero(tensor.any(axis=0))
    share = (rows[-1] - rows[0] + 1) / (columns[-1] - columns[0] + 1)
    assert share == pytest.approx(261 / 361, abs=0.03)


# --- the spec ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"schema_version": 4},
        {"schema_version": "1"},
        {"clahe": True},
        {"crop": "lungs"},
        {"pad": "reflect"},
        {"interpolation": "linear"},
        {"height": 31},
        {"width": 1025},
        {"height": None},
    ],
)
def test_an_unknown_spec_is_refused(fields: dict[str, Any]) -> None:
    """Another schema, an unknown field or value: slices prepared otherwise than in training would be misread."""
    with pytest.raises(ValidationError):
        PreprocessingSpec.model_validate(SPEC.model_dump() | fields)


def test_a_spec_survives_json_and_cannot_change() -> None:
    """The manifest carries each field, also those at their defaults, and a request's spec stays what it was."""
    spec = PreprocessingSpec(height=96, width=64, crop="none")
    assert PreprocessingSpec.model_validate_json(spec.model_dump_json()) == spec
    fields = {"schema_version", "height", "width", "crop", "pad", "interpolation", "intensity", "air_grey", "window"}
    assert set(spec.model_dump()) == fields
    with pytest.raises(ValidationError, match="frozen"):
        spec.height = 128  # type: ignore[misc]


def test_a_spec_from_before_dicom_means_what_it_meant() -> None:
    """Schema 1 has no window; DICOM is then seen in the lung window."""
    old = {"schema_version": 1, "height": 96, "width": 64, "crop": "body", "pad": "square", "interpolation": "area"}
    spec = PreprocessingSpec.model_validate(old)
    assert spec.window == LUNG_WINDOW
    assert np.array_equal(to_tensor(scene(), spec), to_tensor(scene(), PreprocessingSpec(height=96, width=64)))


@pytest.mark.parametrize("schema", [1, 2])
def test_a_spec_from_before_air_was_looked_for_means_43(schema: int) -> None:
    """Schemas 1 and 2 said one grey value of air, or nothing and meant 43; schema 3 looks for it in each slice."""
    old = {"schema_version": schema, "crop": "body-mask", "intensity": "anchored"}
    assert PreprocessingSpec.model_validate(old).air_grey == 43
    assert PreprocessingSpec.model_validate(old | {"air_grey": 20}).air_grey == 20
    assert (SPEC.schema_version, SPEC.air_grey) == (3, None)
    dark = np.where(scene(table_px=0) == 0, 10, scene(table_px=0)).astype(np.uint8)
    given, looked_for = (PreprocessingSpec.model_validate(old | {"air_grey": air}) for air in (43, 10))
    assert np.array_equal(to_tensor(dark, PreprocessingSpec.model_validate(old)), to_tensor(dark, given))
    found = to_tensor(dark, PreprocessingSpec.model_validate(old | {"schema_version": 3}))
    assert np.array_equal(found, to_tensor(dark, looked_for))
    assert not np.array_equal(found, to_tensor(dark, given))


def test_a_placed_slice_says_where_it_lies_and_what_was_found() -> None:
    """Tensor as to_tensor() makes it; the box of the padded square; the body only where it was looked for exactly."""
    for crop in ("body", "body-mask", "none"):
        spec = PreprocessingSpec(height=64, width=64, crop=crop)
        placed = place(scene(table_px=0), spec)
        assert np.array_equal(placed.tensor, to_tensor(scene(table_px=0), spec))
        assert (placed.body is not None) == (crop == "body-mask")
        sides = (512, 512) if crop == "none" else (361, 361)
        assert (placed.box.width, placed.box.height) == pytest.approx(sides, abs=8)
        centre = (placed.box.left + placed.box.width / 2, placed.box.top + placed.box.height / 2)
        assert centre == pytest.approx((256, 256) if crop == "none" else (256, 240), abs=6)


def test_where_a_file_knows_air_the_spec_does_not_guess_it() -> None:
    """Anchored grey of one body, exported with other air, is the same when each says where its air is."""
    spec = PreprocessingSpec(height=64, width=64, crop="body-mask", intensity="anchored", air_grey=43)
    grey = scene()
    assert not np.array_equal(to_tensor(grey, spec, 10), to_tensor(grey, spec))
    assert np.array_equal(to_tensor(grey, spec, 43), to_tensor(grey, spec))


# --- real slices ------------------------------------------------------------------------------------------------------


def box_of_file(file: Path) -> tuple[tuple[int, ...], Any]:
    grey = decode_grey(file.read_bytes())
    return grey.shape, body_box(grey)


@pytest.mark.real_data
def test_the_body_is_found_on_real_slices(real_slices: Path) -> None:
    """Every slice decodes; the box lies within, and on more than 95 % it is smaller than the slice but no fragment."""
    files = sorted(real_slices.glob("*/*.jpg"))
    assert len(files) > 100
    shares = []
    with ThreadPoolExecutor() as pool:
        for (height, width), (top, bottom, left, right) in pool.map(box_of_file, files):
            assert 0 <= top < bottom <= height
            assert 0 <= left < right <= width
            shares.append((bottom - top) * (right - left) / (height * width))
    assert np.mean([0.25 < share < 1 for share in shares]) > 0.95


@pytest.mark.real_data
def test_a_border_says_nothing_on_real_slices(real_slices: Path) -> None:
    """A slice bordered to 512 x 801, a size that some of the set's exports have, is nearly the same once cropped."""
    differences = []
    for file in sorted(real_slices.glob("*/*.jpg"))[::40]:
        grey = decode_grey(file.read_bytes())
        wide = to_tensor(bordered(grey, 0, 0, 145, 144), SPEC)
        differences.append(np.abs(wide - to_tensor(grey, SPEC).astype(int)).mean())
    assert np.mean(differences) < 10
