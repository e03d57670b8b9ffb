"""What services would answer, of a model that anybody can compute: it looks at the mean grey alone."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf

from shared.artifact import DISTANCE_NAME, INPUT_NAME, OUTPUT_NAME, SIGNATURE
from shared.chest_ct import ChestGate
from shared.classes import LUNG_CT_CLASSES
from shared.familiarity import Acquisition, FamiliarityRules, KnownCases
from tests.support.decision_rules import rules
from tests.support.version_folder import SPEC, manifest_of
from trainer.data.dataset import Dataset
from trainer.evaluation.answers import Answers
from trainer.validation.labelled_slices import LabelledSlices
from trainer.validation.served_answers import UnusableModel, served_answers

GREYS = (0, 51, 102, 204)
NO_CHECKS = ChestGate(image_limits=None)


class _Shade(tf.Module):  # type: ignore[misc] # TensorFlow ships no types
    """Malignant: the mean grey, 0 to 1; of the rest 0.7 is normal. Distance: ten times that. It cannot bear white."""

    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        grey = tf.reduce_mean(tf.cast(image, tf.float32), [1, 2, 3]) / 255
        tf.debugging.assert_less(grey, 0.99)
        return {
            OUTPUT_NAME: tf.stack([(1 - grey) * 0.7, (1 - grey) * 0.3, grey], 1), DISTANCE_NAME: 10 * grey
        }  # fmt: skip


@pytest.fixture(scope="module")
def version_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is named as a version's, with that model."""
    folder = tmp_path_factory.mktemp("models") / "3"
    shade = _Shade()
    image = tf.TensorSpec([None, SPEC.height, SPEC.width, 1], tf.uint8, name=INPUT_NAME)
    serve = tf.function(shade.serve, input_signature=[image]).get_concrete_function()
    tf.saved_model.save(shade, str(folder), signatures={SIGNATURE: serve})
    return folder


def flat_slices(folder: Path) -> LabelledSlices:
    """Files of one grey each, in colour, of the target class."""
    paths = []
    for grey in GREYS:
        paths.append(folder / f"{grey}.png")
        cv2.imwrite(str(paths[-1]), np.full((64, 64, 3), (grey, 0, 255), np.uint8))
    n = len(GREYS)
    dataset = Dataset(
        labels=np.full(n, 2),
        digests=tuple(f"{row:064x}" for row in range(n)),
        files=tuple(f"Malignant cases/{grey}.png" for grey in GREYS),
        thumbnails=np.zeros((n, 64, 64), np.uint8),
        classes=LUNG_CT_CLASSES,
        images=np.stack([np.full((SPEC.height, SPEC.width, 1), grey, np.uint8) for grey in GREYS]),
        kinds=("png", "png", "png", "png"),
        acquisitions=tuple(Acquisition(contrast, 40.0, *(math.e,) * 4) for contrast in (120.0, 120.0, 120.0, 200.0)),
        kind="slices",
    )
    return LabelledSlices(dataset, tuple(paths), np.arange(n), "table")


def asked(version_dir: Path, folder: Path, **manifest: object) -> Answers:
    """What a version with this manifest answers to the flat slices."""
    return served_answers(manifest_of(version_dir, **manifest), version_dir, flat_slices(folder))


def test_rules_decide_what_the_gate_lets_pass(version_dir: Path, tmp_path: Path) -> None:
    """0, 0.2 and 0.4 against the points 0.2 and 0.6; at 0.8 the distance, 8, is above the limit: refused."""
    gate = NO_CHECKS.model_copy(update={"max_distance": 7.0})
    answers = asked(version_dir, tmp_path, thresholds=rules(), chest_gate=gate)
    assert answers.doubts == ((), (), (), ("distance",))
    np.testing.assert_allclose(answers.probabilities[:, 2], np.array(GREYS) / 255, atol=1e-6)
    assert answers.verdicts is not None
    assert answers.in_set is not None
    assert answers.verdicts[[0, 2]].tolist() == ["negative", "uncertain"]
    assert answers.in_set[0].tolist() == [True, True, False]
    assert answers.in_set[2].tolist() == [True, True, True]


def test_without_rules_nothing_is_decided_and_without_a_limit_no_distance_refuses(
    version_dir: Path, tmp_path: Path
) -> None:
    """Old versions have neither."""
    answers = asked(version_dir, tmp_path, thresholds=None, chest_gate=NO_CHECKS)
    assert (answers.verdicts, answers.in_set) == (None, None)
    assert answers.is_answered.all()


def test_a_version_without_a_gate_has_the_default_checks(version_dir: Path, tmp_path: Path) -> None:
    """Flat and coloured: each slice fails by colour, which the file alone tells, and by contrast."""
    answers = asked(version_dir, tmp_path, chest_gate=None)
    assert set(answers.doubts) == {("colour", "contrast")}


def test_an_unfamiliar_slice_is_uncertain_and_rules_nothing_out(version_dir: Path, tmp_path: Path) -> None:
    """Whatever its probabilities say; the others keep their answers."""
    known = KnownCases(centres=((120.0, 40.0, 1.0, 1.0, 1.0, 1.0),), classes=(0,), spread=(1.0,) * 6)
    familiarity = FamiliarityRules(
        limit=0.01, cases=known, acquisition_unit=2.0, texture_unit=1.0, levels=(0.0, 0.5, 1.0)
    )
    answers = asked(version_dir, tmp_path, thresholds=rules(), chest_gate=NO_CHECKS, familiarity=familiarity)
    assert answers.is_familiar.tolist() == [True, True, True, False]
    assert answers.verdicts is not None
    assert answers.in_set is not None
    assert (answers.verdicts[0], answers.verdicts[3]) == ("negative", "uncertain")
    assert answers.in_set[3].all()


def test_a_model_that_tensorflow_cannot_run_is_named(version_dir: Path, tmp_path: Path) -> None:
    """One sentence with the version's number, whatever TensorFlow says in how many lines."""
    slices = flat_slices(tmp_path)
    slices.dataset.images[-1] = 255
    manifest = manifest_of(version_dir, chest_gate=NO_CHECKS)
    with pytest.raises(UnusableModel, match=r"^TensorFlow cannot run version 3: [^\n]*\.$"):
        served_answers(manifest, version_dir, slices)
