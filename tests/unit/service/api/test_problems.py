"""Every way a request can fail is documented, and says nothing that nobody should read."""

import json
import re
from pathlib import Path

import pytest
from fastapi import Request

from service.api import problems
from service.api.exception_handlers import ProblemAnswers
from service.api.problems import ProblemError, ProblemType, documented, problem_of, problem_response
from service.api.uploads import UploadError
from service.inference.batching import BatchFailed, QueueFull
from service.metrics import Metrics
from shared.raster.decode import SliceError, TooSmall

TYPES = [value for value in vars(problems).values() if isinstance(value, ProblemType)]
DOCUMENT = Path(__file__).parents[4] / "docs" / "errors.md"


def test_the_document_lists_exactly_these_problems() -> None:
    """docs/errors.md has one row for each problem type, with its status and its example, and no other row."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| (.+?) \| (.+?) \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert sorted((name, int(status)) for name, status, _, _ in rows) == sorted((one.name, one.status) for one in TYPES)
    examples = {name: example for name, _, _, example in rows}
    for one in TYPES:
        assert examples[one.name] == one.example


def test_names_are_stable_and_statuses_are_errors() -> None:
    """Names are unique words fit for a URN; each status is a client's or a server's error."""
    assert len({one.name for one in TYPES}) == len(TYPES) > 15
    for one in TYPES:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", one.name)
        assert one.uri == f"urn:lungct:problem:{one.name}"
        assert 400 <= one.status <= 504
        assert one.title
        assert one.example.endswith(".")


def _leaves(kind: type[Exception]) -> list[type[Exception]]:
    return [leaf for child in kind.__subclasses__() for leaf in _leaves(child)] or [kind]


def test_every_error_of_the_lower_layers_has_a_problem() -> None:
    """No reader's, decoder's or queue's error falls through to 500."""
    for kind in (*_leaves(UploadError), *_leaves(SliceError), QueueFull):
        error = kind.__new__(kind)
        Exception.__init__(error, "what came and what was expected")
        assert problem_of(error).kind is not problems.INTERNAL_ERROR, kind


def test_a_subclass_is_answered_like_its_parent() -> None:
    """Who derives an error and adds no row to the table changes nothing for callers."""

    class TinierStill(TooSmall):
        pass

    class EngineGone(BatchFailed):
        pass

    assert problem_of(TinierStill(1, 1, 32)).kind is problems.TOO_SMALL
    assert problem_of(EngineGone("secret")).kind is problems.INFERENCE_FAILED
    assert "secret" not in str(problem_of(EngineGone("secret")))


def test_what_has_no_row_is_left_to_who_logs_it() -> None:
    """A family's new member without a row, and without a parent that has one, is answered as a bug, not in silence."""

    class Unheard(UploadError):
        pass

    answers = ProblemAnswers(Metrics())
    for error in (Unheard("what came"), SliceError("what came"), TimeoutError()):
        with pytest.raises(type(error)):
            answers.of(Request({"type": "http"}), error)
        assert problem_of(error).kind is problems.INTERNAL_ERROR


def test_an_unknown_error_tells_nothing_of_itself() -> None:
    """What was not foreseen becomes a plain 500."""
    problem = problem_of(RuntimeError("/srv/models/lung-ct: secret"))
    assert problem.kind is problems.INTERNAL_ERROR
    assert "secret" not in str(problem)
    failed = BatchFailed("x")
    failed.__cause__ = RuntimeError("secret")
    assert (problem_of(failed).kind, str(problem_of(failed))) == (
        problems.INFERENCE_FAILED,
        problems.INFERENCE_FAILED.example,
    )


@pytest.mark.parametrize(("seconds", "header"), [(0.01, "1"), (1.0, "1"), (1.2, "2"), (30.0, "30")])
def test_retry_after_is_in_whole_seconds(seconds: float, header: str) -> None:
    """The header is rounded up and at least 1; the body has the exact time."""
    response = problem_response(problem_of(QueueFull(seconds)), "id")
    assert response.headers["retry-after"] == header
    assert json.loads(response.body)["retry_after_s"] == seconds


def test_a_problem_that_does_not_pass_promises_nothing() -> None:
    """No Retry-After where trying again cannot help."""
    response = problem_response(ProblemError(problems.UNDECODABLE), "id")
    assert "retry-after" not in response.headers
    assert "retry_after_s" not in json.loads(response.body)
    assert response.media_type == "application/problem+json"


def test_examples_are_grouped_by_status() -> None:
    """OpenAPI gets one entry a status, with one example for each problem of that status."""
    responses = documented(problems.NO_MODEL, problems.QUEUE_FULL, problems.NOT_AN_IMAGE_TYPE)
    assert set(responses) == {503, 415}
    content = responses[503]["content"]
    assert list(content) == ["application/problem+json"]
    assert set(content["application/problem+json"]["examples"]) == {"no-model", "queue-full"}
    assert "Retry-After" in responses[503]["headers"]
    assert "headers" not in responses[415]
