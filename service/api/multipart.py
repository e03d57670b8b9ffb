"""The body of a request → its parts: those of a form (RFC 7578), or the whole body as one."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.api.numbers import whole_number
from service.api.uploads import ByteBudget, MalformedMultipart, NothingSent, Part, TooManyBytes
from service.ledger.facts import Digest

_MAX_PART_HEADER_BYTES = 8 * 1024
_MAX_FILE_NAME = 255  # characters; what file systems take


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
