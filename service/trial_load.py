"""Loads a version in a child process first: one that crashes or hangs its loader never takes the service with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from service.serving_model import EngineName, load_model
from shared.artifact import ArtifactError

_BAD_CONTENT_EXIT = 3
_NICENESS = 10


class TrialFailed(Exception):
    """The trial ended without a verdict on the content: it crashed, hung or lacked memory. It may pass another time."""


def trial_load(version_dir: Path, engine: EngineName, threads: int, max_batch_size: int, timeout_s: float) -> None:
    """Load the version in a child process of low priority.

    Raises ArtifactError where the content is bad, TrialFailed where the child crashed or took longer than timeout_s.
    """
    arguments = json.dumps([str(version_dir), engine, threads, max_batch_size])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    try:
        child = subprocess.run(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", "service.trial_load", arguments],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TrialFailed(f"a trial load took longer than {timeout_s:g} s") from error
    if child.returncode == _BAD_CONTENT_EXIT:
        raise ArtifactError(child.stdout.decode("utf-8", "replace").strip())
    if child.returncode < 0:
        raise TrialFailed(f"a trial load was ended by signal {-child.returncode}")
    if child.returncode:
        raise TrialFailed(f"a trial load ended with exit code {child.returncode}")


def _main() -> int:
    version_dir, engine, threads, max_batch_size = json.loads(sys.argv[1])
    os.nice(_NICENESS)  # serving comes first
    try:
        load_model(Path(version_dir), engine, threads, max_batch_size)
    except ArtifactError as error:
        sys.stdout.write(str(error))
        return _BAD_CONTENT_EXIT
    return 0


if __name__ == "__main__":
    # nothing of the engine is torn down in order: the verdict is known, and a crash in a destructor would change it
    verdict = _main()
    sys.stdout.flush()
    os._exit(verdict)
