"""A form (multipart/form-data, RFC 7578) → its parts, each as soon as it is complete."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.api.params import whole_number
from service.api.uploads import Content, EmptyPart, Intake, MalformedMultipart, NothingSent, TooManyBytes, WrongField
from service.errors import ProblemError

MEDIA_TYPE = "multipart/form-data"
SLACK_BYTES = 64 * 1024
"""Boundaries, part headers and small fields around an image."""
SLACK_PARTS = 100
_MAX_PART_HEADER_BYTES = 8 * 1024
_MAX_FILE_NAME = 255  # characters; what file systems take


class Part:
    """One field of a form, as it arrived."""

    def __init__(self, field: str | None, intake: Intake, file_name: str | None = None) -> None:
        self.field = field
        self.file_name = file_name
        """As the sender calls it, cut; for the sender alone: it may name a patient."""
        self.error: ProblemError | None = None
        self._intake = intake
        self.held = Content(intake)
        """What came so far."""
        self.digest = self.held.digest

    @property
    def content(self) -> bytearray:
        """The image bytes, not copied. Raises what was wrong with them, or EmptyPart."""
        if self.error:
            raise self.error
        if not self.held:
            raise EmptyPart
        return self.held

    def append(self, chunk: memoryview) -> None:
        """Take more bytes, or note why not and forget those already held."""
        if self.error:
            return
        try:
            self.held.take(chunk)
        except ProblemError as error:
            self.close()
            self.error = error.with_traceback(None)  # whose frames hold the bytes

    def close(self) -> None:
        """Let go of the bytes. They leave the budget once whoever else works on them has let them go, too."""
        self.held = Content(self._intake)


async def read_parts(
    stream: AsyncIterator[bytes], headers: Mapping[str, str], intake: Intake, *, max_body_bytes: int, max_parts: int
) -> AsyncGenerator[Part]:
    """Each part of a form, as soon as it is complete; none where the body is no form.

    The caller closes what it gets. What is wrong with one part is in that part, which then comes at once and not at its
    end. Raises MalformedMultipart, NothingSent, or TooManyBytes for the body as a whole.
    """
    announced = whole_number(headers.get("content-length", ""))
    if announced is not None and announced > max_body_bytes:
        raise TooManyBytes(intake.max_bytes)  # before the first byte is read; what is not announced is counted below
    content_type, options = parse_options_header(headers.get("content-type"))
    if content_type != MEDIA_TYPE.encode():
        async for chunk in stream:
            if chunk:
                return
        raise NothingSent
    form, received = _Form(options.get(b"boundary"), intake, max_parts), 0
    try:
        async for chunk in stream:
            received += len(chunk)
            if received > max_body_bytes:
                raise TooManyBytes(intake.max_bytes)
            form.feed(chunk)
            while form.complete:
                yield form.complete.popleft()
        form.finish()
    finally:
        form.close()


async def read_file(stream: AsyncIterator[bytes], headers: Mapping[str, str], intake: Intake) -> Content:
    """What the one field `file` of a form holds; other fields are ignored.

    Raises WrongField, what is wrong with the file, or like read_parts().
    """
    wanted: Part | None = None
    max_body_bytes, max_parts = intake.max_bytes + SLACK_BYTES, 1 + SLACK_PARTS
    try:
        async with aclosing(
            read_parts(stream, headers, intake, max_body_bytes=max_body_bytes, max_parts=max_parts)
        ) as parts:
            async for part in parts:
                if part.field not in (None, "file"):
                    part.close()
                    continue
                if wanted is not None:
                    part.close()
                    raise WrongField
                wanted = part
                if part.error:
                    raise part.error  # the rest of the body is not wanted
        if wanted is None:
            raise WrongField
    except BaseException:
        if wanted is not None:
            wanted.close()
        raise
    return wanted.held


class _Form:
    """A multipart parser's callbacks, gathered into parts."""

    def __init__(self, boundary: bytes | None, intake: Intake, max_parts: int) -> None:
        if not boundary:
            raise MalformedMultipart("its Content-Type names no boundary")
        self._intake, self._max_parts = intake, max_parts
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
        self._current = Part(self._field, self._intake, self._file_name)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current.append(memoryview(data)[start:end])
            if self._current.error:
                self._part_end()  # known to be refused: the sender hears it now

    def _part_end(self) -> None:
        if self._current is not None:
            self.complete.append(self._current)
            self._current = None
