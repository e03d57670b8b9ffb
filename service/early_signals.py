"""A signal that comes before there is a server to drain.

Nothing that takes long is imported here: a container's first process ignores a signal that it has no handler for.
"""

import signal
from types import FrameType


class EarlySignals:
    """Takes SIGTERM and SIGINT until the server does; raised, an exception could be lost in the middle of an import."""

    def __init__(self) -> None:
        self.came = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - what a handler is called with
        self.came = True
