r"""What a published version refuses, of chest slices that were left out of its training and of pictures that are none.

    python -m benchmarks.inputs.chest_gate split DATA OUT          # OUT/train and OUT/held-out, whole cases in either
    python -m trainer run --data OUT/train --model-repository OUT/models
    python -m benchmarks.inputs.chest_gate report OUT/models/lung-ct/1 --slices OUT/held-out \\
        --folder "drawings=/usr/share/openclipart/png" --volume "MR=ch2.nii.gz" --dicom DIR --json gate.json

The report goes the way of POST /predict: an encoded file, decoding, image checks, one inference, distance.
"""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs.chest_gate_dicom import dicom_kinds
from benchmarks.inputs.chest_gate_drawn import drawn_kinds
from benchmarks.inputs.chest_gate_pictures import TUNED_ON, Picture, folder, packaged_photographs, volume
from service.inference.chest_gate import Gate, Predicted, Prepared
from service.metrics import Metrics
from service.model.serving_model import LoadOptions, ServingModel, load_model, prepare_model
from shared.artifact import DISTANCE_NAME
from shared.chest_ct import DEFAULT_GATE, Check
from shared.imaging import PreprocessingSpec, to_tensor
from shared.raster.decode import SliceError, decode_grey
from shared.slices import SliceDecoder

_BOUND_FROM = 300
"""Kinds with fewer pictures get no confidence bound."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.inputs.chest_gate", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    split = verbs.add_parser("split", help="link a folder's slices into OUT/train and OUT/held-out, by case")
    split.add_argument("data", type=Path)
    split.add_argument("out", type=Path)
    split.add_argument("--share", type=int, default=3, help="one case in so many is held out (default 3)")
    report = verbs.add_parser("report", help="measure a version")
    report.add_argument(
        "version", type=Path, nargs="?", help="folder of a published version; without one, image checks alone"
    )
    report.add_argument("--slices", type=Path, help="chest slices that the version was not trained on")
    report.add_argument("--folder", action="append", default=[], metavar="KIND=DIR", help="more pictures")
    report.add_argument("--volume", action="append", default=[], metavar="KIND=FILE", help="NIfTI volumes, in slices")
    report.add_argument("--dicom", type=Path, help="folder of DICOM files, counted by modality")
    report.add_argument("--count", type=int, default=300, help="pictures of each kind at most (default 300)")
    report.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    if arguments.verb == "split":
        split_by_case(arguments.data, arguments.out, arguments.share)
        return
    rows = measure(arguments)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


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


class GateUnderTest:
    """A version as the service loads it, with its gate; without one, the image checks on what chest_resnet sees."""

    def __init__(self, version_dir: Path | None) -> None:
        self._gate = Gate("flag", "flag", Metrics())
        self._decoder = SliceDecoder()
        self._model: ServingModel | None = None
        if version_dir is None:
            self._spec, self._limits = PreprocessingSpec(crop="body-mask", intensity="anchored"), DEFAULT_GATE
            return
        options = LoadOptions("openvino", "auto", threads=2, max_batch_size=4)
        with tempfile.TemporaryDirectory() as scratch:
            proven = prepare_model(version_dir, options, Path(scratch))
            self._model = load_model(version_dir, proven, Path(scratch))
        self._spec, self._limits = self._model.manifest.preprocessing, self._model.chest_gate

    def doubts(self, bodies: Iterable[bytes]) -> Iterator[tuple[tuple[Check | str, ...], float]]:
        """For each picture what speaks against it, and its distance.

        Like the service, the network sees only what passes the image checks: others have no number for a distance.
        """
        for body in bodies:
            try:
                decoded = self._decoder.decode(body, self._spec.window)
            except SliceError:
                yield ("cannot be decoded",), np.nan
                continue
            tensor = to_tensor(decoded.grey, self._spec, decoded.air_grey)
            doubts = self._gate.look(body, decoded.header, tensor, self._limits)
            if doubts or self._model is None:
                yield doubts, np.nan
                continue
            outputs = self._model.engine.infer(tensor[np.newaxis])
            judged = self._gate.judge(Prepared(tensor, doubts), outputs, 0, self._limits)
            assert isinstance(judged, Predicted)  # the gate only flags
            distance = float(outputs[DISTANCE_NAME][0]) if DISTANCE_NAME in outputs else np.nan
            yield judged.doubts, distance

    def close(self) -> None:
        """End the decoder's process."""
        self._decoder.close()


