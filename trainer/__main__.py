"""python -m trainer: one verb per question, each of which wraps one tested function.

TensorFlow takes seconds to import, so what needs it, or much else, is imported when a verb runs.
"""

# ruff: noqa: PLC0415 - see above

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to clear away: no traceback of imports

import argparse
import gc
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from shared.settings import unknown_settings
from trainer import preflight
from trainer.command_line import STANDARD_OUTPUT, build_parser
from trainer.data.dataset import require_class_folders
from trainer.errors import TrainerError, WrongArgument
from trainer.publishing import repository
from trainer.settings import TrainerSettings
from trainer.terminal import complain, counted, have_our_lines_alone, let_go_of_output, say

# before TensorFlow is imported: its notes on instruction sets help nobody who reads this command's output
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_FAILED, _USAGE = 1, 2


class Stopped(BaseException):
    """A signal asked to stop; no Exception, so that nothing on the way swallows it."""

    def __init__(self, number: int) -> None:
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status: 0 done, 1 failed, 2 wrong usage, 128 and the number for a signal."""
    try:
        args = build_parser().parse_args(arguments)
        if unknown := unknown_settings(os.environ, TrainerSettings.model_fields):
            for one in unknown:
                complain(f"error: {one}")
            return _USAGE
        given = {name: value for name, value in vars(args).items() if name in TrainerSettings.model_fields}
        settings = TrainerSettings(**given)
        status = _VERBS[args.verb](settings, args)
        sys.stdout.flush()
    except (ValidationError, TrainerError, OSError, MemoryError) as error:
        return _explained(error)
    except Stopped as stopped:
        name = signal.Signals(stopped.number).name
        complain(f"stopped by {name}; every published version is whole.")
        return 128 + stopped.number
    else:
        return status


def _explained(error: Exception) -> int:
    """A line on standard error for what nobody can do anything about here, and the exit status."""
    match error:
        case ValidationError():
            for problem in error.errors(include_url=False, include_context=False):
                where = "".join(f"{part} (LUNGCT_{str(part).upper()}): " for part in problem["loc"])
                complain(f"error: {where}{problem['msg'].rpartition('Value error, ')[2]}")
            return _USAGE
        case WrongArgument():
            complain(f"error: {error}")
            return _USAGE
        case OSError():
            let_go_of_output()
            if not isinstance(error, BrokenPipeError):  # whoever read the output has enough, as `head` does
                of_file = f"{error.filename}: " if error.filename is not None else ""
                complain(f"{of_file}{error.strerror}." if error.strerror else str(error))
        case _:
            complain(str(error) or "There is not enough memory.")
    return _FAILED


def stop_on_signals() -> None:
    """Have SIGTERM and Ctrl-C raise Stopped, so that what is half done is cleared away; for the process's own main."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a signal handler
    signal.signal(number, signal.SIG_DFL)  # a second one does not wait for what is cleared away
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
    if args.if_empty and (there := repository.newest_valid_version(settings.model_dir)) is not None:
        say(f"{settings.model_dir} already holds version {there}; nothing to do.")
        return 0
    settings = settings if "data" in args else preflight.without_empty_data(settings)
    as_used = preflight.demo_settings(settings) if settings.data is None else settings
    preflight.check_training(as_used)
    preflight.check_variants(as_used)
    preflight.check_signing_key(settings.signing_key)
    preflight.require_folder("model_repository", settings.model_dir)
    with _imports_of_tensorflow():
        from trainer.run import run

    outcome = run(settings, is_forced=args.force, is_resumed=args.resume)
    say(f"Published version {outcome.version} in {settings.model_dir} after {outcome.duration_s:.0f} s.")
    say(outcome.verdict.reason)
    metrics, ends = outcome.metrics, outcome.metrics.intervals
    of_cases = "" if metrics.n_cases is None else f" of {counted(metrics.n_cases, 'case')}"
    say(
        f"Held out: accuracy {metrics.accuracy:.4f} (95 % {ends.accuracy[0]:.3f} to {ends.accuracy[1]:.3f}), balanced "
        f"accuracy {metrics.balanced_accuracy:.4f} ({ends.balanced_accuracy[0]:.3f} to "
        f"{ends.balanced_accuracy[1]:.3f}) on {counted(metrics.n, 'slice')}{of_cases}."
    )
    for warning in outcome.warnings:
        say(f"Warning: {warning}")
    return 0


