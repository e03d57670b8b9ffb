"""Which head suits a dataset, judged by cases that it has not seen: never by those it will be measured on.

The protocol of the question decides the answer. Where held-out slices are of new cases, a strongly shrunk discriminant
is best; where they are of cases that were seen in training (a split by image), the most alike slice knows the answer:
only there neighbours are asked, for a few new cases can make them look better than they are.
"""

import logging
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold

from trainer.data.balance import Labels
from trainer.data.cases import Groups
from trainer.networks.heads import Features, FittedHeadName, fit_head

logger = logging.getLogger(__name__)

_OF_NEW_CASES: tuple[FittedHeadName, ...] = ("lda", "steady")
_OF_SEEN_CASES: tuple[FittedHeadName, ...] = ("lda", "steady", "neighbours")
_FOLDS = 5
_SEED = 99  # no seed of an outer split, which would lay the inner folds along the outer ones


def choose_head(
    features: Features,
    labels: Labels,
    groups: Groups,
    *,
    blocks: tuple[int, ...],
    classes: int,
    views: Sequence[Features] = (),
) -> FittedHeadName:
    """The candidate with the highest mean of accuracy and balanced accuracy out of fold, groups held together.

    views: of the slices, as other scanners might show them: what is right on them counts as much as what is right on
    the slices. Give every slice a group of its own where held-out slices may be of seen cases. With fewer cases than
    folds in a class there is nothing to judge by, and the first candidate is taken.
    """
    candidates = _OF_SEEN_CASES if len(np.unique(groups)) == len(groups) else _OF_NEW_CASES
    candidates = tuple(name for name in candidates if views or name != "steady")
    of_class = [len(np.unique(groups[labels == label])) for label in range(classes)]
    folds = min(_FOLDS, *of_class)
    if folds < 2:  # noqa: PLR2004 # a fold needs another one to learn from
        return candidates[0]
    splits = list(StratifiedGroupKFold(folds, shuffle=True, random_state=_SEED).split(features, labels, groups))
    if any(len(np.unique(labels[training])) < classes for training, _ in splits):
        return candidates[0]
    seen = (features, *views)
    scores = {}
    for name in candidates:
        logits = np.empty((len(seen), len(labels), classes))
        for training, held_out in splits:
            head = fit_head(
                name, features[training], labels[training], groups[training],
                blocks=blocks, classes=classes, views=[view[training] for view in views],
            )  # fmt: skip
            logits[:, held_out] = [head.logits(one[held_out]) for one in seen]
        predicted = logits.argmax(axis=2)
        scores[name] = float(
            np.mean([accuracy_score(labels, one) + balanced_accuracy_score(labels, one) for one in predicted]) / 2
        )
    logger.info("Heads on held-out cases: %s", ", ".join(f"{name} {score:.3f}" for name, score in scores.items()))
    return max(candidates, key=lambda name: scores[name])