def measure(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row a kind."""
    gate = GateUnderTest(arguments.version)
    count = arguments.count
    rows = []
    for name, draw in drawn_kinds().items():
        rows.append(_row(name, gate, map(_encoded, map(draw, range(1000, 1000 + count)), range(count))))
    more: list[tuple[str, Iterator[Picture]]] = [
        ("photographs (scikit-image, scikit-learn)", packaged_photographs(count))
    ]
    more += [(kind, folder(Path(path), count)) for kind, path in _named(arguments.folder)]
    more += [(kind, volume(Path(path), count)) for kind, path in _named(arguments.volume)]
    rows += [_row(kind, gate, map(_encoded, pictures, range(10 * count))) for kind, pictures in more]
    if arguments.dicom:
        rows += [_row(f"DICOM: {kind}", gate, bodies[:count]) for kind, bodies in dicom_kinds(arguments.dicom).items()]
    if arguments.slices:
        files = [
            path for path in sorted(arguments.slices.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")
        ]
        rows.append(_row("chest slices left out of training", gate, (path.read_bytes() for path in files)))
        for kind, change in _CHANGES.items():
            pictures = (change(decode_grey(path.read_bytes())) for path in files[::3])
            rows.append(_row(f"chest slices, {kind}", gate, (_encoded(one, 0) for one in pictures)))
    gate.close()
    return rows


_CHANGES: dict[str, Callable[[NDArray[np.uint8]], Any]] = {
    "inverted": lambda grey: 255 - grey,
    "upside down": lambda grey: grey[::-1].copy(),
    "mirrored": lambda grey: grey[:, ::-1].copy(),
    "turned by 90 degrees": lambda grey: np.rot90(grey).copy(),
    "left half": lambda grey: grey[:, : grey.shape[1] // 2].copy(),
    "upper half": lambda grey: grey[: grey.shape[0] // 2].copy(),
    "half as large": lambda grey: cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "darker": lambda grey: (grey * 0.7).astype(np.uint8),
    "with noise": lambda grey: np.clip(grey + np.random.default_rng(0).normal(0, 12, grey.shape), 0, 255).astype(
        np.uint8
    ),
}


def _row(kind: str, gate: GateUnderTest, bodies: Iterable[bytes]) -> dict[str, object]:
    answers = list(gate.doubts(bodies))
    refused = sum(bool(doubts) for doubts, _ in answers)
    by_image = sum(bool(set(doubts) - {"distance"}) for doubts, _ in answers)
    counts = Counter(doubt for doubts, _ in answers for doubt in doubts)
    distances: NDArray[np.float64] = np.array([distance for _, distance in answers])
    print(f"{kind}: {refused} of {len(answers)} refused", flush=True)
    known = not np.isnan(distances).all()
    return {
        "kind": kind, "n": len(answers), "refused": refused, "by_image_checks": by_image, "by_check": dict(counts),
        "tuned_on": kind in TUNED_ON,
        "distance": [float(np.nanquantile(distances, share)) for share in (0.01, 0.5, 0.99)] if known else None,
    }  # fmt: skip


def table(rows: list[dict[str, object]]) -> str:
    """Markdown."""
    lines = [
        "| kind | n | refused | 95 % bound | by image checks alone | distance of the others: 1 %, median, 99 % |",
        "|---|---:|---:|---|---:|---|",
    ]
    for row in rows:
        n, refused = int(str(row["n"])), int(str(row["refused"]))
        distance = row["distance"]
        far = ", ".join(f"{value:.2f}" for value in distance) if isinstance(distance, list) else "-"
        tuned = " (tuned on)" if row["tuned_on"] else ""
        lines.append(
            f"| {row['kind']}{tuned} | {n} | {refused} | {bound(refused, n)} | {row['by_image_checks']} | {far} |"
        )
    return "\n".join(lines)


def bound(refused: int, n: int) -> str:
    """Clopper-Pearson's two-sided 95 % interval of the share refused; none for small kinds."""
    from scipy.stats import binomtest  # noqa: PLC0415

    if n < _BOUND_FROM:
        return "-"
    interval = binomtest(refused, n).proportion_ci(0.95, "exact")
    return f"{interval.low:.1%} to {interval.high:.1%}"


def _encoded(picture: Picture, number: int) -> bytes:
    """PNG and JPEG in turn; colour is RGB here and BGR there."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    return cv2.imencode(".jpg" if number % 2 else ".png", bgr)[1].tobytes()


def _named(pairs: list[str]) -> list[tuple[str, str]]:
    return [(kind, path) for kind, _, path in (pair.partition("=") for pair in pairs)]


if __name__ == "__main__":
    main()
