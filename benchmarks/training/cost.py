"""What training costs and what it reaches, measured on labelled slices; docs/explanation/training.md holds the figures.

    python -m benchmarks.training.cost accuracy       DATA   the cnn by the reference's protocol, several split seeds
    python -m benchmarks.training.cost preprocessing  DATA   reading and preparing slices, beside the reference's loop
    python -m benchmarks.training.cost neighbours     DATA   what a nearest neighbour gets from these splits, untrained

Each prints JSON to standard output. `accuracy` keeps one file per seed in --keep and goes on where it was stopped.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy import stats

from shared.body import body_box
from shared.classes import LUNG_CT_CLASSES
from shared.imaging import PreprocessingSpec
from shared.raster.decode import decode_grey
from trainer.data.dataset import index_folder
from trainer.data.input_pipeline import read_dataset
from trainer.data.splits import split_by_image

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = ("--split", "image", "--balance", "undersample", "--network", "cnn")
REFERENCE_CLAIM = 0.9583


def trainer_run(data: Path, repository: Path, *options: str) -> tuple[dict[str, Any], float, float]:
    """The manifest, seconds, and peak resident megabytes of one `python -m trainer run` in its own process."""
    command = [sys.executable, "-m", "trainer", "run", "--data", str(data), "--model-repository", str(repository)]
    started = time.monotonic()
    process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=sys.stderr)
    # wait4 gives the memory of this very child
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the trainer left with status {process.returncode}")
    manifest = json.loads((repository / "lung-ct" / "1" / "manifest.json").read_text())
    return manifest, time.monotonic() - started, usage.ru_maxrss * 1024 / 1e6


def accuracy(data: Path, seeds: int, keep: Path, options: list[str]) -> dict[str, Any]:
    """Mean validation accuracy over split seeds 0, 1, ... with Student's 95 % interval over the seeds."""
    keep.mkdir(parents=True, exist_ok=True)
    runs = []
    for seed in range(seeds):
        path = keep / f"seed-{seed}.json"
        if not path.exists():
            with tempfile.TemporaryDirectory() as repository:
                chosen = ("--split-seed", str(seed), "--seed", str(seed), *PROTOCOL, *options)
                manifest, seconds, megabytes = trainer_run(data, Path(repository), *chosen)
            training, metrics = manifest["training"], manifest["metrics"]
            path.write_text(
                json.dumps(
                    {
                        "split_seed": seed,
                        "accuracy": metrics["accuracy"],
                        "macro_f1": metrics["macro_f1"],
                        "recall": {name: one["recall"] for name, one in metrics["per_class"].items()},
                        "n": metrics["n"],
                        "held_out_twins": manifest["split"]["held_out_twins"],
                        "epochs": training["epochs"],
                        "best_epoch": training["best_epoch"],
                        "seconds": round(seconds),
                        "peak_mb": round(megabytes),
                    }
                )
            )
        runs.append(json.loads(path.read_text()))
    values = [run["accuracy"] for run in runs]
    half = stats.t.ppf(0.975, seeds - 1) * statistics.stdev(values) / seeds**0.5
    mean = statistics.mean(values)
    return {
        "mean_accuracy": mean,
        "interval_95": [mean - half, mean + half],
        "standard_deviation": statistics.stdev(values),
        "reference_claim": REFERENCE_CLAIM,
        "runs": runs,
    }


def reference_loop(paths: list[Path], target: Path) -> None:
    """The reference's preprocessing: colour, 224 x 224, float64 in [0, 1], one compressed array on disk."""
    images = []
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        images.append(cv2.resize(np.asarray(image), (224, 224)) / 255.0)
    np.savez_compressed(target, images=np.array(images))


def preprocessing(data: Path, repeats: int) -> dict[str, Any]:
    """Seconds of both ways over the same files in turn, in this process, the files being in the system's cache.

    Ours checks that each file is whole, hashes it, crops and resizes it, and keeps uint8 in memory: there is no array
    on disk to write, nor to read back.
    """
    index = index_folder(data, LUNG_CT_CLASSES)
    paths = [file.path for file in index.files]
    for path in paths:
        path.read_bytes()
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(repeats):
            for spec in (PreprocessingSpec(), PreprocessingSpec(crop="none")):
                started = time.monotonic()
                read_dataset(index, spec)
                ours.append(time.monotonic() - started)
            started = time.monotonic()
            reference_loop(paths, Path(scratch) / "images.npz")
            theirs.append(time.monotonic() - started)
    return {
        "files": len(paths),
        "cores": os.cpu_count(),
        "trainer_s": ours,
        "reference_loop_s": theirs,
        "times_faster": statistics.median(theirs) / statistics.median(ours),
    }


def neighbours(data: Path, splits: int = 20) -> dict[str, Any]:
    """Accuracy of the nearest training slice over split seeds 0, 1, ...: what is there to be had without learning.

    By 64 x 64 grey pixels (correlation) of whole frames and of body crops, and by four numbers only: where in the frame
    the body's bounding box lies.
    """
    index = index_folder(data, LUNG_CT_CLASSES)
    labels = np.array([file.label for file in index.files])
    frames = read_dataset(index, PreprocessingSpec(height=64, width=64, crop="none")).images
    bodies = read_dataset(index, PreprocessingSpec(height=64, width=64)).images
    boxes = np.array([body_box(decode_grey(file.path.read_bytes())) for file in index.files], np.float64)
    results = {}
    for name, rows in (("whole_frame", frames), ("body_crop", bodies), ("body_box_only", boxes)):
        vectors = rows.reshape(len(rows), -1).astype(np.float64)
        if name != "body_box_only":
            vectors -= vectors.mean(axis=1, keepdims=True)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        scores = []
        for seed in range(splits):
            split = split_by_image(labels, "undersample", 0.2, seed)
            held_out, known = vectors[split.validation], vectors[split.training]
            distances = ((held_out[:, np.newaxis] - known[np.newaxis]) ** 2).sum(axis=2)
            nearest = labels[split.training][distances.argmin(axis=1)]
            scores.append(float(np.mean(nearest == labels[split.validation])))
        results[name] = {"mean": statistics.mean(scores), "standard_deviation": statistics.stdev(scores)}
    return {"splits": splits, **results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["accuracy", "preprocessing", "neighbours"])
    parser.add_argument("data", type=Path, help="folder of class folders")
    parser.add_argument("--seeds", type=int, default=8, help="accuracy: how many split seeds (default: 8)")
    parser.add_argument(
        "--keep", type=Path, default=Path("build/accuracy"), help="accuracy: where each seed's result is kept"
    )
    parser.add_argument("--repeats", type=int, default=3, help="preprocessing: how often each way runs (default: 3)")
    args, options = parser.parse_known_args()  # what is left goes to `trainer run`
    if args.what == "accuracy":
        result = accuracy(args.data.resolve(), args.seeds, args.keep, options)
    elif args.what == "preprocessing":
        result = preprocessing(args.data, args.repeats)
    else:
        result = neighbours(args.data)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
