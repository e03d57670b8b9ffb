"""Which head suits a dataset, judged by cases that it has not seen: never by those it will be measured on.

The protocol of the question decides the answer. Where held-out slices are of new cases, a strongly shrunk discriminant
is best; where they are of cases that were seen in training (a split by image), the most alike slice knows the answer.
"""

import logging

import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold

from trainer.data.balance import Labels
from trainer.data.cases import Groups
from trainer.networks.heads import Features, FittedHeadName, fit_head

logger = logging.getLogger(__name__)

_CANDIDATES: tuple[FittedHeadName, ...] = ("lda", "neighbours")
_FOLDS = 5
_SEED = 99  # no seed of an outer split, which would lay the inner folds along the outer ones


def choose_head(
    features: Features, labels: Labels, groups: Groups, *, blocks: tuple[int, ...], classes: int
) -> FittedHeadName:
    """The candidate with the highest mean of accuracy and balanced accuracy out of fold, groups held together.

    Give every slice a group of its own where held-out slices may be of seen cases. With fewer cases than folds in a
    class there is nothing to judge by, and the first candidate is taken.
    """
    of_class = [len(np.unique(groups[labels == label])) for label in range(classes)]
    folds = min(_FOLDS, *of_class)
    if folds < 2:  # noqa: PLR2004 # a fold needs another one to learn from
        return _CANDIDATES[0]
    splits = list(StratifiedGroupKFold(folds, shuffle=True, random_state=_SEED).split(features, labels, groups))
    if any(len(np.unique(labels[training])) < classes for training, _ in splits):
        return _CANDIDATES[0]
    scores = {}
    for name in _CANDIDATES:
        logits = np.empty((len(labels), classes))
        for training, held_out in splits:
            head = fit_head(
                name, features[training], labels[training], groups[training], blocks=blocks, classes=classes
            )
            logits[held_out] = head.logits(features[held_out])
        predicted = logits.argmax(axis=1)
        scores[name] = (accuracy_score(labels, predicted) + balanced_accuracy_score(labels, predicted)) / 2
    logger.info("Heads on held-out cases: %s", ", ".join(f"{name} {score:.3f}" for name, score in scores.items()))
    return max(_CANDIDATES, key=lambda name: scores[name])
