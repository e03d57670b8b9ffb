"""Give a version on disk a variant: another network, with answers, figures and rules of its own."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from shared.artifact import (
    GOLDEN_FILE,
    INPUT_NAME,
    MANIFEST_FILE,
    OUTPUT_NAME,
    Manifest,
    digest_files,
    read_manifest,
    variant_dir,
)
from shared.golden import Golden, read_golden, write_golden
from shared.variant import VARIANT_MODEL_FILE, Variant
from tests.support.version_folder import rewrite_manifest

FIGURES: dict[str, Any] = {
    "may_serve": True,
    "comparison": {"accuracy": 0.0007},
    "metrics": {"accuracy": 0.75},
    "thresholds": None,
    "chest_gate": None,
    "familiarity": None,
    "warnings": ("Quantized.",),
    "golden_tolerance": 0.005,
}


def add_variant(version_dir: Path, network: Path, *, lie: float = 0.0, **figures: Any) -> Manifest:
    """Publish the network of another version's folder as int8, and return the manifest; figures replace FIGURES.

    That it is no quantized network changes nothing for who loads it, and its answers tell it from the SavedModel.
    lie: by how much its golden answers differ from what it says.
    """
    manifest, folder = read_manifest(version_dir), version_dir / variant_dir("int8")
    folder.mkdir(parents=True)
    core = openvino.Core()
    model = core.read_model(network)
    spec = manifest.preprocessing
    model.reshape({INPUT_NAME: [-1, spec.height, spec.width, 1]})
    openvino.save_model(model, folder / VARIANT_MODEL_FILE, compress_to_fp16=False)
    images = read_golden(version_dir, manifest).images
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers = np.array(compiled({INPUT_NAME: images})[OUTPUT_NAME], np.float32)
    write_golden(folder / GOLDEN_FILE, Golden(images=images, probabilities=answers + np.float32(lie)))
    variant = Variant(**FIGURES | figures)
    rewrite_manifest(version_dir, variants={"int8": variant.model_dump(mode="json")}, files=_digests(version_dir))
    return read_manifest(version_dir)


def list_files_anew(version_dir: Path) -> None:
    """List the files as they are now: bad content with true checksums."""
    rewrite_manifest(version_dir, files=_digests(version_dir))


def without_variants(version_dir: Path) -> None:
    """As published before there were variants: the manifest does not know the word."""
    assert "variants" in json.loads((version_dir / MANIFEST_FILE).read_text())
    rewrite_manifest(version_dir, variants=...)


def _digests(version_dir: Path) -> dict[str, Any]:
    return {name: digest.model_dump() for name, digest in digest_files(version_dir).items()}
