"""Prepares a version in a child process: one that crashes or hangs its loader never takes the service with it."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

from service.serving_model import LoadOptions, prepare_model
from shared.artifact import ArtifactError

log = logging.getLogger("lungct.trial_load")

_BAD_CONTENT_EXIT = 3
_TROUBLE_EXIT = 4
_NICENESS = 10


class TrialFailed(Exception):
    """The trial ended without a verdict on the content: it crashed, hung or could not read. Another may pass."""


def trial_load(version_dir: Path, options: LoadOptions, folder: Path, timeout_s: float) -> LoadOptions:
    """Have a child process of low priority verify, convert and prove the version; see serving_model.prepare_model().

    Most of the work of a load is done there, where it takes no time from requests. Raises ArtifactError where the
    content is bad, TrialFailed where the child crashed or took longer than timeout_s.
    """
    arguments = json.dumps([str(version_dir), asdict(options), str(folder)])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    stdin, lifeline = os.pipe()  # closed when this process ends, however it ends: the child goes with it
    try:
        child = subprocess.run(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", "service.trial_load", arguments],
            env=environment, stdin=stdin, capture_output=True, timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TrialFailed(f"a trial load took longer than {timeout_s:g} s") from error
    finally:
        os.close(stdin)
        os.close(lifeline)
    said = child.stdout.decode("utf-8", "replace").strip()
    if child.returncode == _BAD_CONTENT_EXIT:
        raise ArtifactError(said)
    if child.returncode == _TROUBLE_EXIT:
        raise TrialFailed(f"a trial load failed: {said}")
    if child.returncode:
        last_words = child.stderr.decode("utf-8", "replace").strip().splitlines()[-5:]
        log.error("trial load broke", extra={"exit_code": child.returncode, "last_words": last_words})
    if child.returncode < 0:
        raise TrialFailed(f"a trial load was ended by signal {-child.returncode}")
    if child.returncode:
        raise TrialFailed(f"a trial load ended with exit code {child.returncode}")
    return replace(options, **json.loads(said))


def _main() -> int:
    version_dir, options, folder = json.loads(sys.argv[1])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(_NICENESS)  # serving comes first
    with contextlib.suppress(OSError):  # also where memory runs out: of all in the container this process ends
        Path("/proc/self/oom_score_adj").write_text("1000")
    try:
        proven = prepare_model(Path(version_dir), LoadOptions(**options), Path(folder))
    except ArtifactError as error:
        sys.stdout.write(str(error))
        return _BAD_CONTENT_EXIT
    except (OSError, MemoryError) as error:
        sys.stdout.write((isinstance(error, OSError) and error.strerror) or type(error).__name__)
        return _TROUBLE_EXIT
    sys.stdout.write(json.dumps(asdict(proven)))
    return 0


def _end_with_parent() -> None:
    """Standard input is a pipe that nobody writes to: it ends when the service does."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    # nothing of the engine is torn down in order: the verdict is known, and a crash in a destructor would change it
    verdict = _main()
    sys.stdout.flush()
    os._exit(verdict)
