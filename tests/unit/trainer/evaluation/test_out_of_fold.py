"""Out-of-fold probabilities in a version: by digest, no file name, copies once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from trainer.evaluation.out_of_fold import OUT_OF_FOLD_FILE, OutOfFold, out_of_fold, read_out_of_fold

NAMES = ("A", "B")


@pytest.fixture
def kept() -> OutOfFold:
    """Four files, of which the last is a copy of the first."""
    probabilities = np.array([[0.9, 0.1], [0.123456789, 0.876543211], [0.5, 0.5], [0.9, 0.1]])
    return out_of_fold(NAMES, ("a", "b", "c", "a"), np.array([0, 1, 0, 0]), np.array([0, 1, 2, 0]), probabilities)


def test_a_copy_comes_once(kept: OutOfFold) -> None:
    """Columns are in the order of the slices, without those whose file came before."""
    assert kept.sha256 == ("a", "b", "c")
    assert kept.labels == (0, 1, 0)
    assert kept.cases == (0, 1, 2)
    assert kept.probabilities[1] == (0.123457, 0.876543)


def test_it_comes_back_from_its_file(kept: OutOfFold, tmp_path: Path) -> None:
    """What was written is read again; no file, or one of another layout, is None."""
    assert read_out_of_fold(tmp_path) is None
    (tmp_path / OUT_OF_FOLD_FILE).write_text(kept.model_dump_json())
    assert read_out_of_fold(tmp_path) == kept
    (tmp_path / OUT_OF_FOLD_FILE).write_text(json.dumps({**kept.model_dump(), "schema_version": 2}))
    assert read_out_of_fold(tmp_path) is None


@pytest.mark.parametrize("change", [{"labels": (0,)}, {"probabilities": ((1.0,),) * 3}])
def test_columns_must_fit(kept: OutOfFold, change: dict[str, Any]) -> None:
    """A column of another length, or rows of another width, are refused."""
    with pytest.raises(ValidationError, match="columns of one length and 2 probabilities"):
        OutOfFold(**{**kept.model_dump(), **change})
