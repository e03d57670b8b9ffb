"""Whether a picture may be answered: what speaks against a chest CT slice, in words, and what follows from it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.engines.base import Outputs
from service.errors import ProblemError, ProblemKind
from service.metrics import Metrics
from shared.artifact import DISTANCE_NAME, FAMILIARITY_NAME, OUTPUT_NAME
from shared.chest_ct import SURE, Check, ChestGate, look_at
from shared.familiarity import Acquisition, Familiarity, FamiliarityRules
from shared.imaging import SliceTensor
from shared.raster.colour import is_coloured
from shared.raster.decode import ImageBytes, ImageType, RasterHeader

OutOfDistributionPolicy = Literal["reject", "flag"]
UnfamiliarPolicy = Literal["uncertain", "flag", "reject"]

_REASONS: dict[Check, str] = {
    "colour": "The picture is in colour.",
    "contrast": "Dark and bright areas are not as distinct as air and tissue are on CT.",
    "body": "No body of a lying person, surrounded by air, was found.",
    "tissue": "What is bright is not as even as the tissue of a chest.",
    "lungs": "No lungs were found: large dark areas inside the body.",
    "distance": "To the model, the picture is unlike every chest slice that it was trained on.",
}


class NotAChestCT(ProblemError):
    """The picture is refused; reasons are sentences fit for the sender."""

    kind = ProblemKind("not-a-chest-ct", 422, "Not a CT slice of the chest", lambda: NotAChestCT(("colour", "lungs")))

    def __init__(self, doubts: tuple[Check, ...]) -> None:
        self.reasons = reasons_of(doubts)
        super().__init__(f"This does not look like a CT slice of the chest. {' '.join(self.reasons)}")


class UnfamiliarSlice(ProblemError):
    """A chest slice unlike those that the version was trained on; reasons are sentences fit for the sender."""

    kind = ProblemKind(
        "unfamiliar-slice", 422, "Unlike the slices that the model knows", lambda: UnfamiliarSlice(("It is smoother.",))
    )

    def __init__(self, reasons: tuple[str, ...]) -> None:
        self.reasons = list(reasons)
        super().__init__(f"No figure of this model holds for such a slice, and it is not answered. {' '.join(reasons)}")


class Prepared(NamedTuple):
    """A slice as the network takes it, of a file of this kind with so many frames."""

    tensor: SliceTensor
    doubts: tuple[Check, ...] | None
    """What spoke against a chest slice before the network saw it; None: it is answered whatever it shows."""
    acquisition: Acquisition | None = None
    """How it was made, as far as it shows; None where the version does not ask."""
    kind: ImageType = "png"
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Predicted:
    """What is known of one frame of a file of this kind, which has so many frames.

    probabilities: float32 [C]. doubts: what speaks against its being a chest slice.
    """

    probabilities: NDArray[np.float32]
    doubts: tuple[Check, ...]
    kind: ImageType
    frames: int = 1
    acquisition: Acquisition | None = None
    familiarity: Familiarity | None = None
    """None where the version does not ask, like acquisition."""
    is_withheld: bool = False
    """Whether the slice is unfamiliar and so gets no verdict."""


@dataclass(frozen=True)
class Gate:
    """Looks at slices before and after the network, and refuses them or lets them pass with a warning."""

    policy: OutOfDistributionPolicy
    unfamiliar_policy: UnfamiliarPolicy
    metrics: Metrics

    def look(
        self,
        body: ImageBytes,
        header: RasterHeader | None,
        tensor: SliceTensor,
        limits: ChestGate,
        acquisition: Acquisition | None = None,
    ) -> tuple[Check, ...]:
        """What speaks against a slice before the network has seen it. Raises NotAChestCT where such are refused.

        Colour is looked for only where the other checks are not sure: that costs most of another decoding. DICOM, which
        has no header here, holds none.
        """
        asked = limits.limits_in(is_narrow=acquisition is not None and acquisition.is_narrow)
        if asked is None:
            return ()
        figures = look_at(tensor)
        doubts = asked.doubts(figures)
        if header and (doubts or SURE.doubts(figures)) and is_coloured(body, header):
            doubts = ("colour", *doubts)
        if doubts and self._is_refused(doubts):
            raise NotAChestCT(doubts)
        return doubts

    def judge(
        self, slice_: Prepared, outputs: Outputs, row: int, limits: ChestGate, known: FamiliarityRules | None = None
    ) -> Predicted | NotAChestCT | UnfamiliarSlice:
        """What the network's outputs say of the slice that is this row of them: its answer, or why it has none."""
        doubts, acquisition, familiarity = slice_.doubts or (), slice_.acquisition, None
        texture = float(outputs[FAMILIARITY_NAME][row]) if FAMILIARITY_NAME in outputs else None
        is_asked = slice_.doubts is not None and DISTANCE_NAME in outputs
        if is_asked and limits.is_too_far(float(outputs[DISTANCE_NAME][row])):
            doubts = (*doubts, "distance")
            if self._is_refused(("distance",)):
                return NotAChestCT(doubts)  # not raised: its traceback would hold the batch
        if known and acquisition:
            familiarity = known.judge(acquisition, texture)
            if not familiarity.is_familiar:
                self.metrics.unfamiliar.inc()
                if self.unfamiliar_policy == "reject":
                    return UnfamiliarSlice(familiarity.reasons)  # not raised, either
        return Predicted(
            outputs[OUTPUT_NAME][row],
            doubts,
            slice_.kind,
            slice_.frames,
            slice_.acquisition,
            familiarity,
            is_withheld=familiarity is not None
            and not familiarity.is_familiar
            and self.unfamiliar_policy == "uncertain",
        )

    def _is_refused(self, doubts: tuple[Check, ...]) -> bool:
        """Count new doubts, and say what follows from them."""
        for doubt in doubts:
            self.metrics.doubts.labels(doubt).inc()
        return self.policy == "reject"


def reasons_of(doubts: tuple[Check, ...]) -> list[str]:
    """A sentence for each check that was not passed."""
    return [_REASONS[doubt] for doubt in doubts]


def warning_of(doubts: tuple[Check, ...]) -> list[str]:
    """What a reader of an answer must know; nothing where there is no doubt."""
    if not doubts:
        return []
    return [
        f"This may not be a CT slice of the chest, and then the answer means nothing. {' '.join(reasons_of(doubts))}"
    ]
