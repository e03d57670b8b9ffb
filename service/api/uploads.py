"""What a request sends → image bytes, counted while they arrive.

Whatever Content-Length says, no more than the limits is ever held: for one image, for all requests together.
"""

import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from hmac import HMAC

from service.errors import ProblemError, ProblemKind

_SEARCH_EVERY_S = 1.0


class NothingSent(ProblemError):
    """The body is empty, or a form without parts."""

    kind = ProblemKind("nothing-sent", 400, "Nothing was sent")
    message = "Expected an image as the body or as a form field, got an empty body."


class EmptyPart(ProblemError):
    """The file has no bytes."""

    kind = ProblemKind("empty-part", 400, "The file is empty")
    message = "Expected an image, got a file of 0 bytes."


class WrongField(ProblemError):
    """The form has no field of the expected name (`file`, or `files` for a batch), or `file` twice; or no form came."""

    kind = ProblemKind("wrong-field", 400, "No such form field")
    message = "Expected exactly one form field named 'file', with the image as its content."


class NoFiles(WrongField):
    """No form, or one without the field that several slices are read from."""

    message = "Expected a form (multipart/form-data) with fields named 'files', each with an image as its content."


class MalformedMultipart(ProblemError):
    """The form cannot be read (RFC 7578): no boundary, no last one, broken or huge part headers, far too many parts."""

    kind = ProblemKind("malformed-multipart", 400, "Not a form", lambda: MalformedMultipart("no boundary"))

    def __init__(self, what: str) -> None:
        super().__init__(f"The multipart/form-data body cannot be read: {what}.")


class TooManyBytes(ProblemError):
    """The image has more bytes than LUNGCT_MAX_UPLOAD_BYTES."""

    kind = ProblemKind("too-many-bytes", 413, "Too many bytes", lambda: TooManyBytes(20 * 1024 * 1024))

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The image is larger than the {max_bytes} bytes that are accepted.")


class TooManyFiles(ProblemError):
    """The batch has more files than LUNGCT_MAX_FILES."""

    kind = ProblemKind("too-many-files", 413, "Too many files", lambda: TooManyFiles(256))

    def __init__(self, max_files: int) -> None:
        super().__init__(f"The request has more than the {max_files} files that are accepted.")


class TooManyBytesInFlight(ProblemError):
    """All requests together hold as many bytes as LUNGCT_MAX_INFLIGHT_BYTES."""

    kind = ProblemKind("too-many-bytes-in-flight", 503, "Overloaded")
    message = "The service holds as many upload bytes as it may; try again shortly."
    retry_after_s = 1.0


class ByteBudget:
    """The bytes that all requests together may hold. Any thread may give some back."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.RLock()  # bytes may be let go at any moment, also while this thread has the lock
        self._next_search_at = 0.0
        self.held = 0

    def take(self, count: int) -> None:
        """Raises TooManyBytesInFlight, taking nothing, where there is not as much left."""
        with self._lock:
            if self.held + count > self._max_bytes and time.monotonic() >= self._next_search_at:
                self._next_search_at = time.monotonic() + _SEARCH_EVERY_S
                gc.collect()  # before anybody is refused: some may be held by objects that only hold each other
            if self.held + count > self._max_bytes:
                raise TooManyBytesInFlight
            self.held += count

    def give_back(self, count: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self.held -= count


@dataclass(frozen=True)
class Intake:
    """What every image that comes in is held against."""

    budget: ByteBudget
    max_bytes: int
    """Of one image."""
    begin_digest: Callable[[], HMAC] | None = None
    """A digest of nothing yet, where there is a ledger: fed while the bytes arrive and lie in the processor's cache."""


class Content(bytearray):
    """Image bytes, in the budget for as long as anybody holds them: a request, a queue, or a thread whose caller left.

    So nobody can forget to count them. Whoever keeps an exception keeps what its frames hold.
    """

    __slots__ = ("_counted", "_intake", "digest")

    def __init__(self, intake: Intake) -> None:
        super().__init__()
        self._intake = intake
        self._counted = 0
        self.digest = intake.begin_digest() if intake.begin_digest else None

    def take(self, chunk: bytes | memoryview) -> None:
        """Append. Raises TooManyBytes, or TooManyBytesInFlight where the budget has no room, taking nothing."""
        if len(self) + len(chunk) > self._intake.max_bytes:
            raise TooManyBytes(self._intake.max_bytes)
        self._intake.budget.take(len(chunk))
        self._counted += len(chunk)
        self += chunk
        if self.digest is not None:
            self.digest.update(chunk)

    def __del__(self) -> None:
        self._intake.budget.give_back(self._counted)


async def read_raw(stream: AsyncIterator[bytes], headers: Mapping[str, str], intake: Intake) -> Content:
    """The whole body as one image. Raises NothingSent, TooManyBytes, or TooManyBytesInFlight."""
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > intake.max_bytes:
        raise TooManyBytes(intake.max_bytes)  # before the first byte is read; what is not announced is counted below
    content = Content(intake)
    try:
        async for chunk in stream:
            if chunk:
                content.take(chunk)
        if not content:
            raise NothingSent
    except ProblemError as error:
        del content
        raise error.with_traceback(None) from None  # whose frames hold the bytes
    except BaseException:
        del content
        raise
    return content
