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
from shared.artifact import Golden, Manifest, read_golden, read_manifest, verify_files

EngineName = Literal["openvino", "tensorflow"]


class Engine(Protocol):
    """Runs a SavedModel."""

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 [B, H, W, 1] → probabilities float32 [B, C]."""


@dataclass(frozen=True, eq=False)
class ServingModel:
    """One version that answers. A request takes it once, before decoding, and stays with it."""

    manifest: Manifest
    engine: Engine
    engine_name: str
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


def batch_sizes(max_batch_size: int) -> tuple[int, ...]:
    """Sizes that are warmed and used, descending: powers of two, and the maximum itself."""
    sizes = {1 << power for power in range(max_batch_size.bit_length())}
    return tuple(sorted({*(size for size in sizes if size <= max_batch_size), max_batch_size}, reverse=True))


def import_engine(engine: EngineName) -> ModuleType:
    """The module of an engine, imported when first asked for: the other engine need not be installed."""
    return importlib.import_module(f"service.{engine}_engine")


def load_model(version_dir: Path, engine: EngineName, threads: int, max_batch_size: int) -> ServingModel:
    """Load a version for serving.

    Raises shared.artifact.ArtifactError where its content is bad; OSError and MemoryError where the disk or the memory
    of this machine is the trouble.
    """
    manifest = read_manifest(version_dir)
    verify_files(version_dir, manifest)
    golden = read_golden(version_dir, manifest)
    module = import_engine(engine)
    loaded: Engine = (module.OpenVINOEngine if engine == "openvino" else module.TensorFlowEngine)(version_dir, threads)
    model = ServingModel(manifest=manifest, engine=loaded, engine_name=module.NAME, golden=golden)
    spec = manifest.preprocessing
    # the first inference of a batch size costs 50 to 400 ms; no request should pay for it
    for size in batch_sizes(max_batch_size):
        loaded.infer(np.zeros((size, spec.height, spec.width, 1), np.uint8))
    model.replay_golden()
    drop_mapped_pages(version_dir)
    trim_heap()  # what compiling left
    return model
