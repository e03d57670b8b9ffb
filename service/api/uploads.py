"""The body of a request → image bytes, counted while they arrive.

Whatever Content-Length says, no more than the limits is ever held: for one image, for all requests together.
"""

import gc
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.api.numbers import whole_number

_MAX_PART_HEADER_BYTES = 8 * 1024
_SEARCH_EVERY_S = 1.0
_MAX_FILE_NAME = 255  # characters; what file systems take


class Digest(Protocol):
    """What hashlib and hmac make."""

    def update(self, data: memoryview, /) -> None:
        """Take more bytes."""

    def hexdigest(self) -> str:
        """Of all bytes so far."""


class UploadError(ValueError):
    """The body holds no image that can be looked at; str() is a sentence fit for the sender."""


class NothingSent(UploadError):
    """No body, or a form without parts."""

    def __init__(self) -> None:
        super().__init__("Expected an image as the body or as a form field, got an empty body.")


class EmptyPart(UploadError):
    """A file of zero bytes."""

    def __init__(self) -> None:
        super().__init__("Expected an image, got a file of 0 bytes.")


class WrongField(UploadError):
    """A form without the field that is read, or with more of it than is answered."""

    def __init__(self) -> None:
        super().__init__("Expected exactly one form field named 'file', with the image as its content.")


class NoFiles(UploadError):
    """No form, or one without the field that several slices are read from."""

    def __init__(self) -> None:
        super().__init__(
            "Expected a form (multipart/form-data) with fields named 'files', each with an image as its content."
        )


class MalformedMultipart(UploadError):
    """Not what multipart/form-data looks like (RFC 7578)."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The multipart/form-data body cannot be read: {what}.")


class TooManyBytes(UploadError):
    """More bytes than one image may have."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The image is larger than the {max_bytes} bytes that are accepted.")


class TooManyFiles(UploadError):
    """More files than one request may have."""

    def __init__(self, max_files: int) -> None:
        super().__init__(f"The request has more than the {max_files} files that are accepted.")


class TooManyBytesInFlight(UploadError):
    """All requests together hold as much as they may."""

    retry_after_s = 1.0

    def __init__(self) -> None:
        super().__init__("The service holds as many upload bytes as it may; try again shortly.")


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


class _Content(bytearray):
    """Image bytes, in the budget for as long as anybody holds them: a request, a queue, or a thread whose caller left.

    So nobody can forget to count them. Whoever keeps an exception keeps what its frames hold.
    """

    __slots__ = ("_budget", "_counted")

    def __init__(self, budget: ByteBudget) -> None:
        super().__init__()
        self._budget = budget
        self._counted = 0

    def take(self, chunk: memoryview) -> None:
        """Append. Raises TooManyBytesInFlight, taking nothing, where the budget has no room."""
        self._budget.take(len(chunk))
        self._counted += len(chunk)
        self += chunk

    def __del__(self) -> None:
        self._budget.give_back(self._counted)


class Part:
    """One image as it arrived: a form part, or the whole body. A context: on leaving, it lets go of its bytes."""

    def __init__(
        self,
        field: str | None,
        budget: ByteBudget,
        max_bytes: int,
        digest: Digest | None = None,
        *,
        file_name: str | None = None,
    ) -> None:
        """digest: is fed with the bytes while they arrive and lie in the processor's cache."""
        self.field = field
        self.file_name = file_name
        """As the sender calls it, cut; for the sender alone: it may name a patient."""
        self.digest = digest
        self.error: UploadError | None = None
        self._budget = budget
        self._max_bytes = max_bytes
        self._content = _Content(budget)

    @property
    def content(self) -> bytearray:
        """The image bytes, not copied. Raises what was wrong with them, or EmptyPart."""
        if self.error:
            raise self.error
        if not self._content:
            raise EmptyPart
        return self._content

    @property
    def is_empty(self) -> bool:
        """Whether no byte has come."""
        return not self._content

    def append(self, chunk: memoryview) -> None:
        """Take more bytes, or note why not and forget those already held."""
        if self.error:
            return
        try:
            if len(self._content) + len(chunk) > self._max_bytes:
                raise TooManyBytes(self._max_bytes)
            self._content.take(chunk)
        except UploadError as error:
            self.close()
            self.error = error.with_traceback(None)  # whose frames hold the bytes
        else:
            if self.digest is not None:
                self.digest.update(chunk)

    def close(self) -> None:
        """Let go of the bytes. They leave the budget once whoever else works on them has let them go, too."""
        self._content = _Content(self._budget)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def read_parts(
    stream: AsyncIterator[bytes],
    headers: Mapping[str, str],
    budget: ByteBudget,
    *,
    max_part_bytes: int,
    max_body_bytes: int,
    max_parts: int,
    begin_digest: Callable[[], Digest] | None = None,
) -> AsyncGenerator[Part]:
    """Each image of a body, as soon as it is complete: the parts of a form, else the body as one nameless part.

    The caller closes what it gets. What is wrong with one part is in that part, which then comes at once and not at its
    end. Raises MalformedMultipart, NothingSent, or TooManyBytes for the body as a whole.
    """
    content_type, options = parse_options_header(headers.get("content-type"))
    announced = whole_number(headers.get("content-length", ""))
    if announced is not None and announced > max_body_bytes:
        raise TooManyBytes(max_part_bytes)  # before the first byte is read; what is not announced is counted below
    if content_type == b"multipart/form-data":
        parser: _Form | _Raw = _Form(options.get(b"boundary"), budget, max_part_bytes, max_parts, begin_digest)
    else:
        parser = _Raw(budget, max_part_bytes, begin_digest)
    received = 0
    try:
        async for chunk in stream:
            received += len(chunk)
            if received > max_body_bytes:
                raise TooManyBytes(max_part_bytes)
            parser.feed(chunk)
            while parser.complete:
                yield parser.complete.popleft()
        parser.finish()
        while parser.complete:
            yield parser.complete.popleft()
    finally:
        parser.close()


