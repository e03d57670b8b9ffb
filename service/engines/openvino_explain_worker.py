"""Explanations are computed in a process of their own, which gets the cores that predictions leave.

It starts with the first explanation of a version and ends when a minute passed without another: predictions then have
all memory again. In one process with them it could not be kept out of their way: it would share the interpreter, and
whoever waits for a thread of low priority waits long.
"""

import json
import logging
import os
import struct
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from errno import EAGAIN
from multiprocessing.connection import Connection
from pathlib import Path
from socket import SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET, socketpair
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from service.engines.openvino_conversion import EXPLAIN_FILE
from service.memory import trim_heap
from shared.artifact import INPUT_NAME
from shared.child_process import Child, become_expendable, end_with_parent

log = logging.getLogger("lungct.explain_worker")

Arrays = dict[str, NDArray[np.float32]]

_ANSWER_S = 60  # a busy machine gives explanations little time; what takes longer than this hangs
_IDLE_S = 60.0


class ExplainWorker:
    """The model for explanations, as convert() left it in a folder, which need not outlive this constructor.

    One call at a time. The process goes with this object, and with the process that holds it.
    """

    def __init__(self, folder: Path, outputs: Sequence[str], hints: Mapping[str, object], *, idle_s: float = _IDLE_S):
        """outputs: what is wanted of the model, where it has it. hints: for OpenVINO."""
        self._task = {"outputs": list(outputs), "hints": dict(hints), "idle_s": idle_s}
        self._files = [os.open((folder / EXPLAIN_FILE).with_suffix(end), os.O_RDONLY) for end in (".xml", ".bin")]
        # not at the end of the interpreter, when a thread may still ask: all of it ends with this process anyway
        weakref.finalize(self, _close_all, self._files).atexit = False
        self._child: tuple[Connection, Child] | None = None
        self._end: weakref.finalize[Any, Any] | None = None

    def infer(self, images: NDArray[np.uint8]) -> Arrays:
        """uint8 [B, H, W, 1] → outputs by name.

        Raises RuntimeError where the model cannot be computed, OSError where no process lives to answer.
        """
        for _ in range(2):  # the first may have ended just now, because nobody asked, or by somebody's hand
            connection = self._connection()
            try:
                connection.send(images)
                is_there = connection.poll(_ANSWER_S)
                answer: Arrays | str = connection.recv() if is_there else f"no explanation within {_ANSWER_S} s"
            except (OSError, EOFError) as error:
                self.close()
                log.warning("explanations' process ended", extra={"reason": str(error) or type(error).__name__})
                continue
            if not is_there:
                self.close()
            if isinstance(answer, str):
                raise RuntimeError(answer)  # noqa: TRY004 - what the process says of it
            return answer
        raise ConnectionResetError("the process for explanations ended twice")

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._child[1].pid if self._child and self._child[1].poll() is None else None

    def close(self) -> None:
        """End the process; it starts again when needed."""
        if self._end is not None:
            self._end()
        self._child = self._end = None

    def _connection(self) -> Connection:
        child = self._child
        if child is None or child[1].poll() is not None:
            self.close()
            self._child = child = self._start()
            self._end = weakref.finalize(self, _end, *child)
            self._end.atexit = False
        return child[0]

    def _start(self) -> tuple[Connection, Child]:
        with ExitStack() as ours:
            mine, childs = (ours.enter_context(end) for end in socketpair())
            for limit in (SO_RCVTIMEO, SO_SNDTIMEO):  # one that is stopped midway keeps nobody for ever
                mine.setsockopt(SOL_SOCKET, limit, struct.pack("ll", _ANSWER_S, 0))
            task = {**self._task, "files": self._files, "connection": childs.fileno()}
            module, files = "service.engines.openvino_explain_worker", [childs.fileno(), *self._files]
            child = Child(module, json.dumps(task), files=files)  # unheard: the log is lines of JSON
            # somebody has to wait for its end, and the event loop, where a model may be let go, cannot
            try:
                threading.Thread(target=child.wait, name="explain-end", daemon=True).start()
            except RuntimeError as error:
                child.kill()
                child.wait()
                raise BlockingIOError(EAGAIN, "no more threads can be started") from error
            return Connection(mine.detach()), child


def ports_of(compiled: openvino.CompiledModel, wanted: Sequence[str]) -> dict[str, openvino.ConstOutput]:
    """Where a compiled model gives what is read of it."""
    named = {name for port in compiled.outputs for name in port.get_names()}
    return {name: compiled.output(name) for name in wanted if name in named}


def _end(connection: Connection, child: Child) -> None:
    connection.close()
    child.kill()


def _close_all(files: Sequence[int]) -> None:
    for file in files:
        os.close(file)


# --- the process ------------------------------------------------------------------------------------------------------


def _main() -> None:
    task = json.loads(sys.argv[1])
    become_expendable()
    end_with_parent()
    if sys.platform == "linux":
        for thread in Path("/proc/self/task").iterdir():  # importing started some; they hand it on to those they start
            with suppress(OSError):  # it has ended, or this system has no such policy
                os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))
    connection = Connection(task["connection"])
    with suppress(OSError, EOFError):  # nobody is at the other end any more
        _serve(connection, task)


def _serve(connection: Connection, task: Mapping[str, Any]) -> None:
    answer: Arrays | str
    request: openvino.InferRequest | None = None
    ports: dict[str, openvino.ConstOutput] = {}
    while connection.poll(task["idle_s"]):
        images = connection.recv()
        try:
            if request is None:
                request, ports = _compile(task)
                request.infer({INPUT_NAME: images[:1]})
                trim_heap()  # what compiling left
            request.infer({INPUT_NAME: images}, share_inputs=True)
            answer = {name: np.array(request.get_tensor(port).data, np.float32) for name, port in ports.items()}
        except RuntimeError as error:
            lines = str(error).split("\n")  # the first ones name lines of OpenVINO's source
            answer = next((line for line in reversed(lines) if line.strip()), type(error).__name__)
        connection.send(answer)


def _compile(task: Mapping[str, Any]) -> tuple[openvino.InferRequest, dict[str, openvino.ConstOutput]]:
    structure, weights = (f"/dev/fd/{file}" for file in task["files"])  # their folder may be gone
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(structure, weights), "CPU", task["hints"])
    return compiled.create_infer_request(), ports_of(compiled, task["outputs"])


if __name__ == "__main__":
    _main()
    os._exit(0)  # nothing of the engine is torn down in order
