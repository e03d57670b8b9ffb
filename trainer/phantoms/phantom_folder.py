"""A folder of drawn slices that says of itself that it is drawn."""

from pathlib import Path

from trainer.data.dataset import PHANTOM_MARKER
from trainer.errors import TrainerError
from trainer.phantoms.phantom import write_phantoms

_MARKER_TEXT = """\
Every slice in these folders was drawn by `python -m trainer synthesize`: there is no patient behind any of them.
The trainer reads this file's presence, and warns wherever a model that was trained on these slices answers.
"""


class CannotSynthesize(TrainerError):
    """The folder is in use or cannot be written, or the numbers do not fit."""


def synthesize(folder: Path, *, cases_per_class: int, slices_per_case: int, seed: int) -> int:
    """Draw phantoms into class folders below a folder that is new or empty; returns the number of slices.

    Equal arguments draw equal slices. Raises CannotSynthesize.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise CannotSynthesize(f"{folder} is not empty; expected a new or empty folder.")
        # first, so that a half-drawn folder already says what it is
        (folder / PHANTOM_MARKER).write_text(_MARKER_TEXT, "utf-8")
        return write_phantoms(folder, cases_per_class=cases_per_class, slices_per_case=slices_per_case, seed=seed)
    except (OSError, ValueError) as error:
        raise CannotSynthesize(f"No phantoms in {folder}: {error}.") from error
