"""The child process in which a version is tried: started ahead, because its imports take as long as the service's own.

Nothing that takes long is imported here: this is the first that the service starts.
"""

import os
import subprocess
import sys
from contextlib import suppress

from shared.child_process import child_environment


class Ended(Exception):
    """It was ended by end() while it worked: the service does not want its verdict any more."""


class TrialProcess:
    """Waits for one task; see service.model.trial_worker for what it does with it."""

    def __init__(self, engine: str) -> None:
        """Start it, and have it import that engine while it waits. Raises OSError."""
        # nobody else has the other end: it closes when this process ends, however it ends, and the child goes with it
        stdin, lifeline = os.pipe()
        self._lifeline: int | None = lifeline
        self._is_at_work = False
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [sys.executable, "-m", "service.model.trial_worker", engine],
                env=child_environment(),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError:
            os.close(lifeline)
            raise
        finally:
            os.close(stdin)

    @property
    def is_alive(self) -> bool:
        """It has not ended: neither after its task nor for want of one."""
        return self._child.poll() is None

    def run(self, task: str, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        """Give it its task, one line, and wait for its end.

        Raises Ended, or subprocess.TimeoutExpired after timeout_s.
        """
        self._is_at_work = True
        with self._child:  # closes its pipes
            try:
                if self._lifeline is not None:
                    with suppress(BrokenPipeError):  # it has ended: its exit code says more
                        os.write(self._lifeline, task.encode() + b"\n")
                stdout, stderr = self._child.communicate(timeout=timeout_s)
                if self._lifeline is None:
                    raise Ended
            finally:
                self.end()
        return subprocess.CompletedProcess(self._child.args, self._child.returncode, stdout, stderr)

    def end(self) -> None:
        """End it, whatever it does; also from another thread than the one that waits in run()."""
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)
            self._child.kill()
            self._child.wait()
            if not self._is_at_work:
                self._child.__exit__(None, None, None)  # closes its pipes
