"""Prepares a version in a child process: one that crashes or hangs its loader never takes the service with it."""

import contextlib
import json
import logging
import os
import select
import sys
import traceback
from pathlib import Path

from pydantic import TypeAdapter

from service.model.serving_model import LoadOptions, import_engine
from service.model.trial import prepare_model
from service.model.trial_process import MachineTrouble, TrialFailed, TrialProcess
from shared.artifact import ArtifactError
from shared.child_process import become_expendable, end_with_parent

log = logging.getLogger("lungct.trial_load")

_OPTIONS = TypeAdapter(LoadOptions)

_BAD_CONTENT_EXIT = 3
_TROUBLE_EXIT = 4
_NO_TASK_EXIT = 5
_COSTLY_EXIT = 6
_NICENESS = 10
_LAST_WORDS = 20  # lines
_PATIENCE_S = 30.0
"""So long a process that was started ahead waits for a version: it has 0.1 GB."""


def trial_load(
    process: TrialProcess, version_dir: Path, options: LoadOptions, folder: Path, timeout_s: float
) -> LoadOptions:
    """Have that process, of low priority, verify, convert and prove the version; see service.model.trial.

    Most of the work of a load is done there, where it takes no time from requests. Says in the log why variants that
    may serve do not. Raises ArtifactError where the
    content is bad, MachineTrouble where the machine lacks room, files or threads, TrialFailed where the child crashed,
    had not enough memory or took longer than timeout_s.
    """
    task = [str(version_dir), _OPTIONS.dump_python(options), str(folder)]
    child = process.run(json.dumps(task), timeout_s)
    said, code = child.stdout.decode("utf-8", "replace").strip(), child.returncode
    if not code:
        proven = _OPTIONS.validate_json(said)
        for variant, reason in proven.passed_over.items():
            extra = {"model_version": int(version_dir.name), "variant": variant, "reason": reason}
            log.warning("variant not served", extra=extra)
        return proven
    is_told = code == _BAD_CONTENT_EXIT and b"Traceback" not in child.stderr
    if not is_told and (child.stderr or code < 0):
        last_words = child.stderr.decode("utf-8", "replace").strip().splitlines()[-_LAST_WORDS:]
        log.error("trial load broke", extra={"exit_code": code, "last_words": last_words})
    if code == _BAD_CONTENT_EXIT:
        raise ArtifactError(said)
    if code == _TROUBLE_EXIT:
        raise MachineTrouble(f"a trial load failed: {said}")
    ended = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    known = {_COSTLY_EXIT: f"failed: {said}", _NO_TASK_EXIT: "was asked for too late"}
    raise TrialFailed(f"a trial load {known.get(code, ended)}")


def _main() -> int:
    become_expendable(_NICENESS)  # serving comes first
    with contextlib.suppress(ImportError):  # of an engine that is not there, the service says so itself
        import_engine(sys.argv[1])
    task = _next_line(_PATIENCE_S)
    if not task:
        return _NO_TASK_EXIT
    version_dir, options, folder = json.loads(task)
    end_with_parent()
    try:
        proven = prepare_model(Path(version_dir), _OPTIONS.validate_python(options), Path(folder))
    except ArtifactError as error:
        sys.stdout.write(str(error))
        return _BAD_CONTENT_EXIT
    except OSError as error:
        sys.stdout.write(error.strerror or type(error).__name__)
        return _TROUBLE_EXIT
    except (MemoryError, ImportError) as error:  # perhaps after much work: not to be tried in vain every second
        sys.stdout.write(type(error).__name__)
        return _COSTLY_EXIT
    except Exception as error:  # nobody foresaw it, and the same bytes would bring it again
        traceback.print_exc()
        sys.stdout.write(f"loading it breaks with {type(error).__name__}")
        return _BAD_CONTENT_EXIT
    sys.stdout.write(_OPTIONS.dump_json(proven).decode())
    return 0


def _next_line(patience_s: float) -> bytes:
    """Of standard input; nothing where none comes in that time, or the service ends."""
    is_there, _, _ = select.select([sys.stdin.buffer], [], [], patience_s)
    return sys.stdin.buffer.readline() if is_there else b""


if __name__ == "__main__":
    # nothing of the engine is torn down in order: the verdict is known, and a crash in a destructor would change it
    try:
        verdict = _main()
    except Exception:  # of our own: not a word about the version
        traceback.print_exc()
        verdict = 1
    sys.stdout.flush()
    os._exit(verdict)
