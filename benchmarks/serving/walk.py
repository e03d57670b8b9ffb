"""The way of one prediction through the service: every function of ours that it calls, in order.

    python -m benchmarks.serving.walk [--version models/lung-ct/1]

One slice is posted to the application, in this process and through all of its middleware, once a model serves. A
profile hook in every thread writes down each call once, from the fast path to the answer; what the service stands on
(errors, logging, metrics, schemas, settings, memory) and shared/ are left out. Exit code 1 where there are more than 25
functions or 16 files, or where the way in, which ends in the engine, enters a file twice.
"""

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import service
from benchmarks.load.model import publish_networks
from benchmarks.load.slices import find_workload
from service.app import build_state, create_app
from service.metrics import Metrics
from service.model.loader import watch_models
from service.settings import ServiceSettings

MAX_FUNCTIONS, MAX_FILES = 25, 16
_HOUSE = Path(service.__file__).parent
_GROUND = {"errors", "logging_config", "memory", "metrics", "schemas", "scratch", "settings"}
_FIRST = "api/fast_path.py"

Step = tuple[str, str]
"""File in service/, function."""


class Walk:
    """Writes down calls while it is told to."""

    def __init__(self) -> None:
        self.is_on = False
        self._seen: dict[int, FrameType] = {}
        self._steps: list[Step] = []

    def hook(self, frame: FrameType, event: str, _: Any) -> None:
        """What sys.setprofile() takes."""
        if not self.is_on or event != "call" or id(frame) in self._seen:
            return  # a coroutine that goes on is called again
        path = Path(frame.f_code.co_filename)
        if _HOUSE in path.parents and path.stem not in _GROUND and not frame.f_code.co_name.endswith("comp>"):
            self._seen[id(frame)] = frame  # kept, so that no other frame gets its number
            self._steps.append((path.relative_to(_HOUSE).as_posix(), frame.f_code.co_qualname))

    def steps(self) -> list[Step]:
        """From the fast path to the answer."""
        files = [file for file, _ in self._steps]
        last = max(number for number, file in enumerate(files) if file.startswith("answers/"))
        return self._steps[files.index(_FIRST) : last + 1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk, print each step, return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.walk",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", type=Path, metavar="DIR", help="a published version (default: a new untrained one)"
    )
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="lungct-walk-") as folder:
        workload, slices = find_workload(), Path(folder) / "slices"
        workload.write(slices)
        version = args.version or publish_networks(Path(folder) / "models", slices, 1, "tiny").versions[0]
        steps = walked(version.parent.parent, workload.jpegs[0])
    for file, functions in groupby(steps, key=lambda step: step[0]):
        print(f"{file}: {', '.join(name for _, name in functions)}")
    files = {file for file, _ in steps}
    entered = [file for file, _ in groupby(steps, key=lambda step: step[0])]
    way_in = entered[: next(number for number, file in enumerate(entered) if file.startswith("engines/"))]
    again = len(way_in) - len(set(way_in))
    print(f"{len(steps)} functions in {len(files)} files; the way in enters {again} of them again")
    return int(len(steps) > MAX_FUNCTIONS or len(files) > MAX_FILES or again > 0)


def walked(repository: Path, slice_: bytes) -> list[Step]:
    """The steps of one prediction with the newest version of a repository, after one that is not looked at."""
    walk = Walk()
    threading.setprofile(walk.hook)
    try:
        settings, metrics = ServiceSettings(model_repository=repository), Metrics()
        reload = watch_models(settings, metrics)
        reload.start()
        while reload.serving is None:
            time.sleep(0.05)
        state = build_state(settings, metrics, reload)
        app = create_app(state)
        asyncio.run(_ask(app, slice_, None))
        while state.intake.budget.held:  # its thread may still be about to let go
            time.sleep(0.01)
        asyncio.run(_ask(app, slice_, walk))
        reload.stop()
    finally:
        threading.setprofile(None)
    return walk.steps()


async def _ask(app: Any, slice_: bytes, walk: Walk | None) -> None:
    messages = iter([{"type": "http.request", "body": slice_, "more_body": False}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if (message := next(messages, None)) is None:
            await asyncio.Event().wait()
        return message or {}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": [], "root_path": "",
        "scheme": "http", "server": ("x", 80), "http_version": "1.1",
    }  # fmt: skip
    with _watched(walk):
        await app(scope, receive, send)
    if sent[0]["status"] != 200:
        raise RuntimeError(f"expected a prediction, got {sent}")


@contextmanager
def _watched(walk: Walk | None) -> Iterator[None]:
    if walk is None:
        yield
        return
    walk.is_on = True
    sys.setprofile(walk.hook)
    try:
        yield
    finally:
        sys.setprofile(None)
        walk.is_on = False


if __name__ == "__main__":
    sys.exit(main())
