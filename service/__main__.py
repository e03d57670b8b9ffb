"""python -m service: serve until SIGTERM, then drain and exit 0. make-key and verify-ledger: what operators need.

Imports stand where they are needed: FastAPI, NumPy and OpenVINO take a second, in which the first model could load.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

from service.early_signals import EarlySignals
from service.model.trial_process import TrialProcess

_VERBS, _QUESTIONS = ("make-key", "verify-ledger"), ("--version", "--help", "-h")


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say, and return the exit code."""
    if (arguments and arguments[0] in _VERBS) or not set(_QUESTIONS).isdisjoint(arguments):
        from service.cli import operate

        return operate(arguments)
    early, ahead = EarlySignals(), None
    with suppress(OSError):  # no memory, no process: a trial is begun again, when there is a version
        ahead = TrialProcess(_engine(arguments))  # a wrong guess costs an import, no more
    try:
        from service.cli import parse
        from service.startup import serve

        return serve(ahead, early, given=vars(parse(arguments)))
    except SystemExit:  # the arguments mean nothing
        if ahead is not None:
            ahead.end()
        raise


def _engine(arguments: Sequence[str]) -> str:
    """Guessed before there is a parser, which takes a quarter of a second to import."""
    words = " ".join(arguments).replace("=", " ").split()
    return dict(pairwise(words)).get("--engine") or os.environ.get("LUNGCT_ENGINE", "openvino")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
