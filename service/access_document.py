"""Keys in the OpenAPI document, of a service that has keys: Swagger's Authorize, and what is answered without one."""

from typing import Any

from fastapi import FastAPI

from service import problems
from service.access import KEY_HEADER, is_public
from service.settings import PublicPart

_SCHEME = "ApiKey"
_SECURITY = {
    "type": "apiKey",
    "in": "header",
    "name": KEY_HEADER,
    "description": "Names the caller. Whoever runs the service makes keys: `python -m service make-key NAME`.",
}


def add_keys(app: FastAPI, public: frozenset[PublicPart]) -> None:
    """Have the document say which addresses need a key. That of a service without keys speaks of none."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = build()
            document["components"].setdefault("securitySchemes", {})[_SCHEME] = _SECURITY
            for path, operations in document["paths"].items():
                if not is_public(path, public):
                    for method, operation in operations.items():
                        _require(method, operation)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # the way that FastAPI documents


def _require(method: str, operation: dict[str, Any]) -> None:
    operation["security"] = [{_SCHEME: []}]
    kinds = [problems.UNAUTHORIZED, problems.KEYS_UNAVAILABLE]
    if method == "post":
        kinds.append(problems.RATE_LIMITED)
    for status, response in problems.documented(*kinds).items():
        known = operation["responses"].get(str(status))
        if known is None:
            operation["responses"][str(status)] = response
        elif problems.MEDIA_TYPE in known["content"]:
            known["content"][problems.MEDIA_TYPE].setdefault("examples", {}).update(
                response["content"][problems.MEDIA_TYPE]["examples"]
            )
        else:
            known["content"].update(response["content"])
