"""MODEL_CARD.md: what a person must know before using the model, in plain sentences (Mitchell et al. 2019,
10.1145/3287560.3287596).
"""

from collections.abc import Iterable
from typing import Any

from shared.chest_ct import ChestGate
from shared.decisions import DecisionRules
from trainer.publishing.model_record import ModelRecord

_USE = """\
## Use

For research and education. **Never for diagnosis**: it is no medical device, no radiologist has checked its answers,
and nothing that it says about a slice may decide anything about a patient. It looks at one two-dimensional slice, knows
no neighbouring slice, no history and no patient. Most pictures that show no chest are refused, not all of them.
"""

_BY_SLICE = (
    "Intervals: Wilson for accuracy and recall, MOVER over these for balanced accuracy, bootstrap for the others. "
    "They treat slices as independent; slices of one patient are not, so the true uncertainty is larger."
)
_BY_CASE = (
    "Intervals: 2,000 draws of whole cases; where no draw finds a mistake, Wilson's interval on the number of cases."
)
_OF_ALL = (
    ("accuracy", "Accuracy"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("macro_f1", "Macro F1"),
    ("brier", "Brier score (0 best, 2 worst)"),
    ("ece", "Expected calibration error"),
)
_OF_TARGET = (
    ("auc", "AUC"),
    ("sensitivity_at_specificity_90", "Sensitivity at 90 % specificity"),
    ("sensitivity_at_specificity_95", "Sensitivity at 95 % specificity"),
)


def model_card(record: ModelRecord) -> str:
    """Markdown; every figure comes from the record, and what it does not say is left out."""
    said: dict[str, Any] = record.model_dump(mode="json")
    warnings = "".join(f"- {warning}\n" for warning in record.warnings)
    parts = [
        _title(record),
        f"## Warnings\n\n{warnings}" if warnings else "",
        _USE,
        _data(said["dataset"]),
        _split(said["split"]),
        _metrics(said["metrics"]),
        _calibration(said["metrics"].get("calibration")),
        _decisions(record.thresholds),
        _refusals(record.chest_gate),
        _technical(record),
    ]
    return "\n".join(part for part in parts if part)


def _title(record: ModelRecord) -> str:
    return (
        f"# Model card\n\nA `{record.architecture}` network that gives one CT slice of the chest a probability for "
        f"each of: {', '.join(record.classes.names)}. The class whose sensitivity counts is {record.classes.target}. "
        "The version is the number of the folder this file lies in; `manifest.json` beside it holds everything below "
        "in full.\n"
    )


def _data(data: dict[str, Any]) -> str:
    kind = "synthetic phantoms, drawn by a program" if data.get("kind") == "phantoms" else "labelled slices"
    counts = _table("| Class | Slices |", data.get("counts", {}).items())
    skipped = data.get("skipped", {}).get("n", 0)
    return (
        f"## Data\n\n{data.get('n', 0)} {kind}:\n\n{counts}\n\n{skipped} files were skipped because they could not be "
        f"read whole; {data.get('duplicate_files', 0)} are byte for byte another one. Digest of files and labels: "
        f"`{data.get('digest')}`.\n"
    )


def _split(split: dict[str, Any]) -> str:
    if split.get("protocol") == "case":
        counts = ", ".join(f"{name}: {count}" for name, count in split.get("n_groups", {}).items())
        guess = " (guessed from how alike slices are and from the order of files)"
        return (
            f"## Split\n\nProtocol `case`, seed {split['seed']}, {split['folds']} folds: each slice was judged by a "
            f"model that saw no slice of its case. Cases are {split['groups']}"
            f"{guess if split['groups'] == 'inferred' else ''}; {counts}. Digest of the folds: `{split['digest']}`.\n"
        )
    if "training_slices" not in split:
        return ""
    twins = split.get("held_out_twins")
    return (
        f"## Split\n\nProtocol `{split.get('protocol')}`, seed {split.get('seed')}: {split['training_slices']} slices "
        f"trained, {split.get('validation_slices')} were held out. {split.get('note', '')}"
        f"{f' {twins} of the held-out slices are byte for byte a training slice.' if twins else ''}\n"
    )


def _metrics(metrics: dict[str, Any]) -> str:
    if not metrics:
        return ""
    ends, target = metrics["intervals"], metrics.get("target")
    figures = [(label, _number(metrics[field]), _interval(ends[field])) for field, label in _OF_ALL]
    classes = [
        (
            name, _number(one["precision"]), _number(one["recall"]), _interval(ends["recall"][name]),
            _number(one["f1"]), _number(one["auc"]), one["support"],
        )
        for name, one in metrics["per_class"].items()
    ]  # fmt: skip
    tables = [
        _table("| | Value | 95 % interval |", figures),
        _table("| Class | Precision | Recall | 95 % interval | F1 | AUC | Slices |", classes),
    ]
    if target:
        rows = [(label, _number(target[field]), _interval(ends["target"][field])) for field, label in _OF_TARGET]
        tables.append(_table(f"| {target['name']} against the rest | Value | 95 % interval |", rows))
    tables.append(f"{_BY_CASE if metrics.get('n_cases') else _BY_SLICE}\n")
    return f"## Results on {metrics['n']} held-out slices\n\n" + "\n\n".join(tables)


def _calibration(record: dict[str, Any] | None) -> str:
    if not record:
        return ""
    return (
        f"## Calibration\n\nOne temperature, {record['temperature']:.2f}, divides the logits. Expected calibration "
        f"error {record['ece_before']:.3f} before and {record['ece_after']:.3f} after, each fold scaled by the "
        "temperature of the others. The figures are those of single members; the model is the mean of all of them.\n"
    )


def _decisions(rules: DecisionRules | None) -> str:
    if rules is None:
        return ""
    points = [
        (
            f"`{name}`{' (default)' if name == rules.operating_point else ''}", f"{point.threshold:.4f}",
            _number(point.sensitivity), _interval(point.sensitivity_interval),
            _number(point.specificity), _interval(point.specificity_interval),
        )
        for name, point in rules.operating_points.items()
    ]  # fmt: skip
    head = "| Operating point | Threshold | Sensitivity | 95 % interval | Specificity | 95 % interval |"
    sets = rules.prediction_sets
    covered = ", ".join(f"{name} {share:.2f}" for name, share in sets.measured_coverage.items())
    return (
        f"## Decisions on {rules.target_class}\n\n{_table(head, points)}\n\n"
        f"From {rules.uncertain.rule_out:.4f} to {rules.uncertain.rule_in:.4f} the verdict is `uncertain`. Sets of "
        f"classes are meant to hold the right one for {sets.coverage:.0%} of the slices of each class. Out of fold, "
        f"they held it for: {covered}; {sets.measured_size:.2f} classes were in a set in the mean.\n"
    )


def _refusals(gate: ChestGate | None) -> str:
    if gate is None:
        return ""
    figures: dict[str, Any] = gate.figures
    looks = "refused by their looks" if gate.image_limits else "not judged by their looks, which training slices fail"
    far = "" if gate.max_distance is None else (
        f", and where their features are further than {gate.max_distance:.2f} from those of training slices (1 is the "
        f"median of {figures['unseen_slices']} unseen slices, of which {figures['refused_unseen_by_distance']:.1%} are "
        "refused)"
    )  # fmt: skip
    return (
        f"## Refusals\n\nPictures that do not look like a chest CT slice are {looks}{far}. Of the training slices, "
        f"{figures['refused_by_image_limits']:.1%} would be refused by looks.\n"
    )


def _technical(record: ModelRecord) -> str:
    spec = record.preprocessing
    return (
        f"## Input and training\n\nInput `image` uint8 [batch, {spec.height}, {spec.width}, 1], one grey channel "
        f"(crop: {spec.crop}, pad: {spec.pad}, {spec.interpolation} interpolation); output `probabilities` float32 "
        f"[batch, {len(record.classes.names)}]. Seed {record.seed}; the run took {record.duration_s:.0f} s.\n"
    )


def _table(head: str, rows: Iterable[Iterable[object]]) -> str:
    """The first column to the left, numbers to the right."""
    lines = [head, "|---|" + "---:|" * (head.count("|") - 2)]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(ends: list[float] | tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
