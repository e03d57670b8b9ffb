"""Every way a request can fail is documented, and says nothing that nobody should read."""

import json
import re

import pytest
from fastapi import Request

from service.api.exception_handlers import ProblemAnswers
from service.api.problems import (
    InternalError,
    NoModel,
    documented,
    example_of,
    kind_of,
    problem_of,
    problem_response,
)
from service.errors import ProblemError, ProblemKind
from service.inference.batching import BatchFailed
from service.inference.places import QueueFull
from service.metrics import Metrics
from shared.raster.decode import NotAnImageType, SliceError, TooSmall, Undecodable
from tests.support.problem_table import DOCUMENT, all_problems, with_table

ALL = all_problems()
KINDS = [kind_of(error) for error in ALL]


def test_the_document_lists_exactly_these_problems() -> None:
    """It has one row for each kind of problem, with its status and its example, and no other row."""
    text = DOCUMENT.read_text("utf-8")
    assert with_table(text) == text, "python -m tests.support.problem_table writes it anew"


def test_names_are_stable_and_statuses_are_errors() -> None:
    """Names are unique words fit for a URN; each status is a client's or a server's error."""
    assert len({one.name for one in KINDS}) == len(KINDS) > 30
    for error, kind in zip(ALL, KINDS, strict=True):
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.name)
        assert kind.uri == f"urn:lungct:problem:{kind.name}"
        assert 400 <= kind.status <= 504
        assert kind.title
        assert str(example_of(error)).endswith(".")
        assert example_of(error).kind is kind


def _leaves(kind: type[Exception]) -> list[type[Exception]]:
    return [leaf for child in kind.__subclasses__() for leaf in _leaves(child)] or [kind]


def test_every_error_of_decoding_has_a_problem() -> None:
    """No decoder's error falls through to 500."""
    for kind in _leaves(SliceError):
        error = kind.__new__(kind)
        Exception.__init__(error, "what came and what was expected")
        assert not isinstance(problem_of(error), InternalError), kind


def test_a_problem_declares_its_kind() -> None:
    """A class that is derived from none of those that have a kind, and has none itself, cannot be defined."""
    with pytest.raises(TypeError, match="Kindless declares no kind"):
        type("Kindless", (ProblemError,), {})


def test_a_subclass_is_answered_like_its_parent() -> None:
    """Who derives an error changes nothing for callers, be it one of the service's or one of decoding."""

    class TinierStill(TooSmall):
        pass

    class EngineGone(BatchFailed):
        pass

    assert problem_of(TinierStill(1, 1, 32)).kind is kind_of(TooSmall)
    assert problem_of(EngineGone()).kind is BatchFailed.kind
    answers = ProblemAnswers(Metrics())
    scope = {"type": "http", "state": {"request_id": "id"}}
    assert answers.of(Request(scope), EngineGone()).status_code == 500
    assert answers.of(Request(scope), TinierStill(1, 1, 32)).status_code == 422


def test_what_is_not_foreseen_is_left_to_who_logs_it() -> None:
    """A member of no known family is answered as a bug, not in silence."""
    answers = ProblemAnswers(Metrics())
    for error in (SliceError("what came"), TimeoutError()):
        with pytest.raises(type(error)):
            answers.of(Request({"type": "http"}), error)
        assert isinstance(problem_of(error), InternalError)


def test_an_unknown_error_tells_nothing_of_itself() -> None:
    """What was not foreseen becomes a plain 500, and so does what broke in the engine."""
    problem = problem_of(RuntimeError("/srv/models/lung-ct: secret"))
    assert isinstance(problem, InternalError)
    assert "secret" not in str(problem)
    failed = BatchFailed()
    failed.__cause__ = RuntimeError("secret")
    assert str(problem_of(failed)) == "The model failed on this batch."


@pytest.mark.parametrize(("seconds", "header"), [(0.01, "1"), (1.0, "1"), (1.2, "2"), (30.0, "30")])
def test_retry_after_is_in_whole_seconds(seconds: float, header: str) -> None:
    """The header is rounded up and at least 1; the body has the exact time."""
    response = problem_response(problem_of(QueueFull(seconds)), "id")
    assert response.headers["retry-after"] == header
    assert json.loads(bytes(response.body))["retry_after_s"] == seconds


def test_a_problem_that_does_not_pass_promises_nothing() -> None:
    """No Retry-After where trying again cannot help."""
    response = problem_response(problem_of(Undecodable("Premature end of JPEG file")), "id")
    assert "retry-after" not in response.headers
    assert "retry_after_s" not in json.loads(bytes(response.body))
    assert response.media_type == "application/problem+json"


def test_problems_share_nothing_that_one_of_them_could_change() -> None:
    """Headers and reasons of a class cannot be written through one of its problems."""
    problem = ProblemError(kind=ProblemKind("some", 400, "Some"))
    assert (dict(problem.headers), problem.reasons, problem.retry_after_s) == ({}, None, None)
    with pytest.raises(TypeError):
        problem.headers["Allow"] = "GET"


def test_examples_are_grouped_by_status() -> None:
    """OpenAPI gets one entry a status, with one example for each problem of that status."""
    responses = documented(NoModel, QueueFull, NotAnImageType)
    assert set(responses) == {503, 415}
    content = responses[503]["content"]
    assert list(content) == ["application/problem+json"]
    assert set(content["application/problem+json"]["examples"]) == {"no-model", "queue-full"}
    assert "Retry-After" in responses[503]["headers"]
    assert "headers" not in responses[415]
