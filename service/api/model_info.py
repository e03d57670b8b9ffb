"""What serves, what else is published, and the documents of the version that serves."""

from fastapi import Request, Response

from service.api import problems
from service.api.handlers import Service
from service.api.problems import ProblemError
from service.schemas import Failure, ModelInfo
from shared.artifact import MODEL_CARD_FILE


def model_info(service: Service) -> ModelInfo:
    """The serving version's manifest, and the state of every other version."""
    reload, serving = service.reload, service.reload.serving
    failures = sorted(reload.failures.values(), key=lambda failure: failure.at, reverse=True)
    return ModelInfo(
        model_name=service.settings.model_name,
        model_version=serving.version if serving else None,
        engine=serving.engine.name if serving else None,
        loaded_at=serving.loaded_at if serving else None,
        versions=list(reload.versions),
        loading=reload.loading,
        pinned=reload.pin,
        failures=[
            Failure(model_version=one.version, reason=one.reason, at=one.at, retried=one.retry_at is not None)
            for one in failures
        ],
        warnings=service.warnings(serving) if serving else [],
        health=service.readiness.health(),
        ledger=service.ledger is not None,
        documents=[_address(name) for name in serving.documents] if serving else [],
        manifest=serving.manifest.model_dump(mode="json", exclude={"files"}) if serving else None,
    )


def _address(document: str) -> str:
    """Where a document of the serving version is found, relative to /model-info."""
    return "model-info/card" if document == MODEL_CARD_FILE else f"model-info/{document}"


def document(service: Service, request: Request, name: str, media_type: str) -> Response:
    """Answered from memory; 304 where the caller has it already."""
    model = service.model()
    content = model.documents.get(name)
    if content is None:
        raise ProblemError(problems.NO_SUCH_DOCUMENT)
    etag = f'"{model.manifest.files[name].sha256}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
