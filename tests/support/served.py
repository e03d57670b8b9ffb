"""What a version answered to slices, made by hand for tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from shared.classes import LUNG_CT_CLASSES
from trainer.evaluation.answers import Answers


def served(labels: Sequence[int], groups: Sequence[int] | None = None, **changes: Any) -> Answers:
    """Answers that are all right, sure, familiar and in sets of one class; a change replaces a whole column.

    groups: by default each slice is a case. called: in place of probabilities, the top classes, each with 0.8.
    """
    n = len(labels)
    called = np.array(changes.pop("called", labels))
    probabilities = np.full((n, 3), 0.1)
    probabilities[np.arange(n), called] = 0.8
    columns = {
        "classes": LUNG_CT_CLASSES,
        "labels": np.array(labels, np.int64),
        "groups": np.arange(n) if groups is None else np.array(groups, np.int64),
        "kinds": ("png",) * n,
        "doubts": ((),) * n,
        "probabilities": probabilities,
        "is_familiar": np.ones(n, np.bool_),
        "verdicts": np.where(called == 2, "positive", "negative"),
        "in_set": probabilities > 0.5,
        **changes,
    }
    return Answers(**columns)
