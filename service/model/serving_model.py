"""A version, loaded and proven: verify every file → convert → compile → warm → replay golden → serve."""

import functools
import hashlib
import importlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.engines.base import UNMEASURED, Engine, Outputs, Pace
from service.model.documents import Documents, copy_documents, read_documents
from shared import signing
from shared.artifact import GOLDEN_FILE, MANIFEST_FILE, OUTPUT_NAME, Manifest, read_manifest, verify_files
from shared.chest_ct import DEFAULT_GATE, ChestGate
from shared.golden import Golden, GoldenMismatch, read_golden

EngineName = Literal["openvino", "tensorflow"]
Precision = Literal["auto", "f32"]

_TRUSTED_COPY = "trusted"


@dataclass(frozen=True)
class LoadOptions:
    """How versions are loaded; JSON, to be handed to a child process."""

    engine: EngineName
    precision: Precision
    threads: int
    max_batch_size: int
    pace: Pace = UNMEASURED
    """Of the version, where prepare_model() has measured it."""
    trusted_key: str | None = None
    """Public keys, see shared.signing.trusted_keys(); None loads unsigned versions, too."""

    @property
    def workers(self) -> int:
        """Batches that are computed at a time: OpenVINO gives each a core, TensorFlow gives one all cores."""
        return self.threads if self.engine == "openvino" else 1

    @property
    def fixed_precision(self) -> str | None:
        """What OpenVINO must compute in; None where it chooses."""
        return None if self.precision == "auto" else self.precision

    @property
    def in_flight(self) -> int:
        """Batches on their way: while OpenVINO computes some, as many are decoded, and no core waits for its next."""
        return 2 * self.workers if self.engine == "openvino" else 1


@dataclass(frozen=True, eq=False)
class ServingModel:
    """One version that answers. A request takes it once, before decoding, and stays with it."""

    manifest: Manifest
    engine: Engine
    golden: Golden
    pace: Pace = UNMEASURED
    documents: Documents = field(default_factory=dict)
    digest: str = ""
    """SHA-256 of manifest.json, and so of every file of the version."""
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @functools.cached_property
    def preprocessing_digest(self) -> str:
        """SHA-256 of the preprocessing spec as JSON."""
        return hashlib.sha256(self.manifest.preprocessing.model_dump_json().encode()).hexdigest()

    @property
    def version(self) -> int:
        """The number that every answer names."""
        return self.manifest.model_version

    @functools.cached_property
    def chest_gate(self) -> ChestGate:
        """What this version refuses as no chest CT slice."""
        return self.manifest.chest_gate or DEFAULT_GATE

    def replay_golden(self) -> None:
        """Ask the golden slices in every way in which predictions may be computed.

        Raises shared.golden.GoldenMismatch where the engine no longer answers as Keras did.
        """
        for outputs in self.engine.replay(self.golden.images):
            self.golden.compare(outputs[OUTPUT_NAME], self.manifest.golden_tolerance)

    @functools.cached_property
    def infer_with_attention(self) -> Callable[[NDArray[np.uint8]], Outputs]:
        """Engine.infer_with_attention(), once it has answered the golden slices, too: it may run another conversion.

        Raises shared.golden.GoldenMismatch where it does not.
        """
        self.golden.compare(
            self.engine.infer_with_attention(self.golden.images)[OUTPUT_NAME], self.manifest.golden_tolerance
        )
        return self.engine.infer_with_attention


def no_pause() -> None:
    """Nobody is kept waiting."""


def import_engine(engine: str) -> ModuleType:
    """The module of an engine, imported when first asked for: the other engine need not be installed."""
    return importlib.import_module(f"service.engines.{engine}_engine")


