"""The model repository of a benchmark run: versions of the `cnn`, published the way the trainer publishes.

Runs as a process of its own, which prints what the first version must answer: whoever measures needs no TensorFlow.
"""

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.artifact import read_manifest
from shared.classes import LUNG_CT_CLASSES
from shared.imaging import PreprocessingSpec, to_tensor
from shared.raster.decode import decode_grey
from trainer.settings import NetworkName

MODEL_NAME = "lung-ct"
N_EXPECTED = 3
"""Slices whose answers are compared before a server is measured."""


@dataclass(frozen=True)
class BenchModel:
    """The published versions, and what the first must answer for the first slices."""

    label: str
    versions: tuple[Path, ...]
    expected: tuple[tuple[float, ...], ...]


def publish_networks(repository: Path, slices: Path, count: int, network: str) -> BenchModel:
    """Publish that many untrained networks, each with other weights. slices: folder of <n>.jpg (Workload.write).

    Speed does not depend on what the weights have learnt.
    """
    versions = tuple(repository / MODEL_NAME / str(number) for number in range(1, count + 1))
    return BenchModel(
        f"{network}, untrained", versions, _ask(versions[0], slices, f"--publish={count}", f"--network={network}")
    )


def copy_version(version_dir: Path, repository: Path, slices: Path) -> BenchModel:
    """A published version, such as a trained one, alone in a repository of its own."""
    copy = repository / version_dir.parent.name / version_dir.name
    shutil.copytree(version_dir, copy)
    return BenchModel(f"{read_manifest(copy).architecture}, a published version", (copy,), _ask(copy, slices))


def _ask(version_dir: Path, slices: Path, *arguments: str) -> tuple[tuple[float, ...], ...]:
    """What the version must answer; published before, where the arguments say so."""
    command = [sys.executable, "-m", "benchmarks.load.model", str(version_dir), str(slices), *arguments]
    finished = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, check=True)
    return tuple(tuple(row) for row in json.loads(finished.stdout))


def _publish(model_dir: Path, seed: int, network: NetworkName) -> None:
    import keras  # noqa: PLC0415 - seconds to import, and only this process needs it

    from trainer.export.ensemble import assemble  # noqa: PLC0415
    from trainer.networks.registry import build_network  # noqa: PLC0415
    from trainer.publishing.model_record import ModelRecord  # noqa: PLC0415
    from trainer.publishing.publish import publish  # noqa: PLC0415
    from trainer.training.from_scratch import taken_apart  # noqa: PLC0415

    facts = ModelRecord(
        architecture=network,
        classes=LUNG_CT_CLASSES,
        preprocessing=PreprocessingSpec(),
        dataset={"kind": "none", "n": 0, "counts": {}, "digest": "0" * 64},
        split={"protocol": "none"},
        metrics={},
        warnings=("Untrained network of a benchmark.",),
        seed=seed,
        duration_s=0.0,
    )
    keras.utils.set_random_seed(seed)
    model = taken_apart(build_network(network, facts.preprocessing, len(facts.classes.names)), {})
    publish(assemble([model], 1.0), facts, model_dir)


def _expected(version_dir: Path, slices: Path) -> list[list[float]]:
    from trainer.export.saved_model import load_and_predict  # noqa: PLC0415 - imports TensorFlow

    spec = read_manifest(version_dir).preprocessing
    bodies = [(slices / f"{number}.jpg").read_bytes() for number in range(N_EXPECTED)]
    tensors = np.stack([to_tensor(decode_grey(body), spec) for body in bodies])
    return [[float(value) for value in row] for row in load_and_predict(version_dir, tensors)]


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version_dir", type=Path)
    parser.add_argument("slices", type=Path)
    parser.add_argument("--publish", type=int, default=0, metavar="COUNT")
    parser.add_argument("--network", choices=("cnn", "tiny"), default="cnn")
    args = parser.parse_args()
    for seed in range(args.publish):
        _publish(args.version_dir.parent, seed, args.network)
    print(json.dumps(_expected(args.version_dir, args.slices)))


if __name__ == "__main__":
    _main()