class _Raw:
    """The whole body as one part."""

    def __init__(self, budget: ByteBudget, max_bytes: int, begin_digest: Callable[[], Digest] | None) -> None:
        self.complete: deque[Part] = deque()
        self._current: Part | None = Part(None, budget, max_bytes, begin_digest and begin_digest())

    def feed(self, chunk: bytes) -> None:
        if self._current is not None:
            self._current.append(memoryview(chunk))
            if self._current.error:
                self._hand_over()  # known to be refused: the sender hears it now

    def finish(self) -> None:
        if self._current is not None:
            if self._current.is_empty:
                raise NothingSent
            self._hand_over()

    def _hand_over(self) -> None:
        if self._current is not None:
            self.complete.append(self._current)
            self._current = None

    def close(self) -> None:
        for part in (*self.complete, *([self._current] if self._current else [])):
            part.close()


class _Form:
    """A multipart parser's callbacks, gathered into parts."""

    def __init__(
        self,
        boundary: bytes | None,
        budget: ByteBudget,
        max_bytes: int,
        max_parts: int,
        begin_digest: Callable[[], Digest] | None,
    ) -> None:
        if not boundary:
            raise MalformedMultipart("its Content-Type names no boundary")
        self._budget, self._max_bytes, self._max_parts = budget, max_bytes, max_parts
        self._begin_digest = begin_digest
        self._current: Part | None = None
        self.complete: deque[Part] = deque()
        self._count = 0
        self._is_ended = False
        self._name, self._value = bytearray(), bytearray()
        self._field: str | None = None
        self._file_name: str | None = None
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                    "on_header_begin": self._header_begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise MalformedMultipart("its boundary is not valid") from error

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise MalformedMultipart("a boundary or a header is not where it should be") from error

    def finish(self) -> None:
        if not self._count:
            raise NothingSent
        if not self._is_ended:  # the parser's own finalize() does not look
            raise MalformedMultipart("it ends before its last boundary")

    def close(self) -> None:
        for part in (*self.complete, *([self._current] if self._current else [])):
            part.close()

    def _end(self) -> None:
        self._is_ended = True

    def _part_begin(self) -> None:
        self._count += 1
        if self._count > self._max_parts:  # empty parts are few bytes to send, and work to parse
            raise MalformedMultipart(f"it has more than {self._max_parts} parts")
        self._field = self._file_name = None

    def _header_begin(self) -> None:
        self._name, self._value = bytearray(), bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        if len(self._value) > _MAX_PART_HEADER_BYTES:
            raise MalformedMultipart(f"a part's header is longer than {_MAX_PART_HEADER_BYTES} bytes")

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._field = options.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in options:
                self._file_name = options[b"filename"].decode("utf-8", "replace")[:_MAX_FILE_NAME]

    def _headers_finished(self) -> None:
        digest = self._begin_digest and self._begin_digest()
        self._current = Part(self._field, self._budget, self._max_bytes, digest, file_name=self._file_name)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current.append(memoryview(data)[start:end])
            if self._current.error:
                self._part_end()  # known to be refused: the sender hears it now

    def _part_end(self) -> None:
        if self._current is not None:
            self.complete.append(self._current)
            self._current = None
