"""MODEL_CARD.md: what a person must know before using the model, in plain sentences (Mitchell et al. 2019,
10.1145/3287560.3287596).
"""

from typing import Any

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
_OF_TARGET = (
    ("auc", "AUC"),
    ("sensitivity_at_specificity_90", "Sensitivity at 90 % specificity"),
    ("sensitivity_at_specificity_95", "Sensitivity at 95 % specificity"),
)


def model_card(facts: ModelRecord) -> str:
    """Markdown; every figure comes from the facts, and what they do not say is left out."""
    parts = [
        _title(facts), _warnings(facts), _USE, _data(facts), _split(facts), _metrics(facts), _calibration(facts),
        _decisions(facts), _refusals(facts), _technical(facts),
    ]  # fmt: skip
    return "\n".join(part for part in parts if part)


def _title(facts: ModelRecord) -> str:
    classes = ", ".join(facts.classes.names)
    return (
        f"# Model card\n\nA `{facts.architecture}` network that gives one CT slice of the chest a probability for each "
        f"of: {classes}. The class whose sensitivity counts is {facts.classes.target}. The version is the number of "
        "the folder this file lies in; `manifest.json` beside it holds everything below in full.\n"
    )


def _warnings(facts: ModelRecord) -> str:
    if not facts.warnings:
        return ""
    return "## Warnings\n\n" + "\n".join(f"- {warning}" for warning in facts.warnings) + "\n"


def _data(facts: ModelRecord) -> str:
    data = facts.dataset
    kind = "synthetic phantoms, drawn by a program" if data.get("kind") == "phantoms" else "labelled slices"
    lines = [f"## Data\n\n{data.get('n', 0)} {kind}:\n", "| Class | Slices |", "|---|---:|"]
    lines += [f"| {name} | {count} |" for name, count in _mapping(data.get("counts")).items()]
    skipped = _mapping(data.get("skipped")).get("n", 0)
    lines.append(
        f"\n{skipped} files were skipped because they could not be read whole; {data.get('duplicate_files', 0)} are "
        f"byte for byte another one. Digest of files and labels: `{data.get('digest')}`.\n"
    )
    return "\n".join(lines)


def _split(facts: ModelRecord) -> str:
    split = facts.split
    if split.get("protocol") == "case":
        return _folds(split)
    if "training_slices" not in split:
        return ""
    text = (
        f"## Split\n\nProtocol `{split.get('protocol')}`, seed {split.get('seed')}: {split['training_slices']} slices "
        f"trained, {split.get('validation_slices')} were held out. {split.get('note', '')}"
    )
    if twins := split.get("held_out_twins"):
        text += f" {twins} of the held-out slices are byte for byte a training slice."
    return text + "\n"


def _folds(split: dict[str, Any]) -> str:
    counts = ", ".join(f"{name}: {count}" for name, count in _mapping(split.get("n_groups")).items())
    guess = " (guessed from how alike slices are and from the order of files)" if split["groups"] == "inferred" else ""
    return (
        f"## Split\n\nProtocol `case`, seed {split['seed']}, {split['folds']} folds: each slice was judged by a model "
        f"that saw no slice of its case. Cases are {split['groups']}{guess}; {counts}. Digest of the folds: "
        f"`{split['digest']}`.\n"
    )


