"""What a browser is answered where a test needs an answer that the real service does not give at will."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from playwright.sync_api import Page, Route

from tests.support.decision_rules import NAMES

_GRID = [[max(0.0, 1 - ((row - 2) ** 2 + (column - 2) ** 2) / 9) for column in range(7)] for row in range(7)]


def needs_key(page: Page, key: str) -> None:
    """Every address but the page's own files asks for a key, as behind LUNGCT_API_KEYS."""

    def answer(route: Route) -> None:
        if route.request.headers.get("x-api-key") == key:
            route.continue_()
        else:
            problem = {
                "type": "urn:lungct:problem:unauthorized", "title": "Unauthorized", "status": 401,
                "detail": "This service asks for a key in the header X-API-Key.", "request_id": "1",
            }  # fmt: skip
            route.fulfill(status=401, content_type="application/problem+json", body=json.dumps(problem))

    for path in ("model-info*", "model-info/**", "predict*", "explain*", "render*"):
        page.route(f"**/{path}", answer)


def renders(page: Page, png: bytes) -> list[dict[str, str]]:
    """POST /render answers this PNG as one of four frames in the window -600/1500; the list fills with the queries."""
    queries: list[dict[str, str]] = []

    def answer(route: Route) -> None:
        query = dict(parse_qsl(urlsplit(route.request.url).query))
        queries.append(query)
        window = {"X-Window-Level": query.get("level", "-600"), "X-Window-Width": query.get("width", "1500")}
        route.fulfill(body=png, content_type="image/png", headers={"X-Image-Frames": "4", **window})

    page.route("**/render*", answer)
    return queries


def explains(page: Page, side: int = 512) -> None:
    """POST /explain?format=json points at the upper left part of the slice, as large as side."""

    def answer(route: Route) -> None:
        explanation = {
            "class_name": "Malignant cases", "method": "class-activation", "grid": _GRID,
            "note": "model attention, not lesion location",
            "box": {"left": 0, "top": 0, "width": side, "height": side}, "slice": {"width": side, "height": side},
            "prediction": {}, "model_version": 1, "request_id": "1", "warnings": [],
        }  # fmt: skip
        route.fulfill(json=explanation)

    page.route("**/explain?*", answer)


FAMILIAR: dict[str, Any] = {"score": 0.61, "limit": 0.01, "is_familiar": True, "reasons": []}
UNFAMILIAR: dict[str, Any] = {
    "score": 0.002, "limit": 0.01, "is_familiar": False,
    "reasons": ["It is sharper than all but one malignant case.", "Its noise is above that of every training slice."],
}  # fmt: skip


def answer_of(
    shares: Sequence[float], verdict: str | None, *, names: Sequence[str] = NAMES, target: str = NAMES[-1],
    reason: str | None = None, familiarity: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """An answer of POST /predict; verdict None: of a model without decision rules."""
    confidence, prediction = max(zip(shares, names, strict=True))
    decision = {
        "target_class": target, "verdict": verdict, "operating_point": "high_sensitivity", "threshold": 0.2,
        "reason": reason,
    }  # fmt: skip
    held = {prediction} if verdict == "negative" else {prediction, target}
    is_unfamiliar = familiarity is not None and not familiarity["is_familiar"]
    return {
        "prediction": prediction, "confidence": confidence, "all_predictions": dict(zip(names, shares, strict=True)),
        "decision": verdict and decision,
        "prediction_set": verdict and [name for name in names if name in held or is_unfamiliar],
        "familiarity": familiarity, "model_version": 1, "variant": "f32", "request_id": f"{prediction} {verdict}",
        "warnings": [],
    }  # fmt: skip


def answers(page: Page, *given: dict[str, Any]) -> None:
    """POST /predict answers these, one after the other."""
    left = list(given)
    page.route("**/predict*", lambda route: route.fulfill(json=left.pop(0)))


def informs(page: Page, info: dict[str, Any]) -> None:
    """GET /model-info says this."""
    page.route("**/model-info", lambda route: route.fulfill(json=info))


def refuses_as_no_chest(page: Page) -> None:
    """POST /predict answers that this is no CT slice of the chest."""
    refuses(
        page,
        "not-a-chest-ct",
        "Not a chest CT slice",
        ["The picture has colours.", "No air-filled lungs were found inside a body."],
    )


def refuses(page: Page, kind: str, title: str, reasons: list[str]) -> None:
    """POST /predict refuses the picture with this problem."""
    problem = {
        "type": f"urn:lungct:problem:{kind}", "title": title, "status": 422,
        "detail": f"{title}. {' '.join(reasons)}", "request_id": "4f0c6a1e5d2b4c7f", "reasons": reasons,
    }  # fmt: skip
    page.route(
        "**/predict*",
        lambda route: route.fulfill(status=422, content_type="application/problem+json", body=json.dumps(problem)),
    )