def prepare_model(version_dir: Path, options: LoadOptions, folder: Path) -> LoadOptions:
    """Verify a version, and prove that it answers as Keras did; in folder is then all that load_model() needs.

    Returns the options with which it was proven: precision "auto" takes what is fastest on this processor (bf16 where
    it has it) as long as the golden replay stays within the manifest's tolerance, else f32. Raises
    shared.artifact.ArtifactError where the content is bad; OSError and MemoryError where the disk or the memory of this
    machine is the trouble.
    """
    if options.trusted_key is None:
        manifest, source = read_manifest(version_dir), version_dir
        verify_files(source, manifest)
    else:  # whoever can write to the repository could change a file after its check: what is checked is a copy
        source = _source(version_dir, options, folder)
        manifest = signing.copy_trusted(version_dir, Path(options.trusted_key), source)
    read_golden(source, manifest)
    for name in (MANIFEST_FILE, GOLDEN_FILE):
        shutil.copy(source / name, folder / name)
    copy_documents(source, manifest, folder)
    proven = _prove_in_some_precision(source, options, folder)
    if options.engine == "openvino":
        shutil.rmtree(folder / _TRUSTED_COPY, ignore_errors=True)  # converted; the room may be memory
    return proven


def _prove_in_some_precision(source: Path, options: LoadOptions, folder: Path) -> LoadOptions:
    try:
        return _prove(source, options, folder)
    except GoldenMismatch:
        if options.precision == "f32":
            raise
    # out of the except clause, whose traceback would keep the first engine in memory beside the second
    return _prove(source, replace(options, precision="f32"), folder)


def load_model(
    version_dir: Path, options: LoadOptions, folder: Path, pause: Callable[[], None] = no_pause
) -> ServingModel:
    """The model that prepare_model() proved and left in folder. Raises like it.

    pause is called between steps that take a core for a while, so that requests are not kept waiting for all of them.
    """
    source = _source(version_dir, options, folder)
    if options.engine == "tensorflow":  # it reads the version's files, and now
        verify_files(source, read_manifest(folder, number=version_dir.name))
    model = _start(source, options, folder, pause)
    pause()
    model.replay_golden()
    return model


def _source(version_dir: Path, options: LoadOptions, folder: Path) -> Path:
    """Where the version's files are read."""
    return version_dir if options.trusted_key is None else folder / _TRUSTED_COPY / version_dir.name


def _prove(version_dir: Path, options: LoadOptions, folder: Path) -> LoadOptions:
    if options.engine == "tensorflow":  # what waits is computed together, on all cores: there is nothing to choose
        proven = replace(options, pace=Pace(batch_size=options.max_batch_size))
        _start(version_dir, proven, folder).replay_golden()
        return proven
    manifest = read_manifest(folder, number=version_dir.name)
    golden, spec = read_golden(folder, manifest), manifest.preprocessing
    shape, precision = (spec.height, spec.width), options.fixed_precision
    conversion = importlib.import_module("service.engines.openvino_conversion")
    conversion.convert(version_dir, folder, options.max_batch_size, shape, precision)

    def check(outputs: Outputs) -> None:
        golden.compare(outputs[OUTPUT_NAME], manifest.golden_tolerance)

    arguments = (folder, options.threads, options.max_batch_size, shape, precision)
    return replace(options, pace=import_engine(options.engine).prove(*arguments, images=golden.images, check=check))


def _start(version_dir: Path, options: LoadOptions, folder: Path, pause: Callable[[], None] = no_pause) -> ServingModel:
    manifest = read_manifest(folder, number=version_dir.name)
    module, pace = import_engine(options.engine), options.pace
    shape = (manifest.preprocessing.height, manifest.preprocessing.width)
    engine: Engine
    if options.engine == "openvino":
        engine = module.OpenVINOEngine(folder, options.threads, shape, options.fixed_precision, pace, pause=pause)
    else:
        engine = module.TensorFlowEngine(version_dir, options.threads, pace.batch_size, shape, pause=pause)
    return ServingModel(
        manifest,
        engine,
        read_golden(folder, manifest),
        pace,
        documents=read_documents(folder, manifest),
        digest=hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest(),
    )
