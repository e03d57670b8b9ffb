"""MODEL_CARD.md: what a person must know before using the model, in plain sentences (Mitchell et al. 2019,
10.1145/3287560.3287596).
"""

from typing import Any

from trainer.publishing.card_figures import (
    calibration,
    decisions,
    familiarity,
    learnt_instead,
    refusals,
    results,
    table,
    variants,
)
from trainer.publishing.model_record import ModelRecord

_USE = """\
## Use

For research and education. **Never for diagnosis**: it is no medical device, no radiologist has checked its answers,
and nothing that it says about a slice may decide anything about a patient. It looks at one two-dimensional slice, knows
no neighbouring slice, no history and no patient. Most pictures that show no chest are refused, not all of them.
"""


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
        results(said["metrics"]),
        learnt_instead(said["metrics"]),
        calibration(said["metrics"].get("calibration")),
        decisions(record.thresholds, said["split"].get("n_groups", {})),
        familiarity(record.familiarity),
        refusals(record.chest_gate),
        variants(record.variants, said["metrics"]),
        _technical(record),
        _licence(said["training"].get("weights_licence")),
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
    counts = table("| Class | Slices |", data.get("counts", {}).items())
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


def _technical(record: ModelRecord) -> str:
    spec = record.preprocessing
    return (
        f"## Input and training\n\nInput `image` uint8 [batch, {spec.height}, {spec.width}, 1], one grey channel "
        f"(crop: {spec.crop}, pad: {spec.pad}, {spec.interpolation} interpolation); output `probabilities` float32 "
        f"[batch, {len(record.classes.names)}]. Seed {record.seed}; the run took {record.duration_s:.0f} s.\n"
    )


def _licence(of_weights: str | None) -> str:
    return f"## Licence of the pretrained weights\n\n{of_weights}\n" if of_weights else ""
