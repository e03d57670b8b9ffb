"""Labelled slices in memory, for tests of what judges them as a set."""

from collections.abc import Sequence

import numpy as np

from shared.classes import LUNG_CT_CLASSES
from trainer.data.dataset import Slices


def of_cases(sizes: dict[int, list[int]], jitter: float = 15.0, seed: int = 0) -> tuple[Slices, np.ndarray]:
    """Slices of cases whose frames have nothing in common, and the true case of each.

    sizes: for each label, the number of slices of each of its cases. Files are numbered in case order within a class.
    """
    random = np.random.default_rng(seed)
    labels, files, thumbnails = [], [], []
    truth: list[int] = []
    for label, of_class in sizes.items():
        number = 0
        for size in of_class:
            case, frame = len(set(truth)), random.integers(40, 216, (64, 64)).astype(float)
            for _ in range(size):
                number += 1
                labels.append(label)
                files.append(f"{LUNG_CT_CLASSES.names[label]}/slice ({number}).png")
                thumbnails.append(np.clip(frame + random.normal(0, jitter, frame.shape), 0, 255).astype(np.uint8))
                truth.append(case)
    digests = tuple(f"{row:064x}" for row in range(len(labels)))
    slices = Slices(
        labels=np.array(labels),
        digests=digests,
        files=tuple(files),
        thumbnails=np.stack(thumbnails),
        classes=LUNG_CT_CLASSES,
    )
    return slices, np.array(truth)


def answers(
    cases: Sequence[int] = (30, 25, 30), size: int = 6, seed: int = 0, gain: float = 2.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities, groups and folds of cases whose slices resemble each other.

    cases: how many each class has, each of `size` slices; gain: how far the label's logit is raised.
    """
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(sum(cases)), size)
    labels = np.repeat([0, 1, 2], cases)[groups]
    logits = random.normal(0, 1, (len(labels), 3)) + random.normal(0, 0.8, (sum(cases), 3))[groups]
    logits[np.arange(len(labels)), labels] += gain
    exponentials = np.exp(logits)
    return labels, exponentials / exponentials.sum(axis=1, keepdims=True), groups, groups % 5