def _data_of(settings: TrainerSettings, verb: str) -> Path:
    """The folder of slices. Raises WrongArgument where none was given."""
    if settings.data is None:
        raise WrongArgument("data", f"{verb} needs a folder of labelled slices: --data DIR or LUNGCT_DATA")
    return settings.data


def _audit(settings: TrainerSettings, args: argparse.Namespace) -> int:
    data = _data_of(settings, "audit")
    require_class_folders(data, settings.class_set)
    preflight.check_case_table(settings.cases)
    preflight.require_folder("out", args.out)
    from trainer.audit.audit import audit_folder, summary
    from trainer.audit.page import write_audit

    audited = audit_folder(data, settings)
    page = write_audit(audited, args.out)
    say(audited.audit.model_dump_json(indent=2) if args.json else f"{summary(audited.audit)}\nPage: {page}")
    return 0


def _crossval(settings: TrainerSettings, args: argparse.Namespace) -> int:
    data = _data_of(settings, "crossval")
    preflight.check_training(settings)
    with _imports_of_tensorflow():
        from trainer.crossval import repeat, summary

    report = repeat(data, settings, args.seeds, has_baseline=args.baseline)
    say(report.model_dump_json(indent=2) if args.json else summary(report))
    return 0


def _evaluate(settings: TrainerSettings, args: argparse.Namespace) -> int:
    data = _data_of(settings, "evaluate")
    manifests = tuple(repository.read_version(settings.model_dir, number) for number in args.compare or (args.version,))
    for manifest in manifests:
        require_class_folders(data, manifest.classes, needs_every_class=False)
    preflight.check_case_table(settings.cases)
    is_json_said = args.json == STANDARD_OUTPUT
    files = {"json": None if is_json_said else args.json, "markdown": args.markdown, "html": args.html}
    wanted = {name: path for name, path in files.items() if path is not None}
    for name, path in wanted.items():
        preflight.require_file(name, path)
    with _imports_of_tensorflow():
        from trainer.validation.report import report_on

    report = report_on(
        data, settings.model_dir, manifests, settings.cases, settings.decode_threads, has_plots="html" in wanted
    )
    for name, path in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(getattr(report, name)(), "utf-8")
    say(
        report.json() if is_json_said else "\n".join([report.text(), *(f"Written: {path}" for path in wanted.values())])
    )
    return 0


def _versions(settings: TrainerSettings, args: argparse.Namespace) -> int:
    summaries = repository.list_versions(settings.model_dir)
    as_json = json.dumps([asdict(one) for one in summaries], indent=2, default=str)
    say(as_json if args.json else repository.table(summaries))
    return 0


def _pin(settings: TrainerSettings, args: argparse.Namespace) -> int:
    repository.pin(settings.model_dir, args.version)
    say(f"Version {args.version} is pinned: services serve it, whatever is newer.")
    return 0


def _unpin(settings: TrainerSettings, args: argparse.Namespace) -> int:  # noqa: ARG001 - every verb takes the same
    repository.unpin(settings.model_dir)
    say("No version is pinned: services serve the newest valid one.")
    return 0


def _sign(settings: TrainerSettings, args: argparse.Namespace) -> int:
    if settings.signing_key is None:
        raise WrongArgument("signing_key", "sign needs a private key: --signing-key FILE or LUNGCT_SIGNING_KEY")
    preflight.check_signing_key(settings.signing_key)
    repository.sign(settings.model_dir, args.version, settings.signing_key)
    say(f"Version {args.version} is signed: services that trust the key's public half may serve it.")
    return 0


def _prune(settings: TrainerSettings, args: argparse.Namespace) -> int:
    from trainer.training.work_folder import remove_work, work_folders

    removed = repository.prune(settings.model_dir, args.keep)
    say(f"Removed versions: {', '.join(map(str, removed)) or 'none'}.")
    if work := remove_work(settings.model_dir, is_offered_too=args.all_work):
        say(f"Removed unfinished work: {', '.join(work)}.")
    if left := work_folders(settings.model_dir):
        say(f"Left, being in use or offered for --force --resume (--all-work removes those): {', '.join(left)}.")
    return 0


def _synthesize(settings: TrainerSettings, args: argparse.Namespace) -> int:
    from trainer.phantoms.phantom_folder import synthesize

    preflight.require_folder("out", args.out)
    count = synthesize(
        args.out, cases_per_class=args.cases_per_class, slices_per_case=args.slices_per_case, seed=settings.seed
    )
    say(f"Drew {counted(count, 'slice')} into {args.out}; no patient is behind any of them.")
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
    have_our_lines_alone()
    sys.exit(main())
