"""DICOM files are decoded in processes of their own, one for each file, which end with their answer.

Their parent (shared.dicom_child) imports pydicom and the codecs once, when the first file comes, and forks. So this
process neither grows nor slows for files that are no DICOM; a codec that crashes on a damaged file, loops or wants all
memory takes nobody with it; and nothing of a patient outlives the answer. What comes back is pixels, numbers, and words
of our own for what is wrong.
"""

import json
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.child_process import unthreaded_numpy_environment
from shared.dicom_errors import GAVE_UP, WORDS, Localizer, NoPixelData, NoSuchFrame, NotCt, UnreadPixels
from shared.raster import GreySlice, ImageBytes, RasterLimits, SliceError, TooManyPixels, TooSmall, Undecodable
from shared.window import Window

LENGTH = struct.Struct("!Q")
"""Stands before every part of a message."""

CPU_S = 8.0
"""Processor time that one file may take: 4096 x 4096 pixels of JPEG 2000, the costliest there is, take 4 s."""
_PATIENCE_S = 60.0  # a child lives shorter: this is for a machine that stands still
_MAX_ANSWER_BYTES = 4096
_REFUSALS: dict[str, type[SliceError]] = {
    kind.__name__: kind
    for kind in (Localizer, NoPixelData, NoSuchFrame, NotCt, TooManyPixels, TooSmall, Undecodable, UnreadPixels)
}


@dataclass(frozen=True)
class DicomFrame:
    """One frame of a DICOM file: grey uint8 [h, w]; patient: keyed digest of its PatientID, None where it has none."""

    grey: GreySlice
    frames: int
    patient: str | None


class DicomProcess:
    """Decodes DICOM files, in any number of threads at a time, each file in a process of its own."""

    def __init__(self, limits: RasterLimits, patient_key: bytes | None = None, cpu_s: float = CPU_S) -> None:
        self._cpu_s = cpu_s
        self._limits = limits
        self._patient_key = patient_key
        self._lock = threading.Lock()
        self._parent: subprocess.Popen[bytes] | None = None
        self._door: socket.socket | None = None

    def decode(self, body: ImageBytes, window: Window, frame: int) -> DicomFrame:
        """One frame, counted from 1, in a window of Hounsfield units. Raises shared.raster.SliceError."""
        wanted = {
            "window": window.model_dump(),
            "frame": frame,
            "max_pixels": self._limits.max_pixels,
            "min_side": self._limits.min_side,
            "cpu_s": self._cpu_s,
            "patient_key": self._patient_key.hex() if self._patient_key else None,
        }
        try:
            return self._ask(wanted, body)
        except (OSError, EOFError) as error:  # the child is gone without a whole answer
            # reset: nobody read it, as where the parent is on its way out and not yet gone
            if not self._was_ended(patience_s=1.0 if isinstance(error, ConnectionResetError) else 0.0):
                raise Undecodable(GAVE_UP) from error
        try:  # it was not the file: somebody ended all of it
            return self._ask(wanted, body)
        except (OSError, EOFError) as error:
            raise Undecodable(GAVE_UP) from error

    def _ask(self, wanted: dict[str, Any], body: ImageBytes) -> DicomFrame:
        ours, childs = socket.socketpair()
        with ours:
            ours.settimeout(_PATIENCE_S)
            with childs:
                self._hand_over(childs)
            for part in (json.dumps(wanted).encode(), body):
                ours.sendall(LENGTH.pack(len(part)))
                ours.sendall(part)
            answer = json.loads(_receive(ours, _MAX_ANSWER_BYTES))
            if "refused" in answer:
                raise _refusal(answer)
            pixels = _receive(ours, self._limits.max_pixels)
            grey = np.frombuffer(pixels, np.uint8).reshape(answer["height"], answer["width"])
            return DicomFrame(grey, int(answer["frames"]), answer["patient"])

    def _was_ended(self, patience_s: float) -> bool:
        with self._lock, suppress(subprocess.TimeoutExpired):
            return self._parent is not None and self._parent.wait(patience_s) is not None
        return False

    def _hand_over(self, childs: socket.socket) -> None:
        with self._lock:
            if self._door is not None:
                try:
                    socket.send_fds(self._door, [b"!"], [childs.fileno()])
                except OSError:  # the parent was ended by somebody
                    self._end()
                else:
                    return
            self._start()
            socket.send_fds(self._opened(), [b"!"], [childs.fileno()])

    def _opened(self) -> socket.socket:
        if self._door is None:
            raise RuntimeError("the process for DICOM is not running")
        return self._door

    def _start(self) -> None:
        self._door, parents = socket.socketpair()
        with parents:
            self._parent = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [sys.executable, "-m", "shared.dicom_child", str(parents.fileno())],
                env=unthreaded_numpy_environment(),  # a process with threads must not fork
                pass_fds=[parents.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what the codecs say may be of a patient
            )

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


def _refusal(answer: dict[str, Any]) -> SliceError:
    """Only numbers and our own words pass: a file that took its decoder over could say anything."""
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
