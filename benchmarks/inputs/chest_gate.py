r"""What a published version refuses and does not know, of chest slices that it was not trained on and other pictures.

    python -m benchmarks.inputs.chest_gate split DATA OUT          # OUT/train and OUT/held-out, whole cases in either
    python -m trainer run --data OUT/train --model-repository OUT/models
    python -m benchmarks.inputs.chest_gate report OUT/models/lung-ct/1 --slices OUT/held-out \\
        --folder "drawings=/usr/share/openclipart/png" --volume "MR=ch2.nii.gz" --dicom DIR --json gate.json

The report goes the way of POST /predict, from an encoded file to the decision: benchmarks.inputs.version_under_test.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import cv2

from benchmarks.inputs.chest_gate_dicom import dicom_kinds
from benchmarks.inputs.chest_gate_drawn import drawn_kinds
from benchmarks.inputs.chest_gate_pictures import TUNED_ON, Picture, folder, packaged_photographs, volume
from benchmarks.inputs.chest_gate_renderings import CHANGES, RENDERINGS, STRENGTHS, rendered
from benchmarks.inputs.version_under_test import Answer, Row, VersionUnderTest, row_of, table

Kinds = Iterable[tuple[str, Iterable[bytes]]]
"""What to send, by kind."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.inputs.chest_gate", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    split = verbs.add_parser("split", help="link a folder's slices into OUT/train and OUT/held-out, by case")
    split.add_argument("data", type=Path)
    split.add_argument("out", type=Path)
    split.add_argument("--share", type=int, default=3, help="one case in so many is held out (default 3)")
    report = verbs.add_parser("report", help="measure a version")
    report.add_argument("version", type=Path, help="folder of a published version")
    report.add_argument("--slices", type=Path, help="chest slices that the version was not trained on")
    report.add_argument("--every", type=int, default=1, metavar="N", help="render and change every N-th of them alone")
    report.add_argument("--folder", action="append", default=[], metavar="KIND=DIR", help="more pictures")
    report.add_argument("--volume", action="append", default=[], metavar="KIND=FILE", help="NIfTI volumes, in slices")
    report.add_argument(
        "--dicom", action="append", type=Path, default=[], help="folder of DICOM files, counted by modality"
    )
    report.add_argument("--count", type=int, default=300, help="pictures of each kind at most (default 300)")
    report.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    if arguments.verb == "split":
        split_by_case(arguments.data, arguments.out, arguments.share)
        return
    with closing(VersionUnderTest(arguments.version)) as version:
        groups = measure(version, arguments)
    for title, rows in groups.items():
        print(f"\n## {title}\n\n{table(rows)}")
    print(f"\n{of_pictures(groups[PICTURES][-1])}")
    if arguments.json:
        document = {title: [asdict(row) for row in rows] for title, rows in groups.items()}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def split_by_case(data: Path, out: Path, share: int) -> None:
    """Link each slice into OUT/train or OUT/held-out, the slices of a case together."""
    from trainer.data.cases import find_cases  # noqa: PLC0415 - imports TensorFlow
    from trainer.run import read_labelled  # noqa: PLC0415
    from trainer.settings import TrainerSettings  # noqa: PLC0415

    dataset = read_labelled(data, TrainerSettings(network="cnn", image_side=32))
    cases = find_cases(dataset, data, None, None)
    for file, case in zip(dataset.files, cases.groups, strict=True):
        link = out / ("held-out" if case % share == 0 else "train") / file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((data / file).resolve())


PICTURES = "Pictures that are no CT"


def measure(version: VersionUnderTest, arguments: argparse.Namespace) -> dict[str, list[Row]]:
    """A row a kind, in groups; the last row of the pictures counts all of them."""

    def rows(kinds: Kinds) -> list[Row]:
        return [row_of(kind, version.answers(bodies)) for kind, bodies in kinds]

    pictures: list[Answer] = []
    groups: dict[str, list[Row]] = {PICTURES: []}
    for kind, bodies in _pictures(arguments):
        answers = list(version.answers(bodies))
        pictures += answers
        groups[PICTURES].append(row_of(f"{kind} (tuned on)" if kind in TUNED_ON else kind, answers))
    groups[PICTURES].append(row_of("all", pictures))
    if arguments.dicom:
        kinds = dicom_kinds(arguments.dicom).items()
        groups["DICOM of other parts and modalities"] = rows(
            (kind, bodies[: arguments.count]) for kind, bodies in kinds
        )
    if arguments.slices:
        found = sorted(arguments.slices.rglob("*"))
        files = [path for path in found if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
        some = files[:: arguments.every]
        groups["Chest slices left out of training"] = rows(
            [
                ("as they are", (path.read_bytes() for path in files)),
                *((kind, rendered(some, rendering)) for kind, rendering in RENDERINGS.items()),
            ]
        )
        groups["The same with blur and noise of growing strength"] = rows(
            (kind, rendered(some, rendering)) for kind, rendering in STRENGTHS.items()
        )
        groups["The same, changed as no scanner does"] = rows(
            (kind, rendered(some, rendering)) for kind, rendering in CHANGES.items()
        )
    return groups


def of_pictures(row: Row) -> str:
    """What counts of pictures that are no CT, in a sentence."""
    has_verdict = row.verdicts.get("positive", 0) + row.verdicts.get("negative", 0)
    return (
        f"Pictures refused: {row.refused} of {row.n} ({row.refused / row.n:.2%}). Of the {row.n - row.refused} that "
        f"pass, {row.unfamiliar} are unfamiliar and {has_verdict} get a verdict, positive or negative."
    )


def _pictures(arguments: argparse.Namespace) -> Iterator[tuple[str, Iterator[bytes]]]:
    """PNG and JPEG in turn."""
    count = arguments.count
    for name, draw in drawn_kinds().items():
        yield name, map(_encoded, map(draw, range(1000, 1000 + count)), range(count))
    more = [("photographs (scikit-image, scikit-learn)", packaged_photographs(count))]
    more += [(kind, folder(Path(path), count)) for kind, path in _named(arguments.folder)]
    more += [(kind, volume(Path(path), count)) for kind, path in _named(arguments.volume)]
    for kind, pictures in more:
        yield kind, map(_encoded, pictures, range(10 * count))


def _encoded(picture: Picture, number: int) -> bytes:
    """PNG and JPEG in turn; colour is RGB here and BGR there."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    return cv2.imencode(".jpg" if number % 2 else ".png", bgr)[1].tobytes()


def _named(pairs: list[str]) -> list[tuple[str, str]]:
    return [(kind, path) for kind, _, path in (pair.partition("=") for pair in pairs)]


if __name__ == "__main__":
    main()
