"""What gives the class away without any look at the lungs: a network may learn it instead of disease."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel
from sklearn.ensemble import RandomForestClassifier

from trainer.data.cases import Cases
from trainer.data.dataset import Slices
from trainer.data.image_measures import columns
from trainer.data.splits import split_by_case
from trainer.evaluation.intervals import Interval
from trainer.evaluation.metrics import evaluate

CLUES: dict[str, tuple[str, ...]] = {
    "size of the image": ("image width", "image height"),
    "where the body lies in the frame": ("body left", "body top", "body width", "body height"),
    "grey values": ("mean grey", "darkest grey", "median grey", "brightest grey"),
    "noise": ("noise",),
    "noise of soft tissue": ("soft tissue noise",),
}
_FOLDS = 5
_TREES = 60
_CLEARLY = 0.1  # above chance, with the whole interval
_NEARLY = 0.05  # below what the model reaches


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


def find_shortcuts(slices: Slices, cases: Cases, seed: int = 0) -> tuple[Shortcut, ...]:
    """One result for each clue of slices with measures; none where a class has fewer than two cases to test on."""
    folds = min(_FOLDS, *cases.counts(slices).values())
    if folds < 2:  # noqa: PLR2004 - one to test on, others to learn from
        return ()
    split = split_by_case(slices, cases, folds, seed)
    found = []
    for clue, measures in CLUES.items():
        values = columns(slices.measures, *measures)
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


def shortcut_warnings(shortcuts: Sequence[Shortcut], balanced_accuracy: float) -> tuple[str, ...]:
    """A sentence on the clue that tells most, where it tells clearly or nearly as much as the model, which has this
    balanced accuracy; else none.
    """
    telling = [
        one
        for one in shortcuts
        if one.is_telling
        and (one.interval[0] > one.chance + _CLEARLY or one.balanced_accuracy > balanced_accuracy - _NEARLY)
    ]
    if not telling:
        return ()
    most = max(telling, key=lambda one: one.balanced_accuracy)
    reached = f"{most.balanced_accuracy:.2f} (chance {most.chance:.2f}, this model {balanced_accuracy:.2f})"
    told = f"By {most.clue} alone, the classes of new cases are told apart with a balanced accuracy of {reached}"
    return (f"{told}: the model may judge scanners, not disease.",)
