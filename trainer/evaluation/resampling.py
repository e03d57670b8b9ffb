"""The bootstrap: how often each slice is in each draw.

Slices of one case are no independent witnesses, so whole cases are drawn (cluster bootstrap: Field & Welsh 2007,
10.1111/j.1467-9868.2007.00593.x), within each class as many as it has: no draw lacks a class.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trainer.data.balance import Labels

DRAWS = 2000

Weights = NDArray[np.float64]
"""float64 [draws, n]: how often each slice is in each draw."""

_NUMBERS_AT_ONCE = 2_000_000  # of the draws times slices: 16 MB for each array that is made of them


def draw_cases(labels: Labels, groups: NDArray[np.int64], draws: int = DRAWS, seed: int = 0) -> Iterator[Weights]:
    """Weights of all draws, in blocks; equal arguments give equal draws. groups: int64 [n], the case of each slice.

    A case with slices of two classes is drawn for each of them by itself.
    """
    n = len(labels)
    _, case_of = np.unique(np.stack([labels, groups]), axis=1, return_inverse=True)  # ordered by class, then case
    case_of = case_of.reshape(n)
    class_of_case = np.zeros(case_of.max() + 1, np.int64)
    class_of_case[case_of] = labels
    sizes = [int(np.sum(class_of_case == label)) for label in np.unique(labels)]
    random = np.random.default_rng(seed)
    at_once = max(1, _NUMBERS_AT_ONCE // n)
    for start in range(0, draws, at_once):
        count = min(at_once, draws - start)
        drawn = [random.multinomial(size, np.full(size, 1 / size), count) for size in sizes]
        yield np.concatenate(drawn, axis=1)[:, case_of].astype(np.float64)
