"""Whether a picture may be answered: what speaks against a chest CT slice, in words, and what follows from it."""

from typing import Literal

from service.errors import ProblemError, ProblemKind
from service.metrics import Metrics
from shared.chest_ct import SURE, Check, ChestGate, look_at
from shared.imaging import SliceTensor
from shared.raster.colour import is_coloured
from shared.raster.decode import ImageBytes

OutOfDistributionPolicy = Literal["reject", "flag"]

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


class Gate:
    """Looks at slices before and after the network, and refuses them or lets them pass with a warning."""

    def __init__(self, policy: OutOfDistributionPolicy, metrics: Metrics) -> None:
        self._policy = policy
        self._metrics = metrics

    def look(self, body: ImageBytes, tensor: SliceTensor, limits: ChestGate) -> tuple[Check, ...]:
        """What speaks against a slice before the network has seen it. Raises NotAChestCT where such are refused.

        Colour is looked for only where the other checks are not sure: that costs most of another decoding.
        """
        if limits.image_limits is None:
            return ()
        figures = look_at(tensor)
        doubts = limits.image_limits.doubts(figures)
        if (doubts or SURE.doubts(figures)) and is_coloured(body):
            doubts = ("colour", *doubts)
        return self._judged((), doubts)

    def judge(self, doubts: tuple[Check, ...], distance: float | None, limits: ChestGate) -> tuple[Check, ...]:
        """The doubts of look(), with what the network says. Raises NotAChestCT like it."""
        limit = limits.max_distance
        if distance is None or limit is None or distance <= limit:  # a distance that is no number is too far
            return doubts
        return self._judged(doubts, ("distance",))

    def _judged(self, known: tuple[Check, ...], new: tuple[Check, ...]) -> tuple[Check, ...]:
        for doubt in new:
            self._metrics.doubts.labels(doubt).inc()
        doubts = (*known, *new)
        if doubts and self._policy == "reject":
            raise NotAChestCT(doubts)
        return doubts


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
