"""From probabilities to a decision: thresholds that the trainer froze in the manifest, executed alike on both sides.

`manifest.thresholds` holds DecisionRules as JSON. A manifest without rules makes no decision.
"""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Verdict = Literal["positive", "negative", "uncertain"]
Interval = tuple[float, float]
"""Lower and upper end of a 95 % confidence interval."""


class OperatingPoint(BaseModel):
    """A threshold on the target class's probability: positive at and above it.

    sensitivity and specificity are out of fold, each fold judged by the threshold that the other folds chose.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(ge=0, le=1)
    sensitivity: float = Field(ge=0, le=1)
    sensitivity_interval: Interval
    specificity: float = Field(ge=0, le=1)
    specificity_interval: Interval
    sensitivity_by_case: float | None = Field(default=None, ge=0, le=1)
    """The same with cases weighing alike, however many slices each has; None in older versions."""
    sensitivity_by_case_interval: Interval | None = None
    specificity_by_case: float | None = Field(default=None, ge=0, le=1)
    specificity_by_case_interval: Interval | None = None


class UncertainBand(BaseModel):
    """Probabilities of the target class that make no verdict: from rule_out (inclusive) to rule_in (exclusive)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule_out: float = Field(ge=0, le=1)
    rule_in: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.rule_out > self.rule_in:
            raise ValueError(f"rule_out {self.rule_out} must not lie above rule_in {self.rule_in}")
        return self


class PredictionSets(BaseModel):
    """Class-conditional conformal sets: a class belongs to the set where its probability reaches its own minimum."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    coverage: float = Field(gt=0, lt=1)
    """Share of each class's slices whose set is meant to hold the class."""
    min_probability: dict[str, float]
    measured_coverage: dict[str, float]
    """Share of each class's slices, out of fold, whose set held the class."""
    measured_size: float
    """Mean number of classes in a set, out of fold."""


class Decision(BaseModel):
    """What the probabilities mean for the target class."""

    model_config = ConfigDict(frozen=True)

    target_class: str
    verdict: Verdict
    operating_point: str
    threshold: float
    reason: str | None = None
    """In a sentence, why the verdict is not what the most probable class suggests; None where it is."""


class DecisionRules(BaseModel):
    """Everything that turns probabilities into a decision and a prediction set; pure, no state."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    class_names: tuple[str, ...] = Field(min_length=2)
    target_class: str
    operating_point: str
    """Name of the point that decides."""
    operating_points: dict[str, OperatingPoint]
    uncertain: UncertainBand
    prediction_sets: PredictionSets

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.target_class not in self.class_names:
            raise ValueError(f"target class {self.target_class!r} is not one of {list(self.class_names)}")
        if self.operating_point not in self.operating_points:
            raise ValueError(f"operating point {self.operating_point!r} is not one of {list(self.operating_points)}")
        if set(self.prediction_sets.min_probability) != set(self.class_names):
            raise ValueError(f"min_probability needs each class once, got {list(self.prediction_sets.min_probability)}")
        return self

    def decide(self, probabilities: Sequence[float]) -> Decision:
        """The verdict on one slice; probabilities in class order.

        positive: the target's probability reaches both the operating point's threshold and rule_in; negative: it is
        below both the threshold and rule_out; anything between is uncertain. Raises ValueError for another number of
        probabilities than classes.
        """
        of_class, target, name = self._by_name(probabilities), self.target_class, self.operating_point
        verdict = self._verdict(of_class[target])
        return Decision(
            target_class=target,
            verdict=verdict,
            operating_point=name,
            threshold=self.operating_points[name].threshold,
            reason=self._why(verdict, of_class),
        )

    def prediction_set(self, probabilities: Sequence[float]) -> tuple[str, ...]:
        """The classes that cannot be ruled out for one slice, in class order.

        Those whose probability reaches their minimum; always the most probable one, and the target unless the verdict
        is negative: a set contradicts no verdict. Raises ValueError for another number of probabilities than classes.
        """
        of_class, minimum = self._by_name(probabilities), self.prediction_sets.min_probability
        never_out = {_most_probable(of_class)}
        if self._verdict(of_class[self.target_class]) != "negative":
            never_out.add(self.target_class)
        return tuple(name for name, value in of_class.items() if value >= minimum[name] or name in never_out)

    def _verdict(self, of_target: float) -> Verdict:
        threshold = self.operating_points[self.operating_point].threshold
        if of_target >= max(threshold, self.uncertain.rule_in):
            return "positive"
        return "negative" if of_target < min(threshold, self.uncertain.rule_out) else "uncertain"

    def _why(self, verdict: Verdict, of_class: dict[str, float]) -> str | None:
        """Said where a verdict and the most probable class seem to contradict each other."""
        target, top = self.target_class, _most_probable(of_class)
        called = max(self.operating_points[self.operating_point].threshold, self.uncertain.rule_in)
        if verdict == "positive" and top != target:
            return (
                f"{top} is the most probable class, and {target} is called all the same: at the operating point "
                f"{self.operating_point} a probability of {called:.3f} is enough."
            )
        if verdict == "negative" and top == target:
            return (
                f"{target} is the most probable class, and is not called all the same: the operating point "
                f"{self.operating_point} asks for a probability of {called:.3f}."
            )
        return None

    def _by_name(self, probabilities: Sequence[float]) -> dict[str, float]:
        if len(probabilities) != len(self.class_names):
            raise ValueError(f"expected {len(self.class_names)} probabilities, got {len(probabilities)}")
        return {name: float(value) for name, value in zip(self.class_names, probabilities, strict=True)}


def _most_probable(of_class: dict[str, float]) -> str:
    return max(of_class, key=lambda name: of_class[name])
