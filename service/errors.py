"""What every problem is: an error as its caller sees it (RFC 9457)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class ProblemKind:
    """What all problems of one kind have in common. Name and status never change: programs compare them."""

    name: str
    status: int
    title: str
    example: Callable[[], Exception] | None = None
    """For documents: an error of this kind, as a caller may meet it; None where its class takes no arguments."""

    @property
    def uri(self) -> str:
        """The `type` member; a URN, so that it is the same behind every proxy and prefix."""
        return f"urn:lungct:problem:{self.name}"


class ProblemError(Exception):
    """Ends a request without its answer; str() is the sentence that its caller reads.

    Each subclass declares its kind where it stands, and its message where that is always the same. What is derived from
    one is answered like its parent.
    """

    kind: ProblemKind
    message: str = ""
    retry_after_s: float | None = None
    """When it may have passed; None where trying again cannot help."""
    headers: Mapping[str, str] = MappingProxyType({})
    """Of the answer."""
    reasons: list[str] | None = None
    """More sentences, each about one thing."""

    def __init__(
        self, detail: str | None = None, *, kind: ProblemKind | None = None, retry_after_s: float | None = None
    ) -> None:
        """kind: of an error that is none of ours, and only has its words repeated."""
        super().__init__(detail or self.message)
        if kind is not None:
            self.kind = kind
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Raises TypeError where the class has no kind, neither its own nor its parent's."""
        super().__init_subclass__(**arguments)
        if not hasattr(cls, "kind"):
            raise TypeError(f"{cls.__name__} declares no kind")


class InvalidRequest(ProblemError):
    """A parameter of the address is not what was expected."""

    kind = ProblemKind(
        "invalid-request", 422, "Invalid parameter", lambda: InvalidRequest("opacity must be a number from 0 to 1.")
    )
    message = "A parameter is not what was expected."
