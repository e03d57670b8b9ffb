"""A version that answers, loaded from what its trial left: compile → warm → replay golden → serve."""

import functools
import hashlib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.engines.base import UNMEASURED, Engine, Outputs, Pace
from service.model.documents import Documents, read_documents
from service.schemas import ServedVariant
from shared.artifact import MANIFEST_FILE, OUTPUT_NAME, Manifest, read_manifest, variant_dir, verify_files
from shared.chest_ct import DEFAULT_GATE, ChestGate
from shared.golden import Golden, read_golden
from shared.variant import VariantName

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
    """Of the version, where its trial has measured it."""
    variant: VariantName | None = None
    """What of the version serves, where its trial has chosen it; None is the SavedModel."""
    passed_over: Mapping[VariantName, str] = field(default_factory=dict)
    """Variants that may serve, and why the trial took none of them."""
    trusted_key: str | None = None
    """Public keys, see shared.signing.trusted_keys(); None loads unsigned versions, too."""

    @property
    def workers(self) -> int:
        """Batches that are computed at a time: OpenVINO gives each a core, TensorFlow gives one all cores."""
        return self.threads if self.engine == "openvino" else 1

    @property
    def fixed_precision(self) -> str | None:
        """What OpenVINO must compute in; None where it chooses.

        A variant is fixed to float32: what it leaves open was computed so when it was fitted and judged.
        """
        return None if self.precision == "auto" and self.variant is None else "f32"

    @property
    def in_flight(self) -> int:
        """Batches on their way: while OpenVINO computes some, as many are decoded, and no core waits for its next."""
        return 2 * self.workers if self.engine == "openvino" else 1


@dataclass(frozen=True, eq=False)
class ServingModel:
    """One version that answers. A request takes it once, before decoding, and stays with it."""

    manifest: Manifest
    """Its figures, rules and limits are those of what serves."""
    engine: Engine
    golden: Golden
    pace: Pace = UNMEASURED
    documents: Documents = field(default_factory=dict)
    digest: str = ""
    """SHA-256 of manifest.json, and so of every file of the version."""
    variant: ServedVariant = "f32"
    """What of the version answers."""
    saved_model: "ServingModel | None" = None
    """Beside a variant, what explains."""
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @functools.cached_property
    def preprocessing_digest(self) -> str:
        """SHA-256 of the preprocessing spec as JSON."""
        return hashlib.sha256(self.manifest.preprocessing.model_dump_json().encode()).hexdigest()

    @property
    def explaining(self) -> "ServingModel":
        """What explains: the SavedModel, with the manifest as it was published, and its golden answers.

        Beside a variant, infer_with_attention() is all that may be asked of it: the engine predicts with the variant.
        """
        return self.saved_model or self

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


def load_model(
    version_dir: Path, options: LoadOptions, folder: Path, pause: Callable[[], None] = no_pause
) -> ServingModel:
    """The model that service.model.trial.prepare_model() proved and left in folder. Raises like it.

    pause is called between steps that take a core for a while, so that requests are not kept waiting for all of them.
    """
    source = version_source(version_dir, options, folder)
    if options.engine == "tensorflow":  # it reads the version's files, and now
        verify_files(source, read_manifest(folder, number=version_dir.name))
    model = start(source, options, folder, pause)
    pause()
    model.replay_golden()
    return model


def version_source(version_dir: Path, options: LoadOptions, folder: Path) -> Path:
    """Where the version's files are read."""
    return version_dir if options.trusted_key is None else folder / _TRUSTED_COPY / version_dir.name


def start(version_dir: Path, options: LoadOptions, folder: Path, pause: Callable[[], None] = no_pause) -> ServingModel:
    """The model, compiled and warm, which has proven nothing yet."""
    manifest = read_manifest(folder, number=version_dir.name)
    module, pace = import_engine(options.engine), options.pace
    shape = (manifest.preprocessing.height, manifest.preprocessing.width)
    engine: Engine
    if options.engine == "openvino":
        converted = folder / variant_dir(options.variant) if options.variant else folder
        arguments = (converted, options.threads, shape, options.fixed_precision, pace)
        engine = module.OpenVINOEngine(*arguments, pause=pause, explained_from=folder if options.variant else None)
    else:
        engine = module.TensorFlowEngine(version_dir, options.threads, pace.batch_size, shape, pause=pause)
    saved_model = ServingModel(
        manifest,
        engine,
        read_golden(folder, manifest),
        pace,
        documents=read_documents(folder, manifest),
        digest=hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest(),
    )
    if options.variant is None:
        return saved_model
    golden = read_golden(folder, manifest, variant_dir(options.variant))
    served = manifest.as_served(options.variant)
    return replace(saved_model, manifest=served, golden=golden, variant=options.variant, saved_model=saved_model)
