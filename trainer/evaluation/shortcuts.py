"""What gives the class away without any look at the lungs: a network may learn it instead of disease."""

import numpy as np
from pydantic import BaseModel
from sklearn.ensemble import RandomForestClassifier

from trainer.data.cases import Cases
from trainer.data.image_measures import ImageMeasures
from trainer.data.splits import split_by_case
from trainer.evaluation.intervals import Interval
from trainer.evaluation.metrics import evaluate

CLUES: dict[str, tuple[str, ...]] = {
    "size of the image": ("image width", "image height"),
    "where the body lies in the frame": ("body left", "body top", "body width", "body height"),
    "grey values": ("mean grey", "darkest grey", "median grey", "brightest grey"),
    "noise": ("noise",),
}
_FOLDS = 5
_TREES = 60


class Shortcut(BaseModel, frozen=True):
    """How well a small forest tells the class of new cases from one kind of clue alone.

    balanced_accuracy is out of fold, no case on both sides; chance is 1 / classes. recall: of each class.
    """

    clue: str
    measures: tuple[str, ...]
    balanced_accuracy: float
    interval: Interval
    chance: float
    recall: dict[str, float | None]

    @property
    def is_telling(self) -> bool:
        """Whether the whole interval lies above chance."""
        return self.interval[0] > self.chance


def find_shortcuts(slices: ImageMeasures, cases: Cases, seed: int = 0) -> tuple[Shortcut, ...]:
    """One result for each clue; none where a class has fewer than two cases, which leaves nothing to test on."""
    folds = min(_FOLDS, *cases.counts(slices).values())
    if folds < 2:  # noqa: PLR2004 - one to test on, others to learn from
        return ()
    split = split_by_case(slices, cases, folds, seed)
    found = []
    for clue, measures in CLUES.items():
        values = slices.columns(*measures)
        probabilities = np.zeros((len(slices), len(slices.classes.names)))
        for fold in range(folds):
            training, held_out = split.split(fold).training, split.split(fold).validation
            forest = RandomForestClassifier(_TREES, min_samples_leaf=3, class_weight="balanced", random_state=seed)
            forest.fit(values[training], slices.labels[training])
            probabilities[held_out] = forest.predict_proba(values[held_out])
        metrics = evaluate(slices.labels, probabilities, slices.classes, seed, cases.groups)
        found.append(
            Shortcut(
                clue=clue,
                measures=measures,
                balanced_accuracy=metrics.balanced_accuracy,
                interval=metrics.intervals.balanced_accuracy,
                chance=1 / len(slices.classes.names),
                recall={name: of_class.recall for name, of_class in metrics.per_class.items()},
            )
        )
    return tuple(found)
