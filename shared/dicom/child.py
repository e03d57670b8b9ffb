"""python -m shared.dicom.child: the parent of the processes that decode DICOM files; see shared.dicom.process.

Each child has a file to decode, a limit of processor time, of wall time and of memory, and nothing else to lose. How it
ended is known to its parent alone, which tells whoever sent the file.
"""

import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from shared.child_process import become_expendable, end_with_parent
from shared.dicom.decode import decode_dicom, inflated
from shared.dicom.errors import GAVE_UP, DecoderUnavailable
from shared.dicom.process import ENDED, LENGTH, receive_exactly
from shared.raster.decode import RasterLimits, SliceError, Undecodable
from shared.window import Window

_WALL_S = 30.0
_MEMORY_BYTES = 512 * 1024 * 1024
"""On top of what is mapped already: the libraries and the file."""
_BASE_BYTES, _BYTES_A_BYTE, _BYTES_A_PIXEL = 64 * 1024 * 1024, 4, 24
"""Of it, what a file may take by its own length, and by the pixels that its header announces."""

_BASE_SHARE, _ALL_PIXELS = 1 / 8, 16 * 1024 * 1024
"""Of the processor time, what any file may take, and for how many pixels all of it is there."""

_LARGE_BYTES, _LARGE_PIXELS = 4 * 1024 * 1024, 2 * 1024 * 1024
"""Larger files are decoded one at a time, and smaller ones go first; a slice of 1024 x 1024 pixels is small."""
_TURN_S = 10.0  # longer than this none waits for its turn
_PATIENCE_S, _NICENESS = 0.1, 5  # after so much processor time the others go first


def _serve(door: socket.socket) -> None:
    become_expendable()
    end_with_parent()
    woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only so that it writes there
    turn = os.memfd_create("turn")
    tell: dict[int, int] = {}  # process → where to say how it ended
    poller = select.poll()  # select() knows no file beyond 1023, and the door has the number that the service gave it
    poller.register(door.fileno(), select.POLLIN)
    poller.register(woken, select.POLLIN)
    while True:
        ready = [file for file, _ in poller.poll()]
        if woken in ready:
            os.read(woken, 4096)
            _tell_ends(tell)
        if door.fileno() not in ready:
            continue
        _, files, _, _ = socket.recv_fds(door, 1, 2)
        if not files:  # the door is closed
            return
        connection, end = files
        try:
            process = os.fork()
        except OSError:  # no process is to be had: whoever sent the file sees both closed, and nothing said
            os.close(end)
        else:
            if not process:
                signal.set_wakeup_fd(-1)
                for file in (door.detach(), woken, wakes, end, *tell.values()):
                    os.close(file)
                _answer(socket.socket(fileno=connection), turn)
                os._exit(0)
            tell[process] = end
        os.close(connection)


def _tell_ends(tell: dict[int, int]) -> None:
    with suppress(ChildProcessError):  # none is left
        while True:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            end = tell.pop(process)
            with suppress(OSError):  # nobody listens any more, as after every good answer
                os.write(end, ENDED.pack(os.waitstatus_to_exitcode(status)))
            os.close(end)


def _answer(connection: socket.socket, turn: int) -> None:
    wanted = json.loads(receive_exactly(connection, *LENGTH.unpack(receive_exactly(connection, LENGTH.size))))
    (length,) = LENGTH.unpack(receive_exactly(connection, LENGTH.size))
    _let_others_go_first_after(_PATIENCE_S)
    pixels = b""
    said: dict[str, Any]
    try:
        if length > _LARGE_BYTES:
            _take_turn(turn)
        body = inflated(bytes(receive_exactly(connection, length)), wanted["max_pixels"])
        if len(body) > _LARGE_BYTES >= length:
            _take_turn(turn)
        limits = _Limits(wanted["cpu_s"], len(body))

        def announced(pixels: int) -> None:
            if pixels > _LARGE_PIXELS:
                _take_turn(turn)
            limits.widen(pixels)

        decoded = decode_dicom(
            body,
            Window(**wanted["window"]),
            wanted["frame"],
            RasterLimits(wanted["max_pixels"], wanted["min_side"]),
            bytes.fromhex(wanted["patient_key"]) if wanted["patient_key"] else None,
            announced=announced,
        )
    except SliceError as error:
        said = {"refused": type(error).__name__, "arguments": error.arguments}
    except MemoryError:
        said = {"refused": Undecodable.__name__, "arguments": [GAVE_UP]}
    except DecoderUnavailable:
        said = {"busy": True}
    else:
        height, width = decoded.grey.shape
        said = {"height": height, "width": width, "frames": decoded.frames, "patient": decoded.patient}
        said["tags"] = decoded.tags.model_dump()
        pixels = decoded.grey.tobytes()
    for part in (json.dumps(said).encode(), pixels):
        connection.sendall(LENGTH.pack(len(part)))
        connection.sendall(part)


def _take_turn(turn: int) -> None:
    """Wait until no other large file is decoded; until the end of this process none is. Raises DecoderUnavailable."""
    _give_way()
    end = time.monotonic() + _TURN_S
    while True:
        try:
            fcntl.lockf(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            if time.monotonic() > end:
                raise DecoderUnavailable from None
            time.sleep(0.01)
        else:
            return


def _give_way() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


def _let_others_go_first_after(cpu_s: float) -> None:
    signal.signal(signal.SIGVTALRM, lambda *_: _give_way())
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)


class _Limits:
    """The system itself ends what goes beyond, also inside a codec. First only as much as a header may take."""

    def __init__(self, cpu_s: float, length: int) -> None:
        self._cpu_s = cpu_s
        self._length = length
        self._mapped = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        signal.setitimer(signal.ITIMER_REAL, _WALL_S)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not leave a patient's data on the disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        self.widen(0)

    def widen(self, pixels: int) -> None:
        """As much as so many pixels may take."""
        signal.setitimer(signal.ITIMER_PROF, self._cpu_s * min(1.0, _BASE_SHARE + pixels / _ALL_PIXELS))
        most = self._mapped + _MEMORY_BYTES
        memory = self._mapped + _BASE_BYTES + _BYTES_A_BYTE * self._length + _BYTES_A_PIXEL * pixels
        resource.setrlimit(resource.RLIMIT_AS, (min(most, memory), most))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _serve(socket.socket(fileno=int(sys.argv[1])))
