import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.body import body_box
from shared.classes import LUNG_CT_CLASSES
from shared.raster.decode import decode_grey
from trainer.phantoms.anatomy import AROUND, Level, chest_of
from trainer.phantoms.canvas import Canvas
from trainer.phantoms.phantom import SLICES_PER_CASE, draw_phantom, nodule_mask, write_phantoms
from trainer.phantoms.scanner import scanner_of

NORMAL, BENIGN, MALIGNANT = range(3)
SOFT_TISSUE = 180  # grey; lung is below 100 in any exported window


def correlation(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    small = [cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA).ravel() for grey in (one, other)]
    return float(np.corrcoef(*small)[0, 1])


def test_a_slice_is_grey_and_repeats() -> None:
    """Equal arguments draw equal pixels, uint8 of the side that was asked for."""
    slice_ = draw_phantom(MALIGNANT, 3, 5)
    assert slice_.shape == (512, 512)
    assert slice_.dtype == np.uint8
    draw_phantom(BENIGN, 4, 0)
    assert np.array_equal(slice_, draw_phantom(MALIGNANT, 3, 5))
    assert draw_phantom(NORMAL, 3, 5, side=128).shape == (128, 128)


@pytest.mark.parametrize(("class_index", "slice_index"), [(3, 0), (-1, 0), (0, SLICES_PER_CASE), (0, -1)])
def test_what_does_not_exist_is_refused(class_index: int, slice_index: int) -> None:
    """An unknown class and a slice outside the stack are errors, both for the slice and for its mask."""
    for ask in (draw_phantom, nodule_mask):
        with pytest.raises(ValueError, match="expected a"):
            ask(class_index, 1, slice_index)


def test_slices_of_a_case_resemble_each_other() -> None:
    """Neighbours of a case correlate above 0.95, its ends less, different cases below 0.9, as real ones do."""
    stacks = [
        [draw_phantom(seed % 3, seed, index, side=256) for index in (0, 1, SLICES_PER_CASE - 1)] for seed in range(8)
    ]
    neighbours = [correlation(stack[0], stack[1]) for stack in stacks]
    ends = [correlation(stack[0], stack[2]) for stack in stacks]
    strangers = [correlation(stacks[i][0], stacks[j][0]) for i in range(8) for j in range(i)]
    assert min(neighbours) > 0.95
    assert all(near > far for near, far in zip(neighbours, ends, strict=True))
    assert max(strangers) < 0.9
    assert np.mean(ends) > np.mean(strangers) + 0.1
    assert not np.array_equal(stacks[0][0], stacks[0][1])


@pytest.mark.parametrize("class_index", [BENIGN, MALIGNANT])
def test_only_the_nodule_knows_the_class(class_index: int) -> None:
    """A case drawn with a nodule and without one is the same to the last grey value outside the nodule's blur."""
    for seed, index in ((1, 0), (2, 7), (3, 15), (4, 4)):
        near = cv2.dilate(nodule_mask(class_index, seed, index).astype(np.uint8), np.ones((33, 33), np.uint8)) > 0
        with_nodule, without = draw_phantom(class_index, seed, index), draw_phantom(NORMAL, seed, index)
        assert np.array_equal(with_nodule[~near], without[~near])
        assert not np.array_equal(with_nodule[near], without[near])


def test_every_slice_of_a_labelled_case_shows_its_nodule() -> None:
    """The nodule is soft tissue where the same lung without it is mostly air, and never vanishes from the stack."""
    for class_index, seed in ((BENIGN, 5), (BENIGN, 6), (MALIGNANT, 7), (MALIGNANT, 8)):
        for index in range(0, SLICES_PER_CASE, 3):
            mask = nodule_mask(class_index, seed, index)
            assert mask.sum() >= 80
            assert np.median(draw_phantom(class_index, seed, index)[mask]) > SOFT_TISSUE
            assert np.mean(draw_phantom(NORMAL, seed, index)[mask] < SOFT_TISSUE) > 0.8
    assert not nodule_mask(NORMAL, 5, 3).any()


def roundness(mask: NDArray[np.bool_]) -> float:
    """4 pi area / perimeter ^ 2: 1 for a circle, less for anything else."""
    (outline, *_), _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return 4 * np.pi * float(mask.sum()) / cv2.arcLength(outline, closed=True) ** 2


def test_malignant_is_larger_and_less_round_than_benign() -> None:
    """The largest benign nodule is clearly smaller than the smallest malignant one, and every benign one is rounder."""
    benign = [nodule_mask(BENIGN, seed, 7) for seed in range(30)]
    malignant = [nodule_mask(MALIGNANT, seed, 7) for seed in range(30)]
    assert 1.5 * max(mask.sum() for mask in benign) < min(mask.sum() for mask in malignant)
    assert min(map(roundness, benign)) > max(map(roundness, malignant))


@pytest.mark.parametrize("seed", range(12))
def test_the_body_is_found(seed: int) -> None:
    """The preprocessing's body box is the box of the drawn skin: neither table nor blanket is taken for body."""
    index, scanner = seed % SLICES_PER_CASE, scanner_of(seed)
    chest = chest_of(seed)
    height = chest.middle_height + (index - (SLICES_PER_CASE - 1) / 2) * 1.5 / 250
    canvas = Canvas(512, scanner.field_mm, scanner.centre_mm, scanner.tilt_deg)
    skin = np.clip(canvas.to_pixels(Level(chest, height).body(AROUND)), 0, 512)
    (left, top), (right, bottom) = skin.min(axis=0), skin.max(axis=0)
    assert body_box(draw_phantom(seed % 3, seed, index)) == pytest.approx((top, bottom, left, right), abs=6)


def test_written_folders_are_a_data_set(tmp_path: Path) -> None:
    """Class folders that the aliases know, decodable slices, a case for each file and none shared by two classes."""
    count = write_phantoms(tmp_path, cases_per_class=2, slices_per_case=3, seed=5)
    assert count == 18
    folders = [folder.name for folder in tmp_path.iterdir() if folder.is_dir()]
    assert {LUNG_CT_CLASSES.index_of_folder(folder) for folder in folders} == {0, 1, 2}
    with (tmp_path / "cases.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert {row["file"] for row in rows} == {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")}
    assert len(rows) == 18
    assert len({row["case"] for row in rows}) == 6
    assert len({(row["case"], row["file"].split("/")[0]) for row in rows}) == 6
    slices = [decode_grey((tmp_path / row["file"]).read_bytes()) for row in rows]
    assert {slice_.shape for slice_ in slices} == {(512, 512)}
    assert len({slice_.tobytes() for slice_ in slices}) == 18


def test_a_seed_names_a_data_set(tmp_path: Path) -> None:
    """Equal seeds write equal files, another seed others."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_phantoms(tmp_path / name, cases_per_class=1, slices_per_case=1, seed=seed)
    bytes_of = {
        name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.png"))] for name in ("a", "b", "c")
    }
    assert bytes_of["a"] == bytes_of["b"]
    assert not set(bytes_of["a"]) & set(bytes_of["c"])


@pytest.mark.parametrize(("cases", "slices"), [(0, 1), (1, 0), (1, SLICES_PER_CASE + 1)])
def test_impossible_numbers_are_refused(tmp_path: Path, cases: int, slices: int) -> None:
    """No cases, no slices, or more slices than a stack has: an error, and nothing is written."""
    with pytest.raises(ValueError, match="expected at least 1 case"):
        write_phantoms(tmp_path / "new", cases_per_class=cases, slices_per_case=slices, seed=1)
    assert not (tmp_path / "new").exists()
