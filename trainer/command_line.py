"""What may be typed after `python -m trainer`.

Options that are settings are drawn from their fields: name, choices, default and sentence stand there once.
"""

import argparse
from pathlib import Path
from typing import Any

from shared import VERSION
from shared.settings import add_options, add_removed
from trainer.settings import TrainerSettings

_EXAMPLES = """\
examples:
  python -m trainer run                              train the demo model on synthetic phantoms
  python -m trainer audit --data slices              look first: duplicates, shortcuts, cases; a page to read
  python -m trainer run --data slices                slices/Normal cases/*.jpg, slices/Benign cases/*.jpg, ...
  python -m trainer crossval --data slices           how good a configuration is for new cases; publishes nothing
  python -m trainer evaluate --data slices           external validation of the version that services serve
  python -m trainer versions                         what the repository holds
  python -m trainer pin 2                            have services serve version 2, whatever is newer
  python -m trainer prune --keep 3                   remove all but the three newest versions and the pinned one

exit status: 0 done; 1 the work could not be done, one line on standard error says why; 2 wrong usage; 130 or 143
stopped by a signal. Every setting can also come from the environment (LUNGCT_DATA, LUNGCT_SEED, ...); the command line
wins. Research and education only, never for diagnosis.
"""

_RUN_EXAMPLES = """\
examples:
  python -m trainer run                              no data: the demo model, in about half a minute
  python -m trainer run --data slices
  python -m trainer run --data slices --resume       go on where an equal run was cut off
  python -m trainer run --data slices --network efficientnet_lite0 --learning fine-tuning --epochs 20
  python -m trainer run --data slices --network cnn --split image      optimistic: as published figures are made
  python -m trainer run --data pets --classes "Cat,Dog" --target Cat

Whole cases are held out in turn: from cases.csv (file,case) in the data, or else guessed. A version that is worse than
the one in force, beyond chance and by case, is not published: exit status 1.
"""

_CROSSVAL_EXAMPLES = """\
examples:
  python -m trainer crossval --data slices --seeds 5 --baseline
  python -m trainer crossval --data slices --network efficientnet_lite0 --image-side 384 --head lda --json

Means over folds drawn with several seeds, with 95 % intervals by case. The baseline is a logistic regression on frozen
ImageNet features at 384 x 384; the gain over it is paired by case.
"""

_AUDIT_EXAMPLES = """\
examples:
  python -m trainer audit --data slices
  python -m trainer audit --data slices --out look --json | jq .shortcuts
  python -m trainer audit --data slices --case-counts 55,15,40

Nothing is trained or changed. The exit status is 0 whatever is found. audit.json and audit.html name files and show
slices: treat them as you treat the slices.
"""

_EVALUATE_EXAMPLES = """\
examples:
  python -m trainer evaluate --data slices
  python -m trainer evaluate --data slices --cases cases.csv --html validation.html --json validation.json
  python -m trainer evaluate --data slices --version 2 --json | jq .figures.sensitivity.by_case
  python -m trainer evaluate --data slices --compare 2,3 --markdown comparison.md

Slices go the whole way that services send them: chest gate, model, familiarity, decision rules, with the services'
default policies. Figures stand by slice and by case, with 95 % intervals by case. On slices that the version was
trained on they say nothing, and then the report begins with that. A class without a folder is left out of the means.
No report shows a slice or names a file.
"""

_SYNTHESIZE_EXAMPLES = """\
examples:
  python -m trainer synthesize --out phantoms --cases 10 --slices-per-case 3 --seed 1
"""

_SIGN_EXAMPLES = """\
examples:
  openssl ecparam -name prime256v1 -genkey -noout -out signing.pem       the private key: keep it from everybody else
  openssl ec -in signing.pem -pubout -out trusted.pem                    its public half: for LUNGCT_TRUSTED_KEY
  python -m trainer sign 3 --signing-key signing.pem
  python -m trainer run --data slices --signing-key signing.pem          signs what it publishes

Whoever signs vouches for the version as it is now. A signature is over every file; after any change it no longer holds.
"""

STANDARD_OUTPUT = Path("-")
"""In place of a file."""

