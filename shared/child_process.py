"""Modules of ours as processes: how they start, what they give up for others, and that they end with their parent.

Nothing that takes long is imported here: the service starts its first child before all else.
"""

import fcntl
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


class Child(subprocess.Popen[bytes]):
    """python -m module, which finds what its parent finds, and in which NumPy starts no threads.

    Its standard input is a pipe whose other end is `lifeline`: that closes when this process ends, however it ends.
    """

    lifeline: int | None = None

    def __init__(
        self, module: str, *arguments: str, files: Sequence[int] = (), output: int = subprocess.DEVNULL
    ) -> None:
        """files: that stay open in it. output: where both its outputs go, as for Popen. Raises OSError."""
        paths = os.pathsep.join(path or "." for path in sys.path)
        stdin, lifeline = os.pipe()
        try:
            super().__init__(
                [sys.executable, "-m", module, *arguments],
                env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
                pass_fds=files,
                stdin=stdin,
                stdout=output,
                stderr=output,
            )
        except OSError:
            os.close(lifeline)
            raise
        finally:
            os.close(stdin)
        self.lifeline = lifeline

    def kill(self) -> None:
        """End it, whatever it does; also from another thread than the one that waits for it."""
        lifeline = vars(self).pop("lifeline", None)  # in one step: another thread may do the same now
        if lifeline is not None:
            os.close(lifeline)
        super().kill()


def become_expendable(niceness: int = 0) -> None:
    """What a child does first: let others have the cores, and be what the system ends where memory runs out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that we work for; we end with it
    os.nice(niceness)
    with suppress(OSError):  # another system has no such file
        Path("/proc/self/oom_score_adj").write_text("1000")


def end_with_parent() -> None:
    """From now on the system ends this process when its parent ends, whatever it does then; it needs no thread.

    Nothing may come on standard input any more. Systems other than Linux do not do it.
    """
    if sys.platform == "linux":
        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # it ended before
        os._exit(1)
