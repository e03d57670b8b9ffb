"""The figures of a model card: Markdown sections, each from what the record says, empty where it says nothing.

No share stands without its interval, which is never narrower than Wilson's on the number of cases where these
are known.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.chest_ct import ChestGate
from shared.decisions import DecisionRules, OperatingPoint
from shared.familiarity import FamiliarityRules
from shared.variant import Variant, VariantName
from trainer.evaluation.intervals import wilson

_BY_SLICE = (
    "Intervals: Wilson for accuracy and recall, MOVER over these for balanced accuracy, bootstrap for the others. "
    "They treat slices as independent; slices of one patient are not, so the true uncertainty is larger."
)
_BY_CASE = (
    "By slice each slice weighs alike, by case each case does: alike neighbours flatter the first. Intervals "
    "are 2,000 draws of whole cases, those of shares never narrower than Wilson's interval on the number of cases."
)
_OF_ALL = (
    ("accuracy", "Accuracy"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("macro_f1", "Macro F1"),
    ("brier", "Brier score (0 best, 2 worst)"),
    ("ece", "Expected calibration error"),
)
_OF_VARIANTS = (("balanced_accuracy", "Balanced accuracy"), ("accuracy", "Accuracy"))
_OF_TARGET = (
    ("auc", "AUC"),
    ("sensitivity_at_specificity_90", "Sensitivity at 90 % specificity"),
    ("sensitivity_at_specificity_95", "Sensitivity at 95 % specificity"),
)
_HELD_OUT = (
    ("accuracy", "Accuracy"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("sensitivity", "Sensitivity"),
    ("specificity", "Specificity"),
)

_Said = Mapping[str, Any]


def results(metrics: _Said) -> str:
    """What held-out slices say of the model: by slice, and by case where cases are known."""
    if not metrics:
        return ""
    ends, target = metrics["intervals"], metrics.get("target")
    levels = metrics.get("stress", {}).get("as_it_is", {"recall": {}})
    rows = [(label, metrics[field], ends[field], levels.get(field)) for field, label in _OF_ALL]
    rows += [
        (f"Recall: {name}, {one['support']} slices", one["recall"], ends["recall"][name], levels["recall"].get(name))
        for name, one in metrics["per_class"].items()
    ]
    if target:
        rows += [
            (f"{target['name']}: {label}", target[field], ends["target"][field], levels.get(field))
            for field, label in _OF_TARGET
        ]
    cases = metrics.get("n_cases")
    shown = [(label, *(_both(both) if both else (share(value, end), "-"))) for label, value, end, both in rows]
    head = f"## Results on {metrics['n']} held-out slices{f' of {cases} cases' if cases else ''}"
    columns = "| | By slice (95 % interval) | By case (95 % interval) |"
    return f"{head}\n\n{table(columns, shown)}\n\n{_BY_CASE if cases else _BY_SLICE}\n"


def calibration(record: _Said | None) -> str:
    """What the temperature did to the probabilities."""
    if not record:
        return ""
    return (
        f"## Calibration\n\nOne temperature, {record['temperature']:.2f}, divides the logits. Expected calibration "
        f"error {record['ece_before']:.3f} before and {record['ece_after']:.3f} after, each fold scaled by the "
        "temperature of the others. The figures are those of single members; the model is the mean of all of them.\n"
    )


def decisions(rules: DecisionRules | None, cases: Mapping[str, int]) -> str:
    """Operating points, uncertain band and prediction sets. cases: how many each class has, as far as known."""
    if rules is None:
        return ""
    points = [
        (f"`{name}`{' (default)' if name == rules.operating_point else ''}", f"{point.threshold:.4f}", *_point(point))
        for name, point in rules.operating_points.items()
    ]
    head = (
        "| Operating point | Threshold | Sensitivity by slice (95 %) | Sensitivity by case (95 %) "
        "| Specificity by slice (95 %) | Specificity by case (95 %) |"
    )
    sets = rules.prediction_sets
    covered = ", ".join(
        f"{name} {share(held, wilson(held * cases[name], cases[name])) if cases.get(name) else f'{held:.2f}'}"
        for name, held in sets.measured_coverage.items()
    )
    return (
        f"## Decisions on {rules.target_class}\n\n{table(head, points)}\n\n"
        f"From {rules.uncertain.rule_out:.4f} to {rules.uncertain.rule_in:.4f} the verdict is `uncertain`. Sets of "
        f"classes are meant to hold the right one for {sets.coverage:.0%} of the slices of each class. Out of fold, "
        f"they held it for: {covered}; {sets.measured_size:.2f} classes were in a set in the mean.\n"
    )


def _point(point: OperatingPoint) -> tuple[str, str, str, str]:
    return (
        share(point.sensitivity, point.sensitivity_interval),
        share(point.sensitivity_by_case, point.sensitivity_by_case_interval),
        share(point.specificity, point.specificity_interval),
        share(point.specificity_by_case, point.specificity_by_case_interval),
    )


def learnt_instead(metrics: _Said) -> str:
    """What tells the classes without a look at the lungs, and what the model says of views of the same slices."""
    shortcuts, stressed = metrics.get("shortcuts"), metrics.get("stress")
    if not shortcuts and not stressed:
        return ""
    parts = ["## What it could have learnt instead"]
    if shortcuts:
        rows = [(one["clue"], share(one["balanced_accuracy"], one["interval"])) for one in shortcuts]
        rows.append(("this model", share(metrics["balanced_accuracy"], metrics["intervals"]["balanced_accuracy"])))
        parts.append(
            "A small forest saw one kind of number of each slice, and nothing else of it. What it reaches above chance "
            f"({shortcuts[0]['chance']:.2f}) on cases that it was not trained on is no knowledge of disease, and the "
            "model may have learnt the same."
        )
        parts.append(table("| From this alone | Balanced accuracy (95 % interval) |", rows))
    if stressed:
        parts.append(
            "Other scanners, kernels, doses and windows would have shown the same patients otherwise. Each held-out "
            "slice was changed in one to three such ways, and judged by the member that has not seen its case, at "
            f"the operating point `{stressed['operating_point']}` with the threshold of the other folds."
        )
        parts += [_view(name, view, stressed["as_it_is"]) for name, view in stressed["views"].items()]
    if contradicted := metrics.get("noise_reversed"):
        shown = {kind: contradicted[kind] for kind in ("sensitivity", "specificity")}
        parts.append(
            "Noise of soft tissue may tell the classes apart. So the model was fitted once more without the third of "
            "the cases whose noise says the opposite, and judged by them at the same threshold, cases weighing alike: "
            + ", ".join(
                f"{kind} {share(one['share'], one['interval'])} in {one['n_cases']} cases"
                for kind, one in shown.items()
            )
            + "."
        )
    return "\n\n".join(parts) + "\n"


def _view(name: str, view: _Said, as_it_is: _Said) -> str:
    rows = [
        (label, *(_both(one[field])[level] for level in (0, 1) for one in (as_it_is, view)))
        for field, label in _HELD_OUT
        if as_it_is[field] and view[field]
    ]
    rows.append(("Answers that flip", "-", _both(view["flips"])[0], "-", _both(view["flips"])[1]))
    head = f"| | As they are, by slice | View `{name}`, by slice | As they are, by case | View `{name}`, by case |"
    return table(head, rows)


def familiarity(rules: FamiliarityRules | None) -> str:
    """How many slices are called unlike the training slices, and what happens to them."""
    if rules is None:
        return ""
    said: _Said = rules.figures
    unseen = "" if "unfamiliar_unseen" not in said else (
        f" Of {said['unseen_slices']} slices that were held out, each judged by what it was not part of, "
        f"{said['unfamiliar_unseen']:.1%} are called so: {said['unfamiliar_by_acquisition']:.1%} for how they were "
        f"acquired and shown, {said['unfamiliar_by_texture']:.1%} for their features."
    )  # fmt: skip
    return (
        f"## What it knows\n\nA slice is compared with {rules.cases.count()} training cases: window, air, noise "
        f"and sharpness, and the network's own features. Below a score of {rules.limit:.1%} it is unfamiliar.{unseen}\n"
        "\nAn unfamiliar slice gets the verdict `uncertain`, every class in its prediction set, and a warning with the "
        "reasons, unless the service is told to keep the verdict or to refuse the slice. No figure of this card holds "
        "for it.\n"
    )


def refusals(gate: ChestGate | None) -> str:
    """What is no chest CT slice to the version, and how many that are one it refuses."""
    if gate is None:
        return ""
    figures: _Said = gate.figures
    looks = "refused by their looks" if gate.image_limits else "not judged by their looks, which training slices fail"
    far = "" if gate.max_distance is None else (
        f", and where their features are further than {gate.max_distance:.2f} from those of training slices (1 is the "
        f"median of {figures['unseen_slices']} unseen slices, of which {figures['refused_unseen_by_distance']:.1%} are "
        "refused)"
    )  # fmt: skip
    views = figures.get("refused_views") if gate.max_distance is not None else None
    shown = "" if not views else (
        " Of views of unseen slices, as other hospitals might export them, the distance refuses "
        f"{', '.join(f'{refused:.1%} (`{name}`)' for name, refused in views.items())}."
    )  # fmt: skip
    return (
        f"## Refusals\n\nPictures that do not look like a chest CT slice are {looks}{far}. Of the training slices, "
        f"{figures['refused_by_image_limits']:.1%} would be refused by looks.{shown}\n"
    )


def variants(record: Mapping[VariantName, Variant], reference: _Said) -> str:
    """Each variant beside the SavedModel, whose metrics are given, and whether it may serve."""
    return "\n".join(_variant(name, one, reference) for name, one in record.items())


def _variant(name: VariantName, variant: Variant, reference: _Said) -> str:
    figures: _Said = variant.metrics
    said: _Said = variant.comparison
    rows = [
        (label, *(share(one[field], one["intervals"][field]) for one in (reference, figures)), _gain(said[field]))
        for field, label in _OF_VARIANTS
    ]
    sensitivities = (one["stress"]["as_it_is"]["sensitivity"] for one in (reference, figures))
    of_target = (share(one["by_slice"]["value"], one["by_slice"]["interval"]) if one else "-" for one in sensitivities)
    rows.append((f"Sensitivity at `{reference['stress']['operating_point']}`", *of_target, _gain(said["sensitivity"])))
    errors = (share(one["ece"], one["intervals"]["ece"]) for one in (reference, figures))
    rows.append(("Expected calibration error", *errors, f"{said['ece']:+.3f}"))
    return (
        f"## Variant `{name}`\n\nThe same network with 8 bits, whose heads, thresholds and limits were fitted and "
        f"judged on its own features. By slice, with intervals by case; differences are paired by case.\n\n"
        f"{table(f'| | float32 (95 %) | {name} (95 %) | Difference (95 %) |', rows)}\n\n"
        f"The chest gate says the same of {said['chest_gate_agreement']:.1%} of the slices, familiarity of "
        f"{said['familiarity_agreement']:.1%}. {said['reason']} All other figures of this card are those of float32; "
        f"those of `{name}` are in `manifest.json`.\n"
    )


def _gain(difference: _Said) -> str:
    lower, upper = difference["interval"]
    return f"{difference['value']:+.3f} ({lower:+.3f} to {upper:+.3f})"


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    """Markdown: the first column to the left, numbers to the right."""
    lines = [head, "|---|" + "---:|" * (head.count("|") - 2)]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows])


def share(value: float | None, ends: Iterable[float] | None) -> str:
    """A figure with its interval: 0.967 (0.854 to 0.994)."""
    if value is None or ends is None:
        return "-"
    lower, upper = ends
    return f"{value:.3f} ({lower:.3f} to {upper:.3f})"


def _both(figure: _Said) -> tuple[str, str]:
    """A figure by slice and by case."""
    by_slice, by_case = (share(figure[level]["value"], figure[level]["interval"]) for level in ("by_slice", "by_case"))
    return by_slice, by_case