def _metrics(facts: ModelRecord) -> str:
    metrics: dict[str, Any] = dict(facts.metrics)
    if not metrics:
        return ""
    intervals = _mapping(metrics.get("intervals"))
    lines = [f"## Results on {metrics['n']} held-out slices\n", "| | Value | 95 % interval |", "|---|---:|---:|"]
    for field, label in (
        ("accuracy", "Accuracy"),
        ("balanced_accuracy", "Balanced accuracy"),
        ("macro_f1", "Macro F1"),
        ("brier", "Brier score (0 best, 2 worst)"),
        ("ece", "Expected calibration error"),
    ):
        lines.append(f"| {label} | {_number(metrics[field])} | {_interval(intervals[field])} |")
    lines += [
        "",
        "| Class | Precision | Recall | 95 % interval | F1 | AUC | Slices |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, of_class in _mapping(metrics["per_class"]).items():
        precision, recall, f1, auc = (_number(of_class[field]) for field in ("precision", "recall", "f1", "auc"))
        interval = _interval(_mapping(intervals["recall"])[name])
        lines.append(f"| {name} | {precision} | {recall} | {interval} | {f1} | {auc} | {of_class['support']} |")
    target = _mapping(metrics.get("target"))
    if target:
        ends = _mapping(intervals.get("target"))
        lines += ["", f"| {target['name']} against the rest | Value | 95 % interval |", "|---|---:|---:|"]
        lines += [f"| {label} | {_number(target[field])} | {_interval(ends[field])} |" for field, label in _OF_TARGET]
    lines.append(f"\n{_BY_CASE if metrics.get('n_cases') else _BY_SLICE}\n")
    return "\n".join(lines)


def _calibration(facts: ModelRecord) -> str:
    record = _mapping(facts.metrics.get("calibration"))
    if not record:
        return ""
    return (
        f"## Calibration\n\nOne temperature, {record['temperature']:.2f}, divides the logits. Expected calibration "
        f"error {record['ece_before']:.3f} before and {record['ece_after']:.3f} after, each fold scaled by the "
        "temperature of the others. The figures are those of single members; the model is the mean of all of them.\n"
    )


def _decisions(facts: ModelRecord) -> str:
    rules = facts.thresholds
    if rules is None:
        return ""
    lines = [
        f"## Decisions on {rules.target_class}\n",
        "| Operating point | Threshold | Sensitivity | 95 % interval | Specificity | 95 % interval |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, point in rules.operating_points.items():
        default = " (default)" if name == rules.operating_point else ""
        lines.append(
            f"| `{name}`{default} | {point.threshold:.4f} | {point.sensitivity:.3f} | "
            f"{_interval(point.sensitivity_interval)} | {point.specificity:.3f} | "
            f"{_interval(point.specificity_interval)} |"
        )
    sets = rules.prediction_sets
    covered = ", ".join(f"{name} {share:.2f}" for name, share in sets.measured_coverage.items())
    lines.append(
        f"\nFrom {rules.uncertain.rule_out:.4f} to {rules.uncertain.rule_in:.4f} the verdict is `uncertain`. Sets of "
        f"classes are meant to hold the right one for {sets.coverage:.0%} of the slices of each class. Out of fold, "
        f"they held it for: {covered}; {sets.measured_size:.2f} classes were in a set in the mean.\n"
    )
    return "\n".join(lines)


def _refusals(facts: ModelRecord) -> str:
    gate = facts.chest_gate
    if gate is None:
        return ""
    figures = gate.figures
    looks = "refused by their looks" if gate.image_limits else "not judged by their looks, which training slices fail"
    text = f"## Refusals\n\nPictures that do not look like a chest CT slice are {looks}"
    if gate.max_distance is not None:
        text += (
            f", and where their features are further than {gate.max_distance:.2f} from those of training slices (1 is "
            f"the median of {figures['unseen_slices']} unseen slices, of which "
            f"{_share(figures['refused_unseen_by_distance'])} are refused)"
        )
    return f"{text}. Of the training slices, {_share(figures['refused_by_image_limits'])} would be refused by looks.\n"


def _share(value: Any) -> str:
    return f"{float(value):.1%}"


def _technical(facts: ModelRecord) -> str:
    spec = facts.preprocessing
    return (
        f"## Input and training\n\nInput `image` uint8 [batch, {spec.height}, {spec.width}, 1], one grey channel "
        f"(crop: {spec.crop}, pad: {spec.pad}, {spec.interpolation} interpolation); output `probabilities` float32 "
        f"[batch, {len(facts.classes.names)}]. Seed {facts.seed}; the run took {facts.duration_s:.0f} s.\n"
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(ends: list[float] | tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
