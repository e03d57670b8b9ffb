"""python -m service: serve until SIGTERM, then drain and exit 0. make-key and verify-ledger: what operators need.

Imports stand where they are needed: FastAPI, NumPy and OpenVINO take a second, in which the first model could load.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

from service.early_end import EarlyEnd
from service.model.trial_process import TrialProcess

_NOT_TO_SERVE = ("make-key", "verify-ledger", "--version", "--help", "-h")


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say, and return the exit code."""
    if not set(_NOT_TO_SERVE).isdisjoint(arguments):
        return _do(arguments, None)
    end, ahead = EarlyEnd(), None
    with suppress(OSError):  # no memory, no process: a trial is begun again, when there is a version
        ahead = TrialProcess(_engine(arguments))  # a wrong guess costs an import, no more
    try:
        return _do(arguments, end, ahead)
    except SystemExit:  # the arguments mean nothing
        if ahead is not None:
            ahead.end()
        raise


def _engine(arguments: Sequence[str]) -> str:
    """Guessed before there is a parser, which takes a quarter of a second to import."""
    words = " ".join(arguments).replace("=", " ").split()
    return dict(pairwise(words)).get("--engine") or os.environ.get("LUNGCT_ENGINE", "openvino")


def _do(arguments: Sequence[str], end: EarlyEnd | None, ahead: TrialProcess | None = None) -> int:
    from service.command_line import parse

    args = parse(arguments)
    if args.verb == "make-key":
        from service.cli import print_key

        return print_key(args)
    if args.verb == "verify-ledger":
        from service.cli import verify_ledger

        return verify_ledger(args)
    from service.startup import serve

    return serve(ahead, end or EarlyEnd(), given=vars(args))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
