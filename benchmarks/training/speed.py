"""What the trainer's own work costs beside the network's: docs/explanation/training.md holds the figures.

    python -m benchmarks.training.speed epoch   DATA   an epoch of the cnn, beside the same steps on one batch
    python -m benchmarks.training.speed folder  DATA   folder to version, beside the reference's steps in a script

Each prints JSON to standard output. Both sides of a ratio run in turn.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from benchmarks.training.cost import PROTOCOL, ROOT, trainer_run
from trainer.data.batches import prefetched, training_batches
from trainer.data.splits import split_by_image
from trainer.networks.registry import build_network
from trainer.run import read_labelled
from trainer.settings import TrainerSettings
from trainer.training.fit import seed_everything


def epoch(data: Path, rounds: int, steps: int | None) -> dict[str, Any]:
    """Seconds of an epoch of the protocol's `cnn`, and of as many steps on one of its batches that stays in memory.

    The order of the two changes from round to round; the first round of each, which compiles, does not count. The
    ratio of processor time is that of elapsed time where the cores are always busy, and steady where others use them.
    """
    settings = TrainerSettings(network="cnn", split="image", balance="undersample")
    dataset = read_labelled(data, settings)
    split = split_by_image(dataset.labels, "undersample", settings.validation_share, settings.seed)
    seed_everything(settings.seed)
    model = build_network("cnn", settings.preprocessing, len(dataset.classes.names))
    model.compile(keras.optimizers.Adam(settings.adam_learning_rate), "categorical_crossentropy", jit_compile=False)
    batches = training_batches(
        dataset, split.training, settings.batch_size, settings.seed, settings.augmentation_of_network
    )
    # whole batches only: the floor's are all alike
    steps = steps or len(split.training) // settings.batch_size
    resident = prefetched(tf.data.Dataset.from_tensors(next(iter(batches))).cache().repeat())
    seconds: dict[str, list[float]] = {"epoch": [], "floor": []}
    processor: dict[str, list[float]] = {"epoch": [], "floor": []}
    sources = {"epoch": batches.take(steps), "floor": resident.take(steps)}
    for turn in range(rounds + 1):
        for name in ("epoch", "floor") if turn % 2 else ("floor", "epoch"):
            started, used = time.monotonic(), time.process_time()
            model.fit(sources[name], epochs=1, shuffle=False, verbose=0)
            seconds[name].append(time.monotonic() - started)
            processor[name].append(time.process_time() - used)
            print(f"{name}: {seconds[name][-1]:.2f} s, processor {processor[name][-1]:.2f} s", file=sys.stderr)
    return {
        "steps": steps,
        "epoch_s": seconds["epoch"][1:],
        "floor_s": seconds["floor"][1:],
        "epoch_over_floor": _median_ratio(seconds),
        "processor_over_floor": _median_ratio(processor),
    }


def _median_ratio(of: dict[str, list[float]]) -> float:
    """Median over the rounds but the first, of the epoch's figure over the floor's."""
    return statistics.median(ours / floor for ours, floor in zip(of["epoch"][1:], of["floor"][1:], strict=True))


def folder(data: Path, epochs: int) -> dict[str, Any]:
    """Seconds from the folder to the published version, and of the plain script, each in a process of its own.

    Processor seconds beside them are steadier where others use the cores, and do not see what waits for one thread.
    """
    with tempfile.TemporaryDirectory() as scratch:
        started, used = time.monotonic(), _processor_s_of_children()
        plain = [
            sys.executable,
            "-m",
            "benchmarks.training.plain_training",
            str(data),
            scratch,
            "--epochs",
            str(epochs),
        ]
        subprocess.run(plain, cwd=ROOT, stdout=sys.stderr, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
        plain_s, plain_processor_s = time.monotonic() - started, _processor_s_of_children() - used
    used = _processor_s_of_children()
    with tempfile.TemporaryDirectory() as repository:
        _, ours_s, _ = trainer_run(data, Path(repository), *PROTOCOL, "--epochs", str(epochs))
    ours_processor_s = _processor_s_of_children() - used
    return {
        "epochs": epochs,
        "trainer_s": ours_s,
        "plain_script_s": plain_s,
        "trainer_over_plain": ours_s / plain_s,
        "trainer_processor_s": ours_processor_s,
        "plain_script_processor_s": plain_processor_s,
        "processor_over_plain": ours_processor_s / plain_processor_s,
    }


def _processor_s_of_children() -> float:
    """Of the processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["epoch", "folder"])
    parser.add_argument("data", type=Path, help="folder of class folders")
    parser.add_argument("--rounds", type=int, default=5, help="epoch: how often each runs (default: 5)")
    parser.add_argument("--steps", type=int, help="epoch: stop each after so many steps (default: a whole epoch)")
    parser.add_argument("--epochs", type=int, default=1, help="folder: epochs of both (default: 1)")
    args = parser.parse_args()
    data = args.data.resolve()
    result = epoch(data, args.rounds, args.steps) if args.what == "epoch" else folder(data, args.epochs)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
