"""Whether the service can answer now, told from what it did and not from what it hopes.

Whoever asks, and the service itself once a second, has the log say which reasons appeared and which are gone.
"""

import asyncio
import logging
import re
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from service.inference.batching import MicroBatcher
from service.metrics import Metrics
from service.model.hot_reload import HotReload
from service.model.serving_model import ServingModel
from service.schemas import Health
from shared import VERSION

log = logging.getLogger("lungct.health")

_FAILING_AFTER = 3  # batches in a row; one may be bad luck
_LOOK_S = 1.0
_SECONDS = re.compile(r"\b\d+ s\b")  # a reason that counts them stays the same one
_PASSING = re.compile(r"version \d+ is being loaded|the service is shutting down")  # no cause for a warning


@dataclass
class Readiness:
    """Reads the parts of the service; the one place that says ok, degraded or unavailable."""

    reload: HotReload
    metrics: Metrics
    batcher: MicroBatcher  # type: ignore[type-arg]  # what it computes does not matter here
    stuck_after_s: float
    stale_after_s: float
    unchecked_after_s: float
    clock: Callable[[], float]
    watched: Sequence[Callable[[], str | None]] = ()
    """Each says what is wrong with something without which answers still leave; None where nothing is."""
    required: Sequence[Callable[[], str | None]] = ()
    """The same of something without which none leaves."""
    is_draining: bool = False
    """No new traffic should come, but what comes is still answered."""
    wrong_model: "weakref.ref[ServingModel] | None" = None
    """It gave another answer to a golden slice than when it was loaded. It is of no account once another one serves."""
    last_self_check: float | None = None
    """By clock(); None where none was to be made yet."""
    is_closed: bool = False
    """What comes now is refused."""
    _told: dict[str, str] = field(default_factory=dict)
    """Reasons that hold, as they were told, by what they are without their seconds."""

    @property
    def engine_is_failing(self) -> bool:
        """Whether the last batches all failed, or one does not come back."""
        return self.metrics.consecutive_failures >= _FAILING_AFTER or self.batcher.oldest_batch_s > self.stuck_after_s

    def self_checked(self) -> None:
        """A self-check ended as it should, whatever it found; or the first one is to come."""
        self.last_self_check = self.clock()

    def health(self) -> Health:
        """The verdict and its reasons; what is new of them, or gone, is logged."""
        serving = self.reload.serving
        hindrances: list[str] = []
        reasons: list[str] = []
        if serving is None:
            version = self.reload.loading
            hindrances.append(
                f"version {version} is being loaded" if version else "no valid model version is published yet"
            )
        if self.is_draining:
            hindrances.append("the service is shutting down")
        if self.engine_is_failing:
            hindrances.append("the engine keeps failing or does not come back")
        if serving is not None and self.wrong_model is not None and self.wrong_model() is serving:
            hindrances.append("the engine gives other answers than when the model was loaded")
        hindrances += filter(None, (one() for one in self.required))
        if self.reload.complaint:
            reasons.append(self.reload.complaint)
        seen = self.reload.last_poll
        if seen is not None and self.reload.loading is None and self.clock() - seen > self.stale_after_s:
            reasons.append(f"no look at the repository has ended for {self.clock() - seen:.0f} s")
        checked = self.last_self_check
        if checked is not None and self.clock() - checked > self.unchecked_after_s:
            reasons.append(f"no self-check has ended for {self.clock() - checked:.0f} s")
        reasons += filter(None, (one() for one in self.watched))
        status: Literal["ok", "degraded", "unavailable"] = (
            "unavailable" if hindrances else "degraded" if reasons else "ok"
        )
        self._tell(status, hindrances + reasons)
        return Health(
            status=status,
            service_version=VERSION,
            model_version=serving.version if serving else None,
            reasons=hindrances + reasons,
        )

    async def watch(self) -> None:
        """Look every second until cancelled, so that the log is true where nobody asks."""
        while True:
            try:
                self.health()
            except Exception:
                log.exception("health cannot be told")
            await asyncio.sleep(_LOOK_S)

    def _tell(self, status: str, reasons: list[str]) -> None:
        now = {_SECONDS.sub("", reason): reason for reason in reasons}
        for reason in [now[one] for one in now.keys() - self._told.keys()]:
            level = logging.INFO if _PASSING.fullmatch(reason) else logging.WARNING
            log.log(level, "health: a reason appeared", extra={"reason": reason, "status": status})
        for reason in [self._told[one] for one in self._told.keys() - now.keys()]:
            log.info("health: a reason is gone", extra={"reason": reason, "status": status})
        self._told = now
