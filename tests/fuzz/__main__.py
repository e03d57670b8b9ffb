"""make fuzz: atheris on every target, each for a while, in a process of its own.

    python -m tests.fuzz [TARGET …] [--seconds=600] [--jobs=2]      all of them; needs atheris
    python -m tests.fuzz replay [TARGET [FILE …]]                   files, or all seeds with some mutations; needs none

What a run finds lies in build/fuzz/found; a small one belongs into tests/fuzz/found, where the tests try it again.
"""

import argparse
import importlib
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.target import Target

_ROOT = Path(__file__).parent.parent.parent
_BUILD = _ROOT / "build" / "fuzz"
_CODE = ("shared", "service", "pydicom", "python_multipart", "pylibjpeg")
"""What is instrumented, so that an input that reaches new lines of it is kept."""
_HANG_S = 60
"""Of wall time: a call that takes longer is ended by the fuzzer. Target looks at processor time, more sharply."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", help="names; default: all. `replay TARGET [FILE …]` tries inputs again")
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default 600)")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time (default 2)")
    parser.add_argument("--mutations", type=int, default=1000, help="of replay without a file (default 1000)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    logging.disable()  # parsers warn of what is sent here all the time
    if args.targets[:1] == ["replay"]:
        return _replay(args.targets[1:2], [Path(name) for name in args.targets[2:]], args.mutations)
    if args.one:
        _fuzz(args.targets[0], args.seconds)
        return 0
    from tests.fuzz.every import TARGETS  # not before: where it is fuzzed, it is imported instrumented

    names = args.targets or list(TARGETS)
    for folder in ("logs", "found"):
        (_BUILD / folder).mkdir(parents=True, exist_ok=True)
    print(f"{len(names)} targets, {args.seconds} s each, {args.jobs} at a time; logs in {_BUILD / 'logs'}", flush=True)
    print("| target | executions | coverage | seconds | result |\n|---|---:|---:|---:|---|", flush=True)
    with ThreadPoolExecutor(args.jobs) as workers:
        results = list(workers.map(lambda name: _run(name, args.seconds), names))
    return 0 if all(results) else 1


def _run(name: str, seconds: int) -> bool:
    """One target in a process of its own; prints its row, and returns whether nothing was found."""
    log, started = _BUILD / "logs" / f"{name}.log", time.monotonic()
    with log.open("wb") as file:
        command = [sys.executable, "-m", "tests.fuzz", name, f"--seconds={seconds}", "--one"]
        with tempfile.TemporaryDirectory(prefix="lungct-fuzz-") as scratch:  # libFuzzer ends its process at once
            code = subprocess.run(
                command, cwd=_ROOT, env={**os.environ, "TMPDIR": scratch}, stdout=file, stderr=file, check=False
            ).returncode
    said = log.read_text("utf-8", "replace")
    executions = re.findall(r"stat::number_of_executed_units: (\d+)|^#(\d+)\t", said, re.MULTILINE)
    coverage = re.findall(r" cov: (\d+)", said)
    wrong = re.findall(
        r"^(?:ERROR: (.*)|Uncaught Python exception: =*\n(.*)|==\d+== ?ERROR: (.*))$", said, re.MULTILINE
    )
    result = "nothing found" if code == 0 else "; ".join(filter(None, wrong[0])) if wrong else f"exit code {code}"
    count = next(filter(None, executions[-1])) if executions else "?"
    taken_s = time.monotonic() - started
    print(f"| {name} | {count} | {coverage[-1] if coverage else '?'} | {taken_s:.0f} | {result[:200]} |", flush=True)
    return code == 0


def _fuzz(name: str, seconds: int) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=list(_CODE)):
        every = importlib.import_module("tests.fuzz.every")
    target = every.TARGETS[name]
    corpus = _BUILD / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate(every.inputs_of(target)):
        (corpus / f"seed-{number:04d}").write_bytes(body)
    dictionary = _BUILD / f"{name}.dict"
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words if len(word) <= 64), "ascii")
    arguments = [
        sys.argv[0], f"-max_total_time={seconds}", f"-max_len={target.max_bytes}", f"-timeout={_HANG_S}",
        "-rss_limit_mb=4096",
        f"-dict={dictionary}", f"-artifact_prefix={_BUILD / 'found'}/{name}-", "-print_final_stats=1", "-verbosity=1",
        "-len_control=20",
        str(corpus),
    ]  # fmt: skip
    atheris.Setup(arguments, target)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{one:02x}" for one in word)


def _replay(names: list[str], files: list[Path], mutations_count: int) -> int:
    from tests.fuzz.every import TARGETS, inputs_of
    from tests.fuzz.mutations import mutations

    is_clean = True
    for name in names or TARGETS:
        target = TARGETS[name]
        print(name, end=": ", flush=True)  # before: where a call ends the process, this is the last that is said
        seeds = inputs_of(target)
        count = round(target.share * mutations_count)
        bodies = [file.read_bytes() for file in files] or [*seeds, *mutations(seeds, target.words, count)]
        found = _findings(target, bodies)
        print(f"{len(bodies)} inputs, {sum(map(len, found.values()))} findings")
        for where, numbers in found.items():
            kept = _BUILD / "found" / f"{name}-{numbers[0]}"
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(bodies[numbers[0]])
            print(f"  {len(numbers)} times {where}; one is kept as {kept}", flush=True)
        is_clean = is_clean and not found
    return 0 if is_clean else 1


def _findings(target: "Target", bodies: list[bytes]) -> dict[str, list[int]]:
    """Numbers of inputs, by what is wrong and where."""
    found: dict[str, list[int]] = {}
    for number, body in enumerate(bodies):
        try:
            target(body)
        except Exception as error:
            ours = [frame for frame in traceback.extract_tb(error.__traceback__) if str(_ROOT) in frame.filename]
            where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
            if error.__class__.__name__ in ("TooSlow", "TooMuchMemory"):
                where = str(error)
            found.setdefault(f"{type(error).__name__} ({where})", []).append(number)
    return found


if __name__ == "__main__":
    sys.exit(main())
