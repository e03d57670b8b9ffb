"""The child process in which a version is tried: started ahead, because its imports take as long as the service's own.

Nothing that takes long is imported here: this is the first that the service starts.
"""

import os
import subprocess
from contextlib import suppress

from shared.child_process import Child


class TrialFailed(Exception):
    """The trial ended without a verdict on the content: it crashed, hung or could not read. Another may pass."""


class MachineTrouble(TrialFailed):
    """Room on a disk, files or threads of this machine are what is lacking: found early, and worth another try soon."""


class TrialProcess:
    """Waits for one task; see service.model.trial_worker for what it does with it."""

    def __init__(self, engine: str) -> None:
        """Start it, and have it import that engine while it waits. Raises OSError."""
        self._child = Child("service.model.trial_worker", engine, output=subprocess.PIPE)
        self._is_at_work = False

    @property
    def is_alive(self) -> bool:
        """It has not ended: neither after its task nor for want of one."""
        return self._child.poll() is None

    def run(self, task: str, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        """Give it its task, one line, and wait for its end. Raises TrialFailed after timeout_s, or where end() came."""
        self._is_at_work = True
        with self._child:  # closes its pipes
            try:
                if self._child.lifeline is not None:
                    with suppress(BrokenPipeError):  # it has ended: its exit code says more
                        os.write(self._child.lifeline, task.encode() + b"\n")
                stdout, stderr = self._child.communicate(timeout=timeout_s)
                if self._child.lifeline is None:
                    raise TrialFailed("a trial load was ended with the service")
            except subprocess.TimeoutExpired as error:
                raise TrialFailed(f"a trial load took longer than {timeout_s:g} s") from error
            finally:
                self.end()
        return subprocess.CompletedProcess(self._child.args, self._child.returncode, stdout, stderr)

    def end(self) -> None:
        """End it, whatever it does; also from another thread than the one that waits in run()."""
        self._child.kill()
        self._child.wait()
        if not self._is_at_work:
            self._child.__exit__(None, None, None)  # closes its pipes
