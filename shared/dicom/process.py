"""DICOM files are decoded in processes of their own, one for each file, which end with their answer.

Their parent (shared.dicom.child) imports pydicom and the codecs once, when the first file comes, and forks. So this
process neither grows nor slows for files that are no DICOM; a codec that crashes on a damaged file, loops or wants all
memory takes nobody with it; and nothing of a patient outlives the answer. What comes back is pixels, numbers, and words
of our own for what is wrong.

One that was ended from outside, as the system does where memory runs out, says nothing of its file: that is tried once
more. So is what crashed; what crashes twice is the file's fault.
"""

import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.child_process import Child
from shared.dicom.errors import (
    GAVE_UP,
    WORDS,
    DecoderUnavailable,
    Localizer,
    NoPixelData,
    NoSuchFrame,
    NotCt,
    UnreadPixels,
)
from shared.dicom.scan_tags import ScanTags
from shared.raster.decode import GreySlice, ImageBytes, RasterLimits, SliceError, TooManyPixels, TooSmall, Undecodable
from shared.window import Window

LENGTH = struct.Struct("!Q")
"""Stands before every part of a message."""
ENDED = struct.Struct("!i")
"""How a process ended: its exit code, or less than 0 the signal."""

CPU_S = 8.0
"""Processor time that the largest file may take: 4096 x 4096 pixels of JPEG 2000, the costliest there is, take 4 s."""
_PATIENCE_S = 60.0  # a child lives shorter: this is for a machine that stands still
_END_S = 1.0  # of a process that closed everything already
_MAX_ANSWER_BYTES = 4096
_DIGEST = re.compile(r"[0-9a-f]{32}")
_REFUSALS: dict[str, type[SliceError]] = {
    kind.__name__: kind
    for kind in (Localizer, NoPixelData, NoSuchFrame, NotCt, TooManyPixels, TooSmall, Undecodable, UnreadPixels)
}


@dataclass(frozen=True)
class DicomFrame:
    """One frame of a DICOM file: grey uint8 [h, w]; patient: keyed digest of its PatientID, None where it has none;
    tags: how it was acquired.
    """

    grey: GreySlice
    frames: int
    patient: str | None
    tags: ScanTags


class _EndedEarly(Exception):
    """A process ended without a whole answer: by this signal, by itself (0), or with all of them (None)."""

    def __init__(self, by: int | None) -> None:
        self.by = by


class DicomProcess:
    """Decodes DICOM files, in any number of threads at a time, each file in a process of its own."""

    def __init__(self, limits: RasterLimits, patient_key: bytes | None = None, cpu_s: float = CPU_S) -> None:
        self._cpu_s = cpu_s
        self._limits = limits
        self._patient_key = patient_key
        self._lock = threading.Lock()
        self._parent: Child | None = None
        self._door: socket.socket | None = None

    def decode(self, body: ImageBytes, window: Window, frame: int) -> DicomFrame:
        """One frame, counted from 1, in a window of Hounsfield units.

        Raises SliceError, or DecoderUnavailable where that says nothing of the file.
        """
        wanted = {
            "window": window.model_dump(),
            "frame": frame,
            "max_pixels": self._limits.max_pixels,
            "min_side": self._limits.min_side,
            "cpu_s": self._cpu_s,
            "patient_key": self._patient_key.hex() if self._patient_key else None,
        }
        crashed = killed = 0
        while crashed < 2 and killed < 2:  # noqa: PLR2004 - once may be chance
            try:
                return self._ask(wanted, body)
            except _EndedEarly as end:
                if end.by == signal.SIGPROF:  # its time was up, as it would be again
                    break
                if end.by == signal.SIGALRM:  # it had no time
                    raise DecoderUnavailable from None
                if end.by is None:
                    self._wait_for_end()
                if end.by in (None, signal.SIGKILL):
                    killed += 1
                else:
                    crashed += 1
        if killed == 2:  # noqa: PLR2004
            raise DecoderUnavailable
        raise Undecodable(GAVE_UP)

    def _ask(self, wanted: dict[str, Any], body: ImageBytes) -> DicomFrame:
        try:
            ours, childs, end, parents_end = _lines()
        except OSError:  # too many files are open
            raise DecoderUnavailable from None
        try:
            with ours:
                ours.settimeout(_PATIENCE_S)
                try:
                    with childs:
                        self._hand_over(childs.fileno(), parents_end)
                finally:
                    os.close(parents_end)
                return self._exchange(ours, wanted, body)
        except TimeoutError:
            raise DecoderUnavailable from None
        except (OSError, EOFError) as error:  # the child is gone without a whole answer
            raise _EndedEarly(_how_it_ended(end)) from error
        finally:
            os.close(end)

    def _exchange(self, ours: socket.socket, wanted: dict[str, Any], body: ImageBytes) -> DicomFrame:
        for part in (json.dumps(wanted).encode(), body):
            ours.sendall(LENGTH.pack(len(part)))
            ours.sendall(part)
        said = _receive(ours, _MAX_ANSWER_BYTES)
        pixels = _receive(ours, self._limits.max_pixels)
        answer = _understood(said, pixels)
        try:
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            del answer  # else it, its traceback and this frame would hold each other, and the file

    def _wait_for_end(self) -> None:
        """Where the parent is on its way out, it must not be asked once more."""
        with self._lock, suppress(subprocess.TimeoutExpired):
            if self._parent is not None:
                self._parent.wait(_END_S)

    def _hand_over(self, *files: int) -> None:
        with self._lock:
            try:
                socket.send_fds(self._door or self._start(), [b"!"], files)
            except OSError:  # the parent was ended by somebody, or did not start
                self._end()
                socket.send_fds(self._start(), [b"!"], files)

    def _start(self) -> socket.socket:
        door, parents = socket.socketpair()
        self._door = door
        with parents:
            # it has no threads, and so may fork; nobody hears what codecs say, which may be of a patient
            self._parent = Child("shared.dicom.child", str(parents.fileno()), files=[parents.fileno()])
        return door

    def _end(self) -> None:
        if self._door is not None:
            self._door.close()  # it ends when nobody is at the door any more
            self._door = None
        if self._parent is not None:
            self._parent.kill()
            self._parent.wait()
            self._parent = None

    def close(self) -> None:
        """End the parent of the processes; those that decode finish by themselves. It starts again when needed."""
        with self._lock:
            self._end()


