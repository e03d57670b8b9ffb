"""What operators do beside serving: make a key for a caller, check a ledger."""

import argparse
import os
import sys
from pathlib import Path

from service.auth.api_keys import key_line, make_key
from service.auth.rate_limit import Limit
from service.ledger.chain import Link
from service.ledger.verify import check_ledger

_EXIT_USAGE = 2


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
