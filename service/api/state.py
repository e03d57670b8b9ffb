"""The parts that answer requests, wired in service.app."""

from dataclasses import dataclass
from typing import Any

from service.answers.prediction import prediction_of
from service.api.problems import Draining, NoModel
from service.api.render import Renderer
from service.api.uploads import Intake
from service.auth.api_keys import ApiKeys
from service.errors import ProblemError
from service.explain.explainer import Explainer
from service.health.readiness import Readiness
from service.inference.chest_gate import Predicted
from service.inference.predictor import Predictor
from service.ledger.facts import facts_of
from service.ledger.writer import Ledger
from service.metrics import Metrics
from service.model.hot_reload import HotReload
from service.model.serving_model import ServingModel
from service.schemas import Prediction
from service.settings import ServiceSettings


@dataclass(frozen=True)
class AppState:
    """What every request can reach."""

    settings: ServiceSettings
    reload: HotReload
    predictor: Predictor
    explainer: Explainer
    renderer: Renderer
    readiness: Readiness
    intake: Intake
    metrics: Metrics
    keys: ApiKeys | None = None
    """Where callers must name themselves."""
    ledger: Ledger | None = None

    def check_available(self) -> None:
        """Raises Draining or NoModel where the service takes no request that needs a model."""
        if self.readiness.is_closed or self.reload.serving is None:
            raise self.unavailable()

    def unavailable(self) -> ProblemError:
        """Why no request is taken now: the service ends, or has no model. What was taken is finished."""
        if self.readiness.is_closed:
            return Draining(retry_after_s=max(1.0, self.predictor.batcher.places.expected_wait_s))
        reason = "; ".join(self.readiness.health().reasons)
        return NoModel(f"No model: {reason}.", retry_after_s=self.settings.poll_interval_s)

    def model(self) -> ServingModel:
        """The model that serves now. Raises NoModel while there is none, or Draining at the end."""
        if self.reload.serving is None:
            raise self.unavailable()
        return self.reload.serving

    def answer(
        self, model: ServingModel, predicted: Predicted, facts: dict[str, Any], request_id: str, frame: int | None
    ) -> Prediction:
        """The answer for one slice, which is the frame that was asked for: counted, and noted in its facts."""
        prediction = prediction_of(model.manifest, predicted, request_id, frame, variant=model.variant)
        self.metrics.predictions.labels(prediction.prediction).inc()
        if facts:  # there is a ledger
            facts.update(facts_of(model, prediction))
        return prediction
