"""What may be typed after `python -m service`, and what operators do beside serving: make a key, check a ledger.

Options that are settings are drawn from their fields.
"""

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic.fields import FieldInfo

from service.auth.api_keys import key_line, make_key
from service.auth.rate_limit import Limit
from service.ledger.chain import Link
from service.ledger.verify import check_ledger
from service.settings import ServiceSettings
from shared import VERSION
from shared.settings import add_options, described, option

_EXIT_USAGE = 2
_EPILOG = """\
Every option can also come from the environment, by the name in parentheses; the command line wins. What nobody else may
see comes from there only:
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The verb (None means serve), its own arguments, and the settings that were given; others are absent.

    Exits where they mean nothing, or ask for help or the version.
    """
    parser = _build_parser()
    if {"make-key", "verify-ledger"}.isdisjoint(arguments):
        _refuse_unknown(parser, arguments)
    args = parser.parse_args(arguments)
    if args.verb not in (None, "serve") and not ServiceSettings.model_fields.keys().isdisjoint(vars(args)):
        parser.error(f"{args.verb} takes no settings")
    return args


def _refuse_unknown(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Argparse would take the value for a verb, and repeat it, perhaps a key."""
    known = [option(name) for name in _shown()] + ["--version", "--help"]
    for word in arguments:
        name = word.partition("=")[0]
        if name.startswith("--") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            parser.error(f"no such option: {name}" + (f"; did you mean {near[0]}?" if near else ""))


def _shown() -> dict[str, FieldInfo]:
    """Others on the machine can read a command line: a field that is not shown is no option."""
    return {name: field for name, field in ServiceSettings.model_fields.items() if field.repr}


def _build_parser() -> argparse.ArgumentParser:
    unshown = [described(name, field) for name, field in ServiceSettings.model_fields.items() if not field.repr]
    settings = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_options(settings.add_argument_group("settings"), _shown())
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Serve the newest valid model of a repository over HTTP; or, with a verb, do what operators need.",
        epilog="\n".join([_EPILOG, *(f"  {one}" for one in unshown)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        parents=[settings],
    )
    parser.add_argument("--version", action="version", version=f"lungct {VERSION}")
    verbs = parser.add_subparsers(dest="verb", metavar="{serve,make-key,verify-ledger}")
    verbs.add_parser("serve", help="serve until SIGTERM; the same as no verb", parents=[settings], allow_abbrev=False)
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
    return parser


def operate(arguments: Sequence[str]) -> int:
    """Do what a verb beside serving says, and return the exit code."""
    args = parse(arguments)
    return print_key(args) if args.verb == "make-key" else verify_ledger(args)


def print_key(args: argparse.Namespace) -> int:
    """The key to standard error, for its caller and for nobody else; its line to standard output, for the file."""
    key = make_key()
    try:
        line = key_line(args.name, key, Limit.parse(args.limit) if args.limit else None)
    except ValueError as error:
        sys.stderr.write(f"make-key: {error}\n")
        return _EXIT_USAGE
    sys.stderr.write(f"Key of {args.name}, shown only now (X-API-Key): {key}\n")
    sys.stdout.write(f"{line}\n")
    return 0


def verify_ledger(args: argparse.Namespace) -> int:
    """Exit code 0 where the chain is whole, 1 where it is not, 2 where there is none or it cannot be read."""
    folder = args.folder or os.environ.get("LUNGCT_LEDGER_DIR")
    try:
        if not folder:
            raise ValueError("expected a folder as the argument or in LUNGCT_LEDGER_DIR, got none")
        verdict = check_ledger(Path(folder), map(Link.parse, args.anchor), is_part=args.part)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"verify-ledger: {error}\n")
        return _EXIT_USAGE
    sys.stdout.write(verdict.as_json() if args.json else verdict.as_text())
    return 1 if verdict.problems else 0
