"""The child process in which a version is tried: started ahead, because its imports take as long as the service's own.

Nothing that takes long is imported here: this is the first that the service starts.
"""

import os
import subprocess
import sys

from shared.child_process import child_environment


class TrialProcess:
    """Waits for one task; see service.trial_load for what it does with it."""

    def __init__(self, engine: str) -> None:
        """Start it, and have it import that engine while it waits."""
        # nobody else has the other end: it closes when this process ends, however it ends, and the child goes with it
        stdin, self._lifeline = os.pipe()
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [sys.executable, "-m", "service.trial_load", engine],
                env=child_environment(),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        finally:
            os.close(stdin)

    @property
    def is_waiting(self) -> bool:
        """It still takes a task: after a while without one it ends."""
        return self._child.poll() is None

    def run(self, task: str, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        """Give it its task, one line, and wait for its end.

        Raises BrokenPipeError where it has ended before, subprocess.TimeoutExpired after timeout_s.
        """
        try:
            os.write(self._lifeline, task.encode() + b"\n")
            stdout, stderr = self._child.communicate(timeout=timeout_s)
        finally:
            self.end()
        return subprocess.CompletedProcess(self._child.args, self._child.returncode, stdout, stderr)

    def end(self) -> None:
        """End it, whatever it does."""
        os.close(self._lifeline)
        self._child.kill()
        self._child.communicate()
