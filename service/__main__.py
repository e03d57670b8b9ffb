"""python -m service: serve until SIGTERM, then drain and exit 0. make-key and verify-ledger: what operators need.

Imports stand where they are needed: FastAPI, NumPy and OpenVINO take a second, in which the first model could load.
"""

import argparse
import os
import sys
from contextlib import suppress

from service.early_end import EarlyEnd
from service.trial_process import TrialProcess


def main() -> int:
    """Do what the arguments say, and return the exit code."""
    args = _parse_arguments()
    if args.verb == "make-key":
        from service.operators import print_key

        return print_key(args)
    if args.verb == "verify-ledger":
        from service.operators import verify_ledger

        return verify_ledger(args)
    return _serve()


def _serve() -> int:
    end, ahead = EarlyEnd(), None
    with suppress(OSError):  # no memory, no process: a trial is begun again, when there is a version
        ahead = TrialProcess(os.environ.get("LUNGCT_ENGINE", "openvino"))  # a wrong guess costs an import, no more
    from service.start import serve

    return serve(ahead, end)


class _Parser(argparse.ArgumentParser):
    """Lists the settings, where somebody asks for help."""

    def format_help(self) -> str:
        from service.settings import ServiceSettings

        lines = ["Settings of the service are environment variables:"]
        for name, field in ServiceSettings.model_fields.items():
            default = ",".join(sorted(field.default)) if isinstance(field.default, frozenset) else field.default
            lines.append(f"  LUNGCT_{name.upper()}\n      {field.description} Default: {default or repr('')}")
        self.epilog = "\n".join(lines)
        return super().format_help()


def _parse_arguments() -> argparse.Namespace:
    parser = _Parser(
        prog="python -m service",
        description="Serve the newest valid model of a repository over HTTP; or, with a verb, do what operators need.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(
        dest="verb", metavar="{serve,make-key,verify-ledger}", parser_class=argparse.ArgumentParser
    )
    verbs.add_parser("serve", help="serve until SIGTERM; the same as no verb")
    key = verbs.add_parser(
        "make-key",
        help="make a key for a caller",
        description="Make a key. Its line, with the hash only, goes to standard output, so `>> keys.txt` adds it to "
        "the file of LUNGCT_API_KEYS_FILE; the key itself goes to standard error and is shown only this once.",
    )
    key.add_argument("name", help="what log, metrics and ledger call the caller; letters, digits, '.', '_', '-'")
    key.add_argument(
        "--limit", metavar="COUNT/SECONDS", help="most slices in a time, such as 600/60 (default: no limit)"
    )
    verify = verbs.add_parser(
        "verify-ledger",
        help="find what was changed, removed or moved in a ledger",
        description="Follow the chain through all files of a ledger. Exit code 0: whole; 1: not; 2: nothing to verify.",
    )
    verify.add_argument("folder", nargs="?", help="the ledger's folder (default: LUNGCT_LEDGER_DIR)")
    verify.add_argument(
        "--anchor",
        metavar="SEQ:HASH",
        action="append",
        default=[],
        help="a line that must be there, from the service's log (`ledger anchor`): the chain alone does not show that "
        "its end was cut off, or all of it written anew; may be given several times",
    )
    verify.add_argument("--part", action="store_true", help="older files were moved away: let it begin anywhere")
    verify.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
