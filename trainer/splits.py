"""Which slices train and which are held out."""

from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue
from sklearn.model_selection import train_test_split

from trainer.balance import Indices, Labels, undersample
from trainer.errors import TrainerError
from trainer.settings import BalanceName

OPTIMISTIC_WARNING = (
    "The figures of this model are optimistic: slices were split one by one, so neighbouring slices of one patient "
    "trained it and tested it. Expect less on new patients."
)
OPTIMISTIC_NOTE = f"{OPTIMISTIC_WARNING} The epoch that was kept was chosen on the held-out slices, too."


class TooFewSlices(TrainerError):
    """A class cannot be held out and trained on."""

    def __init__(self, smallest: int) -> None:
        super().__init__(f"Each class needs at least 5 slices to be split, the smallest has {smallest}.")


@dataclass(frozen=True)
class Split:
    """Positions of the slices that train and of those held out, and what the manifest says about the choice."""

    training: Indices
    validation: Indices
    record: dict[str, JsonValue]
    warnings: tuple[str, ...]


def split_by_image(labels: Labels, balance: BalanceName, validation_share: float, seed: int) -> Split:
    """The reference's protocol: stratified by class, slice by slice, blind to which patient a slice is of.

    With `undersample` all classes are cut to the smallest one's count before the split, so that the held-out slices are
    balanced too; every other balance leaves the held-out slices as they come. Raises TooFewSlices.
    """
    rng = np.random.default_rng(seed)
    kept = undersample(labels, rng) if balance == "undersample" else np.arange(len(labels))
    smallest = int(np.bincount(labels[kept]).min())
    if smallest < 5:  # noqa: PLR2004 - one of five is the least that 80/20 can hold out
        raise TooFewSlices(smallest)
    training, validation = train_test_split(
        kept, test_size=validation_share, stratify=labels[kept], random_state=int(rng.integers(2**31))
    )
    record: dict[str, JsonValue] = {
        "protocol": "image",
        "optimistic": True,
        "note": OPTIMISTIC_NOTE,
        "seed": seed,
        "validation_share": validation_share,
        "training_slices": len(training),
        "validation_slices": len(validation),
    }
    return Split(np.sort(training), np.sort(validation), record, (OPTIMISTIC_WARNING,))
