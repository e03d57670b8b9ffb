"""Similarity: which slices show the same thing."""

import numpy as np
import pytest

from trainer.data.similarity import neighbour_correlations, similar_pairs, thumbnail


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64), np.uint8)


def test_pairs_are_those_that_numpy_s_correlation_finds() -> None:
    """Every pair above the bound comes once, with Pearson's r, however the rows are cut into blocks."""
    random = np.random.default_rng(1)
    base = noise(3)
    noisy = base[random.integers(0, 3, 20)] * 0.8 + random.normal(0, 40, (20, 64, 64))
    slices = np.clip(noisy, 0, 255).astype(np.uint8)
    expected = np.corrcoef(slices.reshape(20, -1))
    wanted = [(i, j) for i in range(20) for j in range(i + 1, 20) if expected[i, j] > 0.5]
    for rows in (1024, 7):
        pairs = similar_pairs(slices, 0.5, rows_at_once=rows)
        assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == wanted
        np.testing.assert_allclose(pairs.correlation.tolist(), [expected[pair] for pair in wanted], atol=1e-5)
    assert 0 < len(wanted) < 190


def test_brightness_and_contrast_make_no_difference() -> None:
    """A slice exported with another window still resembles itself."""
    one = noise(1)[0] // 2
    other = (one * 0.5 + 80).astype(np.uint8)
    assert len(similar_pairs(np.stack([one, other]), 0.99)) == 1


def test_blank_slices_resemble_nothing() -> None:
    """No correlation is defined for them: no pair, no warning, no NaN."""
    slices = np.concatenate([np.zeros((2, 64, 64), np.uint8), noise(1)])
    assert len(similar_pairs(slices, 0.1)) == 0
    assert neighbour_correlations(slices, np.arange(3)).tolist() == [0, 0]


def test_neighbours_follow_the_order_that_is_given() -> None:
    """The result is of slice order[i] with slice order[i + 1]; one slice, or none, has no neighbour."""
    slices = noise(3)
    slices[2] = slices[0]
    np.testing.assert_allclose(neighbour_correlations(slices, np.array([0, 2, 1]))[0], 1, atol=1e-5)
    assert abs(neighbour_correlations(slices, np.array([0, 1, 2]))[0]) < 0.1
    assert neighbour_correlations(slices, np.array([1])).shape == (0,)
    assert len(similar_pairs(slices[:0], 0.5)) == 0


def test_work_is_bounded_and_what_is_left_out_is_said() -> None:
    """Of many slices each is compared with those that follow it closely; of many alike ones, the most alike count."""
    slices = np.concatenate([noise(5), noise(5)])
    whole = similar_pairs(slices, 0.5)
    assert (whole.first.tolist(), whole.left_out) == ([0, 1, 2, 3, 4], ())
    for rows in (1024, 3):
        near = similar_pairs(slices, 0.5, rows, max_comparisons=30)
        assert len(near) == 0
        assert near.left_out[0].startswith("Of 10 slices each was compared with the 3 that follow it")
        assert len(similar_pairs(slices[3:8], 0.5, rows, max_comparisons=10)) == 0
    random = np.random.default_rng(0)
    alike = np.clip(noise(1) * 0.8 + random.normal(0, 4, (300, 1, 1)) * noise(300, 1) / 255, 0, 255).astype(np.uint8)
    few = similar_pairs(alike, 0.9, 64, max_alike=10)
    assert np.bincount(few.first).max() == 10
    assert few.left_out == ("Of each of 289 slices with more than 10 alike ones, 10 were counted.",)
    all_of_them = similar_pairs(alike, 0.9, max_alike=300)
    of_first = all_of_them.correlation[all_of_them.first == 0]
    np.testing.assert_allclose(np.sort(few.correlation[few.first == 0]), np.sort(of_first)[-10:], atol=1e-5)


def test_comparing_shows_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever waits sees what for, and how far it is."""
    similar_pairs(noise(10), 0.5, rows_at_once=4)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Comparing slices: 10 to do"
    assert said[-1].startswith("Comparing slices: 10/10 done in ")


def test_thumbnails_are_64_by_64_whatever_the_frame() -> None:
    """Each side is shrunk by itself; a smaller frame is enlarged."""
    for shape in ((512, 512), (300, 700), (40, 48)):
        assert thumbnail(np.full(shape, 7, np.uint8)).shape == (64, 64)
