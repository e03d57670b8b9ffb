"""python -m trainer: one verb per question, each of which wraps one tested function.

TensorFlow takes seconds to import, so each verb imports what it needs when it runs.
"""

# ruff: noqa: PLC0415 - see above

import argparse
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType

from pydantic import ValidationError

from shared.settings import unknown_settings
from trainer.command_line import build_parser
from trainer.errors import TrainerError
from trainer.settings import TrainerSettings

# before TensorFlow is imported: its notes on instruction sets help nobody who reads this command's output
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_FAILED, _USAGE = 1, 2


class Stopped(BaseException):
    """A signal asked to stop; no Exception, so that nothing on the way swallows it."""

    def __init__(self, number: int) -> None:
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status."""
    args = build_parser().parse_args(arguments)
    if unknown := unknown_settings(os.environ, TrainerSettings.model_fields):
        print(*(f"trainer: error: {one}" for one in unknown), sep="\n", file=sys.stderr)
        return _USAGE
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # says where it writes assets, which are none
    try:
        given = {name: value for name, value in vars(args).items() if name in TrainerSettings.model_fields}
        settings = TrainerSettings(**given)
        return _VERBS[args.verb](settings, args)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_context=False):
            where = "".join(f"{part} (LUNGCT_{str(part).upper()}): " for part in problem["loc"])
            print(f"trainer: error: {where}{problem['msg']}", file=sys.stderr)
        return _USAGE
    except (TrainerError, OSError) as error:
        print(f"trainer: {error}", file=sys.stderr)
        return _FAILED
    except Stopped as stopped:
        name = signal.Signals(stopped.number).name
        print(f"trainer: stopped by {name}; every published version is whole.", file=sys.stderr)
        return 128 + stopped.number


def stop_on_signals() -> None:
    """Have SIGTERM and Ctrl-C raise Stopped, so that what is half done is cleared away; for the process's own main."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
    raise Stopped(number)


@contextmanager
def _imports_of_tensorflow() -> Iterator[None]:
    """Keep Python from looking for garbage among what stays: a sixth of the import's time, and part of each later look.

    Nothing where it is imported already, as in tests: what is there by then need not stay.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _run(settings: TrainerSettings, args: argparse.Namespace) -> int:
    from trainer.repository import newest_valid_version

    if args.if_empty and (there := newest_valid_version(settings.model_dir)) is not None:
        print(f"{settings.model_dir} already holds version {there}; nothing to do.")
        return 0
    with _imports_of_tensorflow():
        from trainer.run import run, without_empty_data

    outcome = run(
        settings if "data" in args else without_empty_data(settings), is_forced=args.force, is_resumed=args.resume
    )
    print(f"Published version {outcome.version} in {settings.model_dir} after {outcome.duration_s:.0f} s.")
    print(outcome.verdict.reason)
    metrics, ends = outcome.metrics, outcome.metrics.intervals
    of_cases = "" if metrics.n_cases is None else f" of {metrics.n_cases} cases"
    print(
        f"Held out: accuracy {metrics.accuracy:.4f} (95 % {ends.accuracy[0]:.3f} to {ends.accuracy[1]:.3f}), balanced "
        f"accuracy {metrics.balanced_accuracy:.4f} ({ends.balanced_accuracy[0]:.3f} to "
        f"{ends.balanced_accuracy[1]:.3f}) on {metrics.n} slices{of_cases}."
    )
    for warning in outcome.warnings:
        print(f"Warning: {warning}")
    return 0


def _audit(settings: TrainerSettings, args: argparse.Namespace) -> int:
    if settings.data is None:
        print("trainer: error: audit needs a folder of labelled slices: --data DIR or LUNGCT_DATA", file=sys.stderr)
        return _USAGE
    from trainer.audit import audit_folder, summary
    from trainer.audit_page import write_audit

    audited = audit_folder(settings.data, settings)
    page = write_audit(audited, args.out)
    print(audited.audit.model_dump_json(indent=2) if args.json else f"{summary(audited.audit)}\nPage: {page}")
    return 0


def _crossval(settings: TrainerSettings, args: argparse.Namespace) -> int:
    if settings.data is None:
        print("trainer: error: crossval needs a folder of labelled slices: --data DIR or LUNGCT_DATA", file=sys.stderr)
        return _USAGE
    with _imports_of_tensorflow():
        from trainer.repeated import repeat, summary

    report = repeat(settings.data, settings, args.seeds, has_baseline=args.baseline)
    print(report.model_dump_json(indent=2) if args.json else summary(report))
    return 0


def _evaluate(settings: TrainerSettings, args: argparse.Namespace) -> int:
    if settings.data is None:
        print("trainer: error: evaluate needs a folder of labelled slices: --data DIR or LUNGCT_DATA", file=sys.stderr)
        return _USAGE
    with _imports_of_tensorflow():
        from trainer.published_model import evaluate_published, report

    version, metrics = evaluate_published(settings.data, settings.model_dir, args.version, settings.decode_threads)
    as_json = json.dumps({"version": version, **metrics.model_dump(mode="json")}, indent=2)
    print(as_json if args.json else f"Version {version}\n{report(metrics)}")
    return 0


def _versions(settings: TrainerSettings, args: argparse.Namespace) -> int:
    from trainer.repository import list_versions, table

    summaries = list_versions(settings.model_dir)
    print(json.dumps([asdict(one) for one in summaries], indent=2, default=str) if args.json else table(summaries))
    return 0


def _pin(settings: TrainerSettings, args: argparse.Namespace) -> int:
    from trainer.repository import pin

    pin(settings.model_dir, args.version)
    print(f"Version {args.version} is pinned: services serve it, whatever is newer.")
    return 0


def _unpin(settings: TrainerSettings, args: argparse.Namespace) -> int:  # noqa: ARG001 - every verb takes the same
    from trainer.repository import unpin

    unpin(settings.model_dir)
    print("No version is pinned: services serve the newest valid one.")
    return 0


def _sign(settings: TrainerSettings, args: argparse.Namespace) -> int:
    if settings.signing_key is None:
        print("trainer: error: sign needs a private key: --signing-key FILE or LUNGCT_SIGNING_KEY", file=sys.stderr)
        return _USAGE
    from trainer.repository import sign

    sign(settings.model_dir, args.version, settings.signing_key)
    print(f"Version {args.version} is signed: services that trust the key's public half may serve it.")
    return 0


def _prune(settings: TrainerSettings, args: argparse.Namespace) -> int:
    from trainer.repository import prune
    from trainer.work_folder import remove_work

    removed = prune(settings.model_dir, args.keep)
    print(f"Removed versions: {', '.join(map(str, removed)) or 'none'}.")
    if work := remove_work(settings.model_dir):
        print(f"Removed unfinished work: {', '.join(work)}.")
    return 0


def _synthesize(settings: TrainerSettings, args: argparse.Namespace) -> int:
    from trainer.phantom_folder import synthesize

    count = synthesize(
        args.out, cases_per_class=args.cases_per_class, slices_per_case=args.slices_per_case, seed=settings.seed
    )
    print(f"Drew {count} slices into {args.out}; no patient is behind any of them.")
    return 0


_VERBS = {
    "audit": _audit,
    "run": _run,
    "crossval": _crossval,
    "evaluate": _evaluate,
    "versions": _versions,
    "pin": _pin,
    "unpin": _unpin,
    "sign": _sign,
    "prune": _prune,
    "synthesize": _synthesize,
}

if __name__ == "__main__":
    stop_on_signals()
    sys.exit(main())
