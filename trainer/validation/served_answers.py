"""What services answer to labelled slices: the same gate, model, familiarity and rules, with their default policies."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.artifact import DISTANCE_NAME, FAMILIARITY_NAME, OUTPUT_NAME, Manifest
from shared.chest_ct import DEFAULT_GATE, SURE, Check, ChestGate, look_at
from shared.familiarity import Acquisition
from shared.imaging import SliceTensor
from shared.raster.colour import is_coloured
from shared.raster.decode import ImageType, read_header
from trainer.errors import TrainerError
from trainer.evaluation.answers import Answers
from trainer.export.saved_model import load_and_answer
from trainer.progress import in_threads, with_progress
from trainer.validation.labelled_slices import LabelledSlices

_BATCH = 8


class UnusableModel(TrainerError):
    """The version is what was published, and TensorFlow cannot run it here."""

    def __init__(self, version: int, reason: str) -> None:
        super().__init__(f"TensorFlow cannot run version {version}: {reason}.")


def served_answers(
    manifest: Manifest,
    version_dir: Path,
    slices: LabelledSlices,
    threads: int | None = None,
) -> Answers:
    """Each slice's answer. slices: prepared as the version asks.

    Of refused slices only the doubts count. Unfamiliar ones get the verdict `uncertain` and every class in the set.
    Raises UnusableModel, or OSError where a file is gone by now.
    """
    gate, dataset, n = manifest.chest_gate or DEFAULT_GATE, slices.dataset, len(slices.dataset)
    looks = in_threads(
        lambda row: _doubts_before(
            gate, dataset.images[row], dataset.acquisitions[row], dataset.kinds[row], slices.paths[row]
        ),
        range(n),
        threads,
    )
    doubts: list[tuple[Check, ...]] = list(with_progress(looks, n, "Asking the chest gate"))
    outputs = _outputs(version_dir, manifest, dataset.images)
    textures = outputs[FAMILIARITY_NAME].tolist() if FAMILIARITY_NAME in outputs else [None] * n
    if DISTANCE_NAME in outputs:
        is_far = map(gate.is_too_far, outputs[DISTANCE_NAME].tolist())
        doubts = [("distance",) if far and not before else before for before, far in zip(doubts, is_far, strict=True)]
    is_familiar, known = np.ones(n, np.bool_), manifest.familiarity
    if known:
        judged = map(known.judge, dataset.acquisitions, textures)
        is_familiar[:] = [one.is_familiar for one in judged]
    probabilities, rules, names = outputs[OUTPUT_NAME].astype(np.float64), manifest.thresholds, manifest.classes.names
    verdicts = in_set = None
    if rules:
        asked = list(zip(probabilities.tolist(), is_familiar.tolist(), strict=True))
        verdicts = np.array([rules.decide(one).verdict if familiar else "uncertain" for one, familiar in asked])
        sets = [rules.prediction_set(one) if familiar else names for one, familiar in asked]
        in_set = np.array([[name in of_slice for name in names] for of_slice in sets], np.bool_)
    return Answers(
        classes=manifest.classes,
        labels=dataset.labels,
        groups=slices.groups,
        kinds=dataset.kinds,
        doubts=tuple(doubts),
        probabilities=probabilities,
        is_familiar=is_familiar,
        verdicts=verdicts,
        in_set=in_set,
    )


def _doubts_before(
    gate: ChestGate, tensor: SliceTensor, acquisition: Acquisition, kind: ImageType, path: Path
) -> tuple[Check, ...]:
    """What speaks against a slice before the network has seen it, in the service's order."""
    limits = gate.limits_in(is_narrow=acquisition.is_narrow)
    if limits is None:
        return ()
    figures = look_at(tensor)
    doubts = limits.doubts(figures)
    # colour costs another decoding, so it is looked for where the other checks are not sure; DICOM here holds none
    if kind != "dicom" and (doubts or SURE.doubts(figures)):
        body = path.read_bytes()
        if is_coloured(body, read_header(body)):
            return ("colour", *doubts)
    return doubts


def _outputs(version_dir: Path, manifest: Manifest, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Every output of the model for all slices. Raises UnusableModel."""
    version, label = manifest.model_version, f"Asking version {manifest.model_version}"
    try:
        batches = list(with_progress(load_and_answer(version_dir, images, _BATCH), len(images), label, step=_BATCH))
    except tf.errors.OpError as error:
        raise UnusableModel(version, str(error.message).splitlines()[0].rstrip(".")) from error
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