_LAYOUT: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
_REPOSITORY = ("model_repository", "model_name")
_READING = ("data", "decode_threads")
_CASES = ("cases", "case_counts")
_FITTING = ("classes", "target", "network", "weights", "learning", "head", "unfrozen",
            "folds", "split_seed", "balance", "epochs", "patience", "batch_size", "learning_rate", "log_dir", "seed",
            "augmentation", "image_side", "crop", "window_level",
            "window_width")  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """The parser; its result has `verb`, the verb's own arguments, and the settings that were given."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer",
        description="Train a classifier of chest CT slices and keep a repository of its versions.",
        epilog=_EXAMPLES,
        **_LAYOUT,
    )
    parser.add_argument("--version", action="version", version=f"lungct {VERSION}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    run = _add_verb(verbs, "run", "train, evaluate, and publish the next version", _RUN_EXAMPLES)
    run.add_argument("--if-empty", action="store_true", help="do nothing where the repository holds a valid version")
    run.add_argument("--force", action="store_true", help="publish also what is worse than the version in force")
    run.add_argument("--resume", action="store_true", help="go on where an equal run was cut off")
    named = ("on_label_conflict", *_REPOSITORY, "split", "validation_share")
    _add_settings(run, *_READING, *_CASES, *named, *_FITTING, "variants", "signing_key")

    crossval = _add_verb(
        verbs, "crossval", "measure a configuration on new cases, over several seeds of the folds", _CROSSVAL_EXAMPLES
    )
    crossval.add_argument(
        "--seeds", type=_at_least_one, default=5, metavar="N", help="how many seeds, from --split-seed on (default: 5)"
    )
    crossval.add_argument("--baseline", action="store_true", help="measure the frozen baseline beside it")
    _add_json(crossval, "print JSON instead of a summary")
    _add_settings(crossval, *_READING, *_CASES, "on_label_conflict", *_FITTING)

    audit = _add_verb(verbs, "audit", "look at labelled slices before training on them", _AUDIT_EXAMPLES)
    where = "where audit.json and audit.html go (default: audit)"
    audit.add_argument("--out", type=Path, default=Path("audit"), metavar="DIR", help=where)
    _add_json(audit, "print JSON instead of a summary")
    _add_settings(audit, *_READING, *_CASES, "classes", "target", "seed")

    evaluate = _add_verb(
        verbs, "evaluate", "judge a version, as it is served, by labelled slices it has not seen", _EVALUATE_EXAMPLES
    )
    which = evaluate.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, help="which version (default: the pinned one, or the newest valid one)")
    which.add_argument(
        "--compare", type=_two_versions, metavar="N,M", help="the first version minus the second, paired by case"
    )
    evaluate.add_argument(
        "--json", nargs="?", type=Path, const=STANDARD_OUTPUT, metavar="FILE",
        help="write JSON; without a file, print it instead of the summary",
    )  # fmt: skip
    for form, told in (("markdown", "write the summary as Markdown"), ("html", "write one page with plots")):
        evaluate.add_argument(f"--{form}", type=Path, metavar="FILE", help=told)
    _add_settings(evaluate, *_READING, "cases", *_REPOSITORY)

    versions = _add_verb(verbs, "versions", "list the versions, each verified byte by byte")
    _add_json(versions)
    _add_settings(versions, *_REPOSITORY)

    pin = _add_verb(verbs, "pin", "have services serve one version, whatever is newer")
    pin.add_argument("version", type=int, help="number of a valid version")
    _add_settings(pin, *_REPOSITORY)

    unpin = _add_verb(verbs, "unpin", "have services serve the newest valid version again")
    _add_settings(unpin, *_REPOSITORY)

    sign = _add_verb(
        verbs, "sign", "sign a version that is there, so that services with a trusted key serve it", _SIGN_EXAMPLES
    )
    sign.add_argument("version", type=int, help="number of a valid version")
    _add_settings(sign, *_REPOSITORY, "signing_key")

    prune = _add_verb(verbs, "prune", "remove old versions; never the pinned one, nor the newest that are valid")
    prune.add_argument("--keep", type=_at_least_one, required=True, metavar="N", help="how many of the newest stay")
    all_work = "remove unfinished work also where the quality gate offered it for --force --resume"
    prune.add_argument("--all-work", action="store_true", help=all_work)
    _add_settings(prune, *_REPOSITORY)

    synthesize = _add_verb(verbs, "synthesize", "draw class folders of CT-like phantoms", _SYNTHESIZE_EXAMPLES)
    synthesize.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    for option, dest, default, meaning in (
        ("--cases", "cases_per_class", 10, "cases per class"),  # the setting `cases` is a table
        ("--slices-per-case", "slices_per_case", 3, "slices of each case"),
    ):
        told = f"{meaning} (default: {default})"
        synthesize.add_argument(option, dest=dest, type=_at_least_one, default=default, metavar="N", help=told)
    _add_settings(synthesize, "seed")
    return parser


def _add_verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, examples: str = ""
) -> argparse.ArgumentParser:
    description = f"{summary[0].upper()}{summary[1:]}."
    return verbs.add_parser(name, help=summary, description=description, epilog=examples, **_LAYOUT)


def _add_json(parser: argparse.ArgumentParser, told: str = "print JSON") -> None:
    parser.add_argument("--json", action="store_true", help=told)


def _add_settings(parser: argparse.ArgumentParser, *names: str) -> None:
    add_options(parser.add_argument_group("settings"), {name: TrainerSettings.model_fields[name] for name in names})
    if "learning" in names:
        add_removed(parser, "loss", "label_smoothing")


def _at_least_one(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def _two_versions(text: str) -> tuple[int, int]:
    first, comma, second = text.partition(",")
    if not comma or first == second:
        raise argparse.ArgumentTypeError(f"expected two versions, as in 2,3, got {text!r}")
    return _at_least_one(first), _at_least_one(second)
