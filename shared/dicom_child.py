"""python -m shared.dicom_child: the parent of the processes that decode DICOM files; see shared.dicom_process.

Each child has a file to decode, a limit of processor time, of wall time and of memory, and nothing else to lose.
"""

import json
import os
import resource
import signal
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

from shared.dicom import decode_dicom
from shared.dicom_errors import GAVE_UP
from shared.dicom_process import LENGTH, receive_exactly
from shared.raster import RasterLimits, SliceError, Undecodable
from shared.window import Window

_WALL_S = 30.0
_MEMORY_BYTES = 512 * 1024 * 1024
"""On top of what is mapped already: the libraries and the file."""


def _serve(door: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children: the system clears them away
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that we work for; we end with it
    Path("/proc/self/oom_score_adj").write_text("1000")  # where memory runs out, this is what can be spared
    while True:
        _, files, _, _ = socket.recv_fds(door, 1, 1)
        if not files:  # the door is closed
            return
        if not os.fork():
            door.close()
            _answer(socket.socket(fileno=files[0]))
            os._exit(0)
        os.close(files[0])


def _answer(connection: socket.socket) -> None:
    wanted = json.loads(_receive(connection))
    body = _receive(connection)
    _limit_this_process(wanted["cpu_s"])
    pixels = b""
    said: dict[str, Any]
    try:
        decoded = decode_dicom(
            body,
            Window(**wanted["window"]),
            wanted["frame"],
            RasterLimits(wanted["max_pixels"], wanted["min_side"]),
            bytes.fromhex(wanted["patient_key"]) if wanted["patient_key"] else None,
        )
    except SliceError as error:
        said = {"refused": type(error).__name__, "arguments": error.arguments}
    except MemoryError:
        said = {"refused": Undecodable.__name__, "arguments": [GAVE_UP]}
    else:
        height, width = decoded.grey.shape
        said = {"height": height, "width": width, "frames": decoded.frames, "patient": decoded.patient}
        pixels = decoded.grey.tobytes()
    for part in (json.dumps(said).encode(), pixels):
        connection.sendall(LENGTH.pack(len(part)))
        connection.sendall(part)


def _limit_this_process(cpu_s: float) -> None:
    """The system itself ends what goes beyond, also inside a codec."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, _WALL_S)
    mapped = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + _MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not leave a patient's data on the disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _receive(connection: socket.socket) -> bytes:
    (length,) = LENGTH.unpack(receive_exactly(connection, LENGTH.size))
    return bytes(receive_exactly(connection, length))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _serve(socket.socket(fileno=int(sys.argv[1])))
