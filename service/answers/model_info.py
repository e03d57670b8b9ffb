"""What serves, and what else is published."""

from typing import Any

from service.answers.warnings import DISCLAIMER
from service.model.hot_reload import HotReload
from service.schemas import Failure, Health, ModelInfo
from shared.artifact import MODEL_CARD_FILE

_FAMILIARITY = {"familiarity": {"cases", "levels"}}
_LEFT_OUT: dict[str, Any] = {"files": True, **_FAMILIARITY, "variants": {"__all__": _FAMILIARITY}}
"""Long lists that nobody reads."""


def model_info(model_name: str, reload: HotReload, health: Health, *, has_ledger: bool) -> ModelInfo:
    """The serving version's manifest, and the state of every other version."""
    serving = reload.serving
    failures = sorted(reload.failures.values(), key=lambda failure: failure.at, reverse=True)
    return ModelInfo(
        model_name=model_name,
        model_version=serving.version if serving else None,
        engine=serving.engine.name if serving else None,
        variant=serving.variant if serving else None,
        loaded_at=serving.loaded_at if serving else None,
        versions=list(reload.versions),
        loading=reload.loading,
        pinned=reload.pin,
        failures=[
            Failure(model_version=one.version, reason=one.reason, at=one.at, retried=one.retry_at is not None)
            for one in failures
        ],
        warnings=[DISCLAIMER, *serving.manifest.warnings] if serving else [],
        health=health,
        ledger=has_ledger,
        documents=[_address(name) for name in serving.documents] if serving else [],
        manifest=serving.explaining.manifest.model_dump(mode="json", exclude=_LEFT_OUT) if serving else None,
    )


def _address(document: str) -> str:
    """Where a document of the serving version is found, relative to /model-info."""
    return "model-info/card" if document == MODEL_CARD_FILE else f"model-info/{document}"
