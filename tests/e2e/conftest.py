"""One browser, and one service with a model that has everything to show, for all tests of pages."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from shared.chest_ct import ChestGate
from shared.classes import LUNG_CT_CLASSES
from tests.support.decision_rules import rules
from tests.support.page.browser import Visit, VisitOf, chromium, visiting
from tests.support.published import publish_untrained
from tests.support.serving import RunningService, serving
from trainer.evaluation.metrics import evaluate
from trainer.evaluation.shortcuts import Shortcut
from trainer.evaluation.stress import stress
from trainer.publishing.plots import confusion_matrix, reliability


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running Chromium. Not for all tests: Playwright keeps an event loop in this thread, where others run theirs."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def shown_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lung-ct/1, untrained, with figures of merit, rules, a history, a card and figures; it says it knows phantoms."""
    repository = tmp_path_factory.mktemp("shown")
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), 20)
    logits = random.normal(size=(60, 3)) + 2 * np.eye(3)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    groups = np.arange(60) // 2
    metrics = evaluate(labels, probabilities, LUNG_CT_CLASSES, groups=groups)
    stressed = stress(
        labels, groups, LUNG_CT_CLASSES, probabilities=probabilities, views={"acquired": probabilities[:, ::-1]},
        thresholds=np.full(60, 0.5), operating_point="high_sensitivity",
    )  # fmt: skip
    noise = Shortcut(
        clue="noise", measures=("noise",), balanced_accuracy=0.62, interval=(0.53, 0.69), chance=1 / 3, recall={}
    )
    record = {"method": "temperature", "temperature": 1.2, "ece_before": 0.1, "ece_after": 0.05}
    epochs = [0.9, 0.6, 0.4]
    history = {
        "loss": epochs, "validation_loss": [1.0, 0.7, 0.6], "accuracy": [0.5, 0.7, 0.9],
        "validation_accuracy": [0.4, 0.6, 0.7], "best_epoch": 3,
    }  # fmt: skip
    publish_untrained(
        repository,
        seed=1,
        dataset={"kind": "phantoms", "n": 60, "counts": dict.fromkeys(LUNG_CT_CLASSES.names, 20), "digest": "0" * 64},
        split={"protocol": "image", "optimistic": True, "seed": 0},
        metrics={
            **metrics.model_dump(mode="json"),
            "calibration": record,
            "shortcuts": [noise.model_dump(mode="json")],
            "stress": stressed.model_dump(mode="json"),
        },
        thresholds=rules(),
        training={"learning": "from-scratch", "epochs": 3, "history": history, "weights_licence": "Apache-2.0."},
        chest_gate=ChestGate(figures={"refused_by_image_limits": 0.004, "refused_views": {"shown": 0.011}}),
        figures={
            "confusion_matrix.png": confusion_matrix(metrics, "tests"),
            "reliability.png": reliability(labels, probabilities, probabilities, "tests"),
        },
    )
    return repository


@pytest.fixture(scope="module")
def shown(shown_repository: Path) -> Iterator[RunningService]:
    """A service with that model. Leave nothing running in it."""
    with serving(shown_repository) as service:
        yield service


@pytest.fixture
def visit(browser: Browser) -> Iterator[VisitOf]:
    """visit(url, width=1440): a fresh page there; whatever it complains of fails the test at its end."""
    with ExitStack() as open_pages:

        def open_page(url: str, width: int = 1440, height: int = 900, **context: Any) -> Visit:
            page: AbstractContextManager[Visit] = visiting(
                browser, url, viewport={"width": width, "height": height}, **context
            )
            return open_pages.enter_context(page)

        yield open_page