def _lines() -> tuple[socket.socket, socket.socket, int, int]:
    """Both ends of a conversation, and of a pipe for what is said when it is over. Raises OSError."""
    end, parents_end = os.pipe()
    try:
        return *socket.socketpair(), end, parents_end
    except OSError:
        os.close(end)
        os.close(parents_end)
        raise


def _how_it_ended(end: int) -> int | None:
    """The signal that ended a process, 0 where it was none; None where nobody is there to tell."""
    poller = select.poll()  # select() knows no file beyond 1023
    poller.register(end, select.POLLIN)
    told = os.read(end, ENDED.size) if poller.poll(_END_S * 1000) else b""
    return max(0, -ENDED.unpack(told)[0]) if len(told) == ENDED.size else None


def _understood(said: bytes, pixels: bytes) -> "DicomFrame | SliceError | DecoderUnavailable":
    """What a child said. Raises EOFError where no decoder says it: a file that took one over could say anything."""
    try:
        answer = json.loads(said)
        if "busy" in answer:
            return DecoderUnavailable()
        if "refused" in answer:
            return _refusal(answer)
        height, width, frames, patient = (answer[name] for name in ("height", "width", "frames", "patient"))
        grey = np.frombuffer(pixels, np.uint8).reshape(height, width)
        tags = ScanTags.model_validate(answer["tags"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise EOFError("an answer that no decoder gives") from error
    if type(frames) is not int or frames < 1 or min(grey.shape) < 1:
        raise EOFError("an answer that no decoder gives")
    if patient is not None and not (type(patient) is str and _DIGEST.fullmatch(patient)):
        raise EOFError("an answer that no decoder gives")
    return DicomFrame(grey, frames, patient, tags)


def _refusal(answer: dict[str, Any]) -> SliceError:
    """Only numbers and our own words pass."""
    arguments = answer["arguments"]
    if any(type(one) is not int and one not in WORDS for one in arguments):
        return Undecodable(GAVE_UP)
    return _REFUSALS[answer["refused"]](*arguments)


def _receive(connection: socket.socket, max_bytes: int) -> bytes:
    (length,) = LENGTH.unpack(receive_exactly(connection, LENGTH.size))
    if length > max_bytes:
        raise EOFError("an answer that no decoder gives")
    return bytes(receive_exactly(connection, length))


def receive_exactly(connection: socket.socket, count: int) -> bytearray:
    """So many bytes. Raises EOFError where fewer come."""
    content = bytearray(count)
    view = memoryview(content)
    while view:
        received = connection.recv_into(view)
        if not received:
            raise EOFError("the other end is gone")
        view = view[received:]
    return content
