"""A version, loaded and proven: verify every file → compile → warm every batch size → replay golden → serve."""

import importlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from service.memory import drop_mapped_pages, trim_heap
from shared.artifact import Golden, GoldenMismatch, Manifest, read_golden, read_manifest, verify_files

EngineName = Literal["openvino", "tensorflow"]
Precision = Literal["auto", "f32"]


class Engine(Protocol):
    """Runs a SavedModel."""

    name: str
    precision: str

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [B, H, W, 1] → probabilities float32 [B, C]. One call at a time."""


@dataclass(frozen=True)
class LoadOptions:
    """How versions are loaded; JSON, to be handed to a child process."""

    engine: EngineName
    precision: Precision
    threads: int
    max_batch_size: int


@dataclass(frozen=True, eq=False)
class ServingModel:
    """One version that answers. A request takes it once, before decoding, and stays with it."""

    manifest: Manifest
    engine: Engine
    golden: Golden
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def version(self) -> int:
        """The number that every answer names."""
        return self.manifest.model_version

    def replay_golden(self) -> None:
        """Raises shared.artifact.GoldenMismatch where the engine no longer answers as Keras did."""
        # one at a time: a size that is not warmed would cost memory and time that no request ever needs
        answers = [self.engine.infer(image[np.newaxis]) for image in self.golden.images]
        self.golden.compare(np.concatenate(answers), self.manifest.golden_tolerance)

    def replay_golden_in_batches(self, size: int) -> None:
        """The same in full batches, as under load. Raises shared.artifact.GoldenMismatch."""
        count = len(self.golden.images)
        repeated = np.resize(np.arange(count), max(size, -(-count // size) * size))
        batches = np.split(repeated, len(repeated) // size)
        answers = np.concatenate([self.engine.infer(self.golden.images[batch]) for batch in batches])
        self.golden.compare(answers[:count], self.manifest.golden_tolerance)


def batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """Sizes that are warmed and used, descending: powers of two, and the maximum itself."""
    sizes = {1 << power for power in range(max_batch_size.bit_length())}
    return tuple(sorted({*(size for size in sizes if size <= max_batch_size), max_batch_size}, reverse=True))


def import_engine(engine: EngineName) -> ModuleType:
    """The module of an engine, imported when first asked for: the other engine need not be installed."""
    return importlib.import_module(f"service.{engine}_engine")


def load_model(version_dir: Path, options: LoadOptions) -> ServingModel:
    """Load a version for serving.

    Precision "auto" takes what is fastest on this processor (bf16 where it has it) as long as the golden replay stays
    within the manifest's tolerance, else f32. Raises shared.artifact.ArtifactError where the content is bad; OSError
    and MemoryError where the disk or the memory of this machine is the trouble.
    """
    manifest = read_manifest(version_dir)
    verify_files(version_dir, manifest)
    golden = read_golden(version_dir, manifest)
    model = ServingModel(manifest, _start_engine(version_dir, options, options.precision), golden)
    try:
        _prove(model, options.max_batch_size)
    except GoldenMismatch:
        if model.engine.precision == "f32":
            raise
        model = ServingModel(manifest, _start_engine(version_dir, options, "f32"), golden)
        _prove(model, options.max_batch_size)
    drop_mapped_pages(version_dir)
    trim_heap()  # what compiling left
    return model


def _start_engine(version_dir: Path, options: LoadOptions, precision: Precision) -> Engine:
    module = import_engine(options.engine)
    engine: Engine
    if options.engine == "openvino":
        engine = module.OpenVINOEngine(version_dir, options.threads, None if precision == "auto" else precision)
    else:
        engine = module.TensorFlowEngine(version_dir, options.threads)
    return engine


def _prove(model: ServingModel, max_batch_size: int) -> None:
    """Warm every size that will be used, and compare alone and in batches. Raises shared.artifact.GoldenMismatch."""
    spec = model.manifest.preprocessing
    # the first inference of a batch size costs 50 to 400 ms; no request should pay for it
    for size in batch_sizes(max_batch_size):
        model.engine.infer(np.zeros((size, spec.height, spec.width, 1), np.uint8))
    model.replay_golden()
    model.replay_golden_in_batches(max_batch_size)
