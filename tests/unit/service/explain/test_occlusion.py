"""Occlusion: what an answer loses with each part of a slice."""

import numpy as np

from service.explain.occlusion import GRID_SIDE, occlusion_grid
from service.explain.overlay import on_slice
from shared.box import Box
from shared.imaging import PreprocessingSpec, place


def bright_spot(images: np.ndarray) -> np.ndarray:
    """A model that sees one bright spot: the more white at rows and columns 40 to 56, the surer class 1."""
    seen = images[:, 40:56, 40:56].mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - 0.8 * seen, 0.8 * seen], axis=1).astype(np.float32)


def test_the_part_that_decides_is_found() -> None:
    """The cell over the spot loses most of class 1, and class 0 loses nothing there."""
    tensor = np.zeros((96, 96, 1), np.uint8)
    tensor[40:56, 40:56] = 255
    probabilities = bright_spot(tensor[np.newaxis])[0]
    grid = occlusion_grid(tensor, probabilities, 1, bright_spot)
    row, column = np.unravel_index(grid.argmax(), grid.shape)
    assert {row, column} <= {2, 3}
    assert occlusion_grid(tensor, probabilities, 0, bright_spot)[row, column] < 0


def test_what_blurring_leaves_alone_is_not_asked_about() -> None:
    """An even slice costs no inference, and batches stay small."""
    sizes = []

    def counted(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return bright_spot(images)

    even = np.full((96, 96, 1), 90, np.uint8)
    assert not occlusion_grid(even, np.array([0.5, 0.5], np.float32), 1, counted).any()
    assert sizes == []
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 1), np.uint8)
    occlusion_grid(noise, np.array([0.5, 0.5], np.float32), 1, counted)
    assert sum(sizes) == GRID_SIDE**2
    assert max(sizes) == 4


def test_a_cell_is_drawn_where_it_lies() -> None:
    """A grid over a box: its strongest cell is brightest at its centre on the slice, and nothing is beyond the box."""
    grid = np.zeros((4, 4), np.float32)
    grid[1, 2] = 1
    drawn = on_slice(grid, Box(left=20, top=40, width=80, height=40), (120, 140))
    assert np.unravel_index(drawn.argmax(), drawn.shape) in [(54, 69), (54, 70), (55, 69), (55, 70)]
    assert not drawn[:, :18].any()
    assert not drawn[95:].any()


def test_a_mark_is_where_the_box_says() -> None:
    """A bright mark on a slice of any crop lies in the tensor where its box puts it, within a pixel."""
    random = np.random.default_rng(3)
    for crop in ("none", "body", "body-mask"):
        slice_ = np.full((300, 400), 43, np.uint8)
        slice_[60:260, 50:350] = random.integers(110, 140, (200, 300))
        slice_[140:160, 200:220] = 255
        spec = PreprocessingSpec(height=192, width=224, crop=crop)
        tensor, box, _ = place(slice_, spec)
        rows, columns = np.nonzero(tensor[:, :, 0] > 230)
        x = box.left + (columns.mean() + 0.5) * box.width / 224
        y = box.top + (rows.mean() + 0.5) * box.height / 192
        assert abs(x - 210) < 2, crop
        assert abs(y - 150) < 2, crop
