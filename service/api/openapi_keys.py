"""Keys in the OpenAPI document: what is answered without one and, of a service that has keys, Swagger's Authorize."""

from typing import Any

from fastapi import FastAPI

from service.api import problems
from service.api.middleware.auth import KEY_HEADER, is_public
from service.settings import PublicPart

_SCHEME = "ApiKey"
_SECURITY = {
    "type": "apiKey",
    "in": "header",
    "name": KEY_HEADER,
    "description": "Names the caller. Whoever runs the service makes keys: `python -m service make-key NAME`.",
}


def add_keys(app: FastAPI, public: frozenset[PublicPart], *, are_set: bool) -> None:
    """Have the document say which addresses can ask for a key, and that they do where keys are set.

    401 and 429 stand in every document: a client generated from a service without keys will meet one that has some.
    """
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = build()
            if are_set:
                document["components"].setdefault("securitySchemes", {})[_SCHEME] = _SECURITY
            for path, operations in document["paths"].items():
                if not is_public(path, public):
                    for method, operation in operations.items():
                        if are_set:
                            operation["security"] = [{_SCHEME: []}]
                        _add_problems(method, operation)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # the way that FastAPI documents


def _add_problems(method: str, operation: dict[str, Any]) -> None:
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
