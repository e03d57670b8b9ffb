r"""What a version's decisions are worth on slices that it never saw, as they are and as others would show them.

    python -m benchmarks.inputs.decisions_under_change OUT/models/lung-ct/1 OUT/held-out --json changed.json

benchmarks.inputs.chest_gate splits a folder so. Slices go the way of POST /predict, from an encoded file to the
decision: what the chest gate refuses, or a verdict of `uncertain`, is withheld from who acts on it.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.inputs.version_under_test import Answer, VersionUnderTest
from benchmarks.training.changes import CHANGES
from shared.artifact import read_manifest
from trainer.data.dataset import index_folder

ASKED = (
    "unchanged", "window 0.8 times as wide", "window 1.25 times as wide", "blur, 1 pixel", "sharpen",
    "noise, 4 grey values", "noise, 8 grey values", "vessels brighter", "JPEG quality 50", "three quarters the size",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """Of one change. Shares of 1; None where there is nothing to count.

    A decision is right where the target's probability is on the right side of the threshold in force, whatever was
    then withheld. flips: another most probable class than unchanged, of the slices that were answered both times.
    """

    change: str
    n: int
    refused: int
    unfamiliar: int
    sensitivity: float | None
    specificity: float | None
    wrong: int
    wrong_withheld: float | None
    right_withheld: float | None
    flips: float | None


def row_of(change: str, answers: list[Answer], is_target: list[bool], unchanged: list[Answer]) -> Row:
    """Count the answers to all slices, in their order."""
    said = [one.prediction for one in answers]
    called = [one and one.decision and one.all_predictions[one.decision.target_class] >= one.decision.threshold
              for one in said]  # fmt: skip
    withheld = [not one or (one.decision is not None and one.decision.verdict == "uncertain") for one in said]
    is_right = [bool(is_called) == wanted for is_called, wanted in zip(called, is_target, strict=True)]
    answered = [bool(one) for one in said]

    def share(of: Iterable[bool], among: Iterable[bool]) -> float | None:
        counted = [one for one, is_meant in zip(of, among, strict=True) if is_meant]
        return float(np.mean(counted)) if counted else None

    def both(first: Iterable[bool], second: Iterable[bool]) -> list[bool]:
        return [one and other for one, other in zip(first, second, strict=True)]

    others = [not wanted for wanted in is_target]
    before = [one.prediction for one in unchanged]
    flipped = [bool(now and was and now.prediction != was.prediction) for now, was in zip(said, before, strict=True)]
    wrong = both(answered, [not right for right in is_right])
    return Row(
        change=change,
        n=len(answers),
        refused=answered.count(False),
        unfamiliar=sum(bool(one and one.familiarity and not one.familiarity.is_familiar) for one in said),
        sensitivity=share(is_right, both(answered, is_target)),
        specificity=share(is_right, both(answered, others)),
        wrong=sum(wrong),
        wrong_withheld=share(withheld, wrong),
        right_withheld=share(withheld, both(answered, is_right)),
        flips=share(flipped, both(answered, map(bool, before))),
    )


def table(rows: Iterable[Row]) -> str:
    """Markdown."""
    titles = ("change", "n", "refused", "unfamiliar", "sensitivity", "specificity", "wrong", "withheld of the wrong",
              "withheld of the right", "flips")  # fmt: skip
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---:|" * (len(titles) - 1)]
    for row in rows:
        cells = (row.change, row.n, row.refused, row.unfamiliar, _shown(row.sensitivity), _shown(row.specificity),
                 row.wrong, _shown(row.wrong_withheld), _shown(row.right_withheld), _shown(row.flips))  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _shown(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.inputs.decisions_under_change", description=__doc__.splitlines()[0]
    )
    parser.add_argument("version", type=Path, help="folder of a published version")
    parser.add_argument("slices", type=Path, help="folder of class folders that it was not trained on")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every N-th slice alone (default 1)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    classes = read_manifest(arguments.version).classes
    files = index_folder(arguments.slices, classes).files[:: arguments.every]
    is_target = [classes.names[one.label] == classes.target for one in files]
    rows: list[Row] = []
    unchanged: list[Answer] = []
    with closing(VersionUnderTest(arguments.version)) as version:
        for change in ASKED:
            answers = list(version.answers(_changed(version, one.path, change) for one in files))
            unchanged = unchanged or answers
            rows.append(row_of(change, answers, is_target, unchanged))
            print(f"{change}: {rows[-1].wrong} of {rows[-1].n} wrong", file=sys.stderr, flush=True)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", "utf-8")


def _changed(version: VersionUnderTest, file: Path, change: str) -> bytes:
    """PNG, which keeps every grey value; what is not changed goes as it is."""
    body = file.read_bytes()
    if change == "unchanged":
        return body
    grey = version.decoder.decode(body).grey
    return cv2.imencode(".png", CHANGES[change](grey))[1].tobytes()


if __name__ == "__main__":
    main()
