"""Is the int8 variant as good as float32 over several seeds of the folds, and does it matter who calibrates it?

    python -m benchmarks.training.variants DATA [--seeds 5] [--within-folds] [options of `trainer run`]

Prints a table in Markdown: what the variant has more than float32, both judged out of fold on the same slices, paired
by case; for each seed, and for all seeds together. Features are computed once. With --within-folds the network is
quantized once more for each fold of the first seed, by slices of that fold's training cases alone, and a last row
compares this with the network that all slices calibrated.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.training.stress import settings_of
from trainer.data.cases import find_cases
from trainer.data.dataset import AS_IS, Dataset
from trainer.data.splits import Folds
from trainer.data.views import ACQUIRED
from trainer.evaluation.comparison import Comparison, Difference, paired_by_case, paired_shares
from trainer.evaluation.variant_comparison import HeldOutAnswers, compare_variant
from trainer.networks.openvino_network import to_openvino
from trainer.networks.quantization import quantize
from trainer.run import folds_of, read_labelled
from trainer.settings import TrainerSettings
from trainer.training.frozen_features import FrozenFeatures, extract
from trainer.training.judged import fit_and_judge
from trainer.training.learner import make_learner
from trainer.training.quantized_features import quantize_features
from trainer.training.work_folder import WorkFolder

_HEAD = (
    "| | balanced accuracy | accuracy | sensitivity | specificity | calibration error | chest gate agrees "
    "| familiarity agrees |\n|---|---|---|---|---|---:|---:|---:|"
)


@dataclass(frozen=True)
class _Seeds:
    """Answers of both for each seed of the folds, in the same order."""

    dataset: Dataset
    groups: NDArray[np.int64]
    target: int
    float32: list[HeldOutAnswers]
    int8: list[HeldOutAnswers]

    def row(self, seed: int) -> str:
        """What the variant has more with one seed."""
        both = compare_variant(
            self.int8[seed], self.float32[seed], self.dataset.labels, self.groups, target=self.target
        )
        shares = (both.balanced_accuracy, both.accuracy, both.sensitivity, both.specificity)
        agreements = f"{both.chest_gate_agreement:.1%} | {both.familiarity_agreement:.1%}"
        return f"| seed {seed} | {' | '.join(map(_cell, shares))} | {both.ece:+.4f} | {agreements} |"

    def together(self) -> str:
        """The same of means over all seeds."""
        labels, groups = self.dataset.labels, self.groups
        int8, float32 = (np.stack([one.probabilities for one in each]) for each in (self.int8, self.float32))
        both = paired_by_case(labels, int8, float32, groups)
        gain = np.mean(
            [one.is_called.astype(float) - other.is_called for one, other in zip(self.int8, self.float32, strict=True)],
            axis=0,
        )
        is_target = labels == self.target
        sensitivity = paired_shares(gain[is_target], groups[is_target])
        specificity = paired_shares(-gain[~is_target], groups[~is_target])
        shares = (both.balanced_accuracy, both.accuracy, sensitivity, specificity)
        return f"| all | {' | '.join(map(_cell, shares))} | | | |"


def compare(data: Path, settings: TrainerSettings, seeds: int, *, within_folds: bool) -> None:
    """Print the table; ends the program where the settings have no frozen network."""
    dataset = read_labelled(data, settings)
    cases = find_cases(dataset, data, settings.cases, settings.expected_cases)
    learner = make_learner(dataset, cases.groups, settings)
    if not isinstance(learner, FrozenFeatures):
        raise SystemExit(f"network {settings.network} is not frozen: it has no variants")
    quantized = learner.on(quantize_features(learner.network, dataset.seen).features)
    target = dataset.classes.names.index(dataset.classes.target)
    answers = _Seeds(dataset, cases.groups, target, [], [])
    print(_HEAD)
    for seed in range(seeds):
        seeded = settings.model_copy(update={"seed": seed})
        folds = folds_of(dataset, cases, seeded)
        for kept, fitted in ((answers.float32, learner), (answers.int8, quantized)):
            with TemporaryDirectory() as folder:
                work = WorkFolder(Path(folder), "benchmark", is_resumed=False)
                kept.append(fit_and_judge(dataset, folds, fitted, seeded, shortcuts=(), work=work).held_out)
        print(answers.row(seed), flush=True)
    print(answers.together(), flush=True)
    if within_folds:
        folds = folds_of(dataset, cases, settings)
        both = _calibrated_within(dataset, folds, learner, quantized)
        print(f"| calibrated within folds | {_cell(both.balanced_accuracy)} | {_cell(both.accuracy)} | | | | | |")


def _calibrated_within(dataset: Dataset, folds: Folds, learner: FrozenFeatures, by_all: FrozenFeatures) -> Comparison:
    """What heads have more whose network training cases alone calibrated than those behind the one of all slices."""
    within, of_all = (np.empty((len(dataset), len(dataset.classes.names))) for _ in range(2))
    network = to_openvino(learner.network)
    seen = {name: images for name, images in dataset.seen.items() if name in (AS_IS, ACQUIRED)}
    for fold in range(len(folds)):
        split = folds.split(fold)
        quantized = quantize(network, dataset.images[split.training])
        own = learner.on(extract(quantized, seen, f"Features of fold {fold + 1}"))
        for answers, fitted in ((within, own), (of_all, by_all)):
            answers[split.validation] = fitted.fit(split.training, None, 0).logits(split.validation)
    return paired_by_case(dataset.labels, within, of_all, folds.cases.groups)


def _cell(difference: Difference) -> str:
    lower, upper = difference.interval
    return f"{difference.value:+.4f} ({lower:+.3f} to {upper:+.3f})"


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of class folders")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the folds; default 5")
    parser.add_argument("--within-folds", action="store_true", help="also calibrate by training cases alone")
    args, options = parser.parse_known_args()  # what is left goes to the trainer's settings
    compare(args.data.resolve(), settings_of(options), args.seeds, within_folds=args.within_folds)


if __name__ == "__main__":
    main()
