"""What a model said to each slice that it had not seen: kept with the version, so that a later one can be compared.

Slices are named by the SHA-256 of their file; no file name is kept, for it may hold a patient's.
"""

from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError, model_validator

from trainer.data.balance import Labels
from trainer.data.cases import Groups

OUT_OF_FOLD_FILE = "out_of_fold.json"

_DIGITS = 6


class OutOfFold(BaseModel, frozen=True):
    """Calibrated out-of-fold probabilities, entry i of every field being one slice; copies of a file come once."""

    schema_version: Literal[1] = 1
    class_names: tuple[str, ...]
    sha256: tuple[str, ...] = Field(min_length=1)
    labels: tuple[int, ...]
    cases: tuple[int, ...]
    """Number of each slice's case, known or inferred as the manifest's split says."""
    probabilities: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        lengths = {len(column) for column in (self.sha256, self.labels, self.cases, self.probabilities)}
        widths = {len(row) for row in self.probabilities}
        if len(lengths) > 1 or widths != {len(self.class_names)}:
            raise ValueError(f"expected columns of one length and {len(self.class_names)} probabilities a slice")
        return self


def out_of_fold(
    class_names: tuple[str, ...],
    digests: tuple[str, ...],
    labels: Labels,
    groups: Groups,
    probabilities: NDArray[np.floating],
) -> OutOfFold:
    """The table of labels and groups int64 [n] and probabilities float [n, classes]; of copies of a file the first."""
    rows = np.sort(np.unique(digests, return_index=True)[1])
    return OutOfFold(
        class_names=class_names,
        sha256=tuple(digests[row] for row in rows),
        labels=tuple(labels[rows].tolist()),
        cases=tuple(groups[rows].tolist()),
        probabilities=tuple(map(tuple, np.round(probabilities[rows], _DIGITS).tolist())),
    )


def read_out_of_fold(version_dir: Path) -> OutOfFold | None:
    """What a version keeps whose files were verified; None where it keeps none, or one that cannot be understood."""
    try:
        return OutOfFold.model_validate_json((version_dir / OUT_OF_FOLD_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
