"""Figures of a version as it is served: of its verdicts, refusals, top classes, prediction sets and probabilities."""

from typing import get_args

import numpy as np
from pydantic import BaseModel

from shared.chest_ct import Check
from shared.decisions import Verdict
from trainer.evaluation.answers import Answers, Mask
from trainer.evaluation.case_figures import CaseFigures, Figure

_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_CHECKS: tuple[Check, ...] = get_args(Check)


class ServedFigures(BaseModel, frozen=True):
    """What a version as it is served says of a set of slices. None: nothing to count, or the version has no rules.

    Only refused and refused_by count every slice; a slice may fail several checks. All others are of the slices that
    are answered. An uncertain verdict counts as not negative: for the sensitivity and against the specificity.
    """

    n: int
    n_cases: int
    sensitivity: Figure | None
    """Share of the target's slices whose verdict is not negative."""
    specificity: Figure | None
    """Share of the other slices whose verdict is negative."""
    positive_of_target: Figure | None
    """Share of the target's slices whose verdict is positive."""
    positive_of_others: Figure | None
    """Share of the other slices whose verdict is positive."""
    uncertain: Figure | None
    unfamiliar: Figure | None
    """Share of slices that are unlike the training slices; None where the version does not ask."""
    refused: Figure | None
    refused_by: dict[Check, Figure]
    accuracy: Figure | None
    """Of the top class."""
    balanced_accuracy: Figure | None
    """Mean over the classes that have an answered slice."""
    auc: Figure | None
    """Of the target's probability; None where there are answered slices of the target, or of the others, alone."""
    ece: Figure | None
    """Calibration error of the top class, 10 bins of equal mass."""
    set_size: Figure | None
    """Mean number of classes in a prediction set."""
    recall: dict[str, Figure | None]
    """Of each class: share whose top class it is."""
    coverage: dict[str, Figure | None]
    """Of each class: share whose prediction set holds it."""
    set_sizes: dict[str, Figure | None]
    """Of each class: mean size of the set."""
    outcomes: dict[str, dict[str, int]]
    """Slices of each class by verdict, those without one as "answered", and as "refused"."""
    confusion: tuple[tuple[int, ...], ...]
    """confusion[i][j]: answered slices of class i whose top class is j."""


def served_figures(answers: Answers, *, asks_familiarity: bool = False, seed: int = 0) -> ServedFigures:
    """All figures of n >= 1 answers; equal calls give equal results. asks_familiarity: whether the version does."""
    names, answered = answers.classes.names, answers.only(answers.is_answered)
    every, of = (CaseFigures(one.labels, one.groups, seed) for one in (answers, answered))
    is_target, in_set = answered.is_target, answered.in_set
    of_class = {name: answered.labels == label for label, name in enumerate(names)}
    positive, negative, uncertain = (answered.has_verdict(one) for one in ("positive", "negative", "uncertain"))
    holds_label = None if in_set is None else in_set[np.arange(len(answered)), answered.labels]
    size = None if in_set is None else in_set.sum(axis=1)
    sizes = (1.0, float(len(names)))  # the most probable class is in every set
    refused_by = {check: every.mean(answers.failed(check)) for check in _CHECKS}
    return ServedFigures(
        n=len(answers),
        n_cases=len(np.unique(answers.groups)),
        sensitivity=of.mean(None if negative is None else ~negative, is_target),
        specificity=of.mean(negative, ~is_target),
        positive_of_target=of.mean(positive, is_target),
        positive_of_others=of.mean(positive, ~is_target),
        uncertain=of.mean(uncertain),
        unfamiliar=of.mean(~answered.is_familiar) if asks_familiarity else None,
        refused=every.mean(~answers.is_answered),
        refused_by={check: figure for check, figure in refused_by.items() if figure and figure.by_slice.value > 0},
        accuracy=of.mean(answered.is_right),
        balanced_accuracy=of.mean(answered.is_right, is_balanced=True),
        auc=of.auc(is_target, answered.probabilities[:, names.index(answers.classes.target)]),
        ece=of.ece(answered.probabilities),
        set_size=of.mean(size, bounds=sizes),
        recall={name: of.mean(answered.is_right, counted) for name, counted in of_class.items()},
        coverage={name: of.mean(holds_label, counted) for name, counted in of_class.items()},
        set_sizes={name: of.mean(size, counted, bounds=sizes) for name, counted in of_class.items()},
        outcomes=_outcomes(answers),
        confusion=tuple(
            tuple(np.bincount(answered.probabilities[counted].argmax(axis=1), minlength=len(names)).tolist())
            for counted in of_class.values()
        ),
    )


def _outcomes(answers: Answers) -> dict[str, dict[str, int]]:
    is_answered = answers.is_answered
    masks: dict[str, Mask] = {
        verdict: mask & is_answered for verdict in _VERDICTS if (mask := answers.has_verdict(verdict)) is not None
    } or {"answered": is_answered}
    masks["refused"] = ~is_answered
    return {
        name: {outcome: int(np.sum(mask & (answers.labels == label))) for outcome, mask in masks.items()}
        for label, name in enumerate(answers.classes.names)
    }
