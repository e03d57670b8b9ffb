"""A variant against the reference, both judged out of fold on the same slices: is it as good, and may it serve?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from trainer.data.balance import Labels
from trainer.data.cases import Groups
from trainer.evaluation.answers import Mask
from trainer.evaluation.comparison import Difference, paired_by_case, paired_shares
from trainer.evaluation.weighted_metrics import calibration_error

_MOST_LOST = 0.005  # of a share, in the mean
_MOST_ECE = 0.01
_LEAST_AGREEMENT = 0.99
_ROUNDING = 1e-9

_SHARES = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
}
_AGREEMENTS = {"chest_gate_agreement": "chest gate", "familiarity_agreement": "familiarity"}


@dataclass(frozen=True)
class HeldOutAnswers:
    """What was said to slices that were held out: calibrated probabilities [n, classes], and bool [n] each.

    is_called: at the operating point in force, by the threshold of the other folds. is_refused: by the model's own
    distances. is_familiar: as an answer would say.
    """

    probabilities: NDArray[np.float64]
    is_called: Mask
    is_refused: Mask
    is_familiar: Mask


class VariantComparison(BaseModel, frozen=True):
    """Figures of the variant minus those of the reference, paired by case, and how often both say the same.

    Sensitivity and specificity are those at the operating point in force, each with its own thresholds.
    """

    n: int
    n_cases: int
    balanced_accuracy: Difference
    accuracy: Difference
    sensitivity: Difference
    specificity: Difference
    ece: float
    chest_gate_agreement: float
    familiarity_agreement: float

    @property
    def objections(self) -> tuple[str, ...]:
        """Why the variant may not serve, a clause each; empty where it may."""
        found = []
        for field, name in _SHARES.items():
            difference: Difference = getattr(self, field)
            if difference.is_worse:
                lower, upper = difference.interval
                found.append(f"{name} is lower beyond chance ({difference.value:+.3f}, {lower:+.3f} to {upper:+.3f})")
            elif difference.value < -_MOST_LOST - _ROUNDING:
                found.append(f"{name} is lower by {-difference.value:.3f}, more than {_MOST_LOST}")
        if self.ece > _MOST_ECE + _ROUNDING:
            found.append(f"the calibration error is higher by {self.ece:.3f}, more than {_MOST_ECE}")
        for field, name in _AGREEMENTS.items():
            if (share := getattr(self, field)) < _LEAST_AGREEMENT:
                found.append(f"{name} agrees on {share:.1%} of the slices, less than {_LEAST_AGREEMENT:.0%}")
        return tuple(found)

    @property
    def reason(self) -> str:
        """In words, whether the variant may serve and why."""
        if self.objections:
            return f"It may not serve: {'; '.join(self.objections)}."
        return (
            "It may serve: no share is lower beyond chance or by more than "
            f"{_MOST_LOST}, its calibration error is higher by {_MOST_ECE} at most, and chest gate and familiarity "
            f"agree on {_LEAST_AGREEMENT:.0%} of the slices or more."
        )


def compare_variant(
    variant: HeldOutAnswers,
    reference: HeldOutAnswers,
    labels: Labels,
    groups: Groups,
    *,
    target: int,
    seed: int = 0,
) -> VariantComparison:
    """Compare answers to the same slices, entry by entry. labels, groups: int64 [n]; target: index of its class."""
    both = paired_by_case(labels, variant.probabilities, reference.probabilities, groups, seed)
    is_target, ones = labels == target, np.ones((1, len(labels)))
    gain = variant.is_called.astype(np.float64) - reference.is_called
    errors = [float(calibration_error(labels, one.probabilities, ones)[0]) for one in (variant, reference)]
    return VariantComparison(
        n=both.n,
        n_cases=both.n_cases,
        balanced_accuracy=both.balanced_accuracy,
        accuracy=both.accuracy,
        sensitivity=paired_shares(gain[is_target], groups[is_target], seed),
        specificity=paired_shares(-gain[~is_target], groups[~is_target], seed),
        ece=errors[0] - errors[1],
        chest_gate_agreement=float((variant.is_refused == reference.is_refused).mean()),
        familiarity_agreement=float((variant.is_familiar == reference.is_familiar).mean()),
    )
