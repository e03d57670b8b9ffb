"""What is proven of a version before it serves, and what of it will serve: the SavedModel or a variant."""

import importlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from service.engines.base import UNMEASURED, Outputs, Pace
from service.model.documents import copy_documents
from service.model.serving_model import LoadOptions, import_engine, start, version_source
from shared import signing
from shared.artifact import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    OUTPUT_NAME,
    ArtifactError,
    Manifest,
    read_manifest,
    variant_dir,
    verify_files,
)
from shared.golden import GoldenMismatch, read_golden
from shared.variant import VARIANT_MODEL_FILE, VariantName

_Found = TypeVar("_Found")

_WORTH_IT = 0.9
"""A variant serves where its slice takes at most this share of the SavedModel's time; of closer ones, chance would
choose another at each start."""


def prepare_model(version_dir: Path, options: LoadOptions, folder: Path) -> LoadOptions:
    """Verify a version, and prove that it answers as at publishing; in folder is then all that load_model() needs.

    Returns the options with which it was proven: precision "auto" takes what is fastest on this processor (a variant
    that may serve; bf16 where it has it) as long as the golden replay stays within the manifest's tolerance, else the
    SavedModel in f32. Raises shared.artifact.ArtifactError where the content is bad; OSError and MemoryError where the
    disk or the memory of this machine is the trouble.
    """
    source = version_source(version_dir, options, folder)
    if options.trusted_key is None:
        manifest = read_manifest(version_dir)
        verify_files(source, manifest)
    else:  # whoever can write to the repository could change a file after its check: what is checked is a copy
        manifest = signing.copy_trusted(version_dir, Path(options.trusted_key), source)
    read_golden(source, manifest)
    for name in (MANIFEST_FILE, GOLDEN_FILE):
        shutil.copy(source / name, folder / name)
    copy_documents(source, manifest, folder)
    if options.engine == "tensorflow":  # what waits is computed together, on all cores: there is nothing to choose
        proven = replace(options, pace=Pace(batch_size=options.max_batch_size))
        start(source, proven, folder).replay_golden()
        return proven
    manifest = read_manifest(folder, number=version_dir.name)  # the one that load_model() reads, too
    proven = _Trial(manifest, source, folder, options).fastest()
    if source != version_dir:
        shutil.rmtree(source)  # converted; the room may be memory
    return proven


def fastest(saved_model: Pace, variants: Mapping[VariantName, Pace]) -> VariantName | None:
    """What answers soonest under load, when a core has a slice for itself; None is the SavedModel.

    That form is compared because every network has it, and of the SavedModel nothing else need be known: batches are
    served only where they are faster still.
    """
    if not variants:
        return None
    name = min(variants, key=lambda one: variants[one].one_s)
    return name if variants[name].one_s <= _WORTH_IT * saved_model.one_s else None


@dataclass(frozen=True)
class _Trial:
    """Of one version, with OpenVINO. source has its files, folder gets the converted ones."""

    manifest: Manifest
    source: Path
    folder: Path
    options: LoadOptions

    def fastest(self) -> LoadOptions:
        """What serves, proven in each of its forms.

        Variants come first. Beside one that agrees, the SavedModel is only held against it: its form for a slice on
        each core answers the golden slices and is timed. The rest would double the time of the trial, for a model that
        will not serve; what explains is replayed before the first explanation. No two forms are in memory at a time.
        """
        paces: dict[VariantName, Pace] = {}
        passed_over: dict[VariantName, str] = {}
        if self.options.precision == "auto":
            for name in (name for name, variant in self.manifest.variants.items() if variant.may_serve):
                try:
                    paces[name] = self._prove_variant(name)
                except ArtifactError as error:
                    passed_over[name] = str(error)
        saved_model = self._in_some_precision(self._time_saved_model) if paces else UNMEASURED
        chosen = fastest(saved_model, paces)
        for name, pace in paces.items():
            if name != chosen:
                each_ms, other_ms = pace.one_s * 1000, saved_model.one_s * 1000
                passed_over[name] = f"too little is gained: {each_ms:.3g} ms a slice and core, not {other_ms:.3g}"
        for name in passed_over:
            shutil.rmtree(self.folder / variant_dir(name), ignore_errors=True)
        if chosen is None:
            proven = self._in_some_precision(self._prove_saved_model)
        else:
            proven = replace(self.options, variant=chosen, pace=paces[chosen])
        return replace(proven, passed_over=passed_over)

    def _in_some_precision(self, found: Callable[[LoadOptions], _Found]) -> _Found:
        try:
            return found(self.options)
        except GoldenMismatch:
            if self.options.precision == "f32":
                raise
        # out of the except clause, whose traceback would keep the first engine in memory beside the second
        return found(replace(self.options, precision="f32"))

    def _prove_variant(self, name: VariantName) -> Pace:
        published, converted, size = self.source / variant_dir(name), self.folder / variant_dir(name), self._batch_size
        _conversion().convert_variant(published / VARIANT_MODEL_FILE, converted, size, self._shape)
        shutil.copy(published / GOLDEN_FILE, converted / GOLDEN_FILE)
        options = replace(self.options, variant=name)
        arguments = (converted, options.threads, size, self._shape, options.fixed_precision)
        pace: Pace = _engine().prove(*arguments, **self._replay(name))
        return pace

    def _prove_saved_model(self, options: LoadOptions) -> LoadOptions:
        size, precision = self._batch_size, options.fixed_precision
        _conversion().convert(self.source, self.folder, size, self._shape, precision)
        pace = _engine().prove(self.folder, options.threads, size, self._shape, precision, **self._replay(None))
        return replace(options, pace=pace)

    def _time_saved_model(self, options: LoadOptions) -> Pace:
        precision = options.fixed_precision
        _conversion().convert(self.source, self.folder, 1, self._shape, precision)
        return Pace(
            one_s=_engine().prove_one(self.folder, options.threads, self._shape, precision, **self._replay(None))
        )

    def _replay(self, variant: VariantName | None) -> dict[str, Any]:
        """The golden slices, and what raises GoldenMismatch where they are answered otherwise."""
        golden = read_golden(self.folder, self.manifest, variant_dir(variant) if variant else "")
        tolerance = self.manifest.as_served(variant).golden_tolerance

        def check(outputs: Outputs) -> None:
            golden.compare(outputs[OUTPUT_NAME], tolerance)

        return {"images": golden.images, "check": check}

    @property
    def _batch_size(self) -> int:
        return self.options.max_batch_size

    @property
    def _shape(self) -> tuple[int, int]:
        return self.manifest.preprocessing.height, self.manifest.preprocessing.width


def _conversion() -> ModuleType:
    """Imported here: OpenVINO need not be installed."""
    return importlib.import_module("service.engines.openvino_conversion")


def _engine() -> ModuleType:
    return import_engine("openvino")
