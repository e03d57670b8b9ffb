"""The int8 variant of a small network: fitted, judged, compared and joined on its own features."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from shared.artifact import DISTANCE_NAME, FAMILIARITY_NAME, OUTPUT_NAME
from shared.classes import LUNG_CT_CLASSES
from tests.support.inputs.labelled import of_cases
from tests.support.inputs.members import acquisitions_like
from tests.support.inputs.networks import small_features
from trainer.data.cases import Cases
from trainer.data.dataset import Dataset
from trainer.data.splits import Folds, split_by_case
from trainer.data.views import ACQUIRED, SHOWN
from trainer.evaluation.calibration import softmax
from trainer.networks.heads import LinearMap
from trainer.networks.openvino_network import to_openvino
from trainer.settings import TrainerSettings
from trainer.trained_variant import INT8_TOLERANCE, TrainedVariant, train_int8
from trainer.training.frozen_features import FrozenFeatures, extract
from trainer.training.judged import Judged, fit_and_judge
from trainer.training.members import Member
from trainer.training.quantized_features import quantize_features
from trainer.training.work_folder import WorkFolder

SETTINGS = TrainerSettings(seed=3, folds=2, image_side=32)


@dataclass(frozen=True)
class Trained:
    dataset: Dataset
    folds: Folds
    learner: FrozenFeatures
    work: WorkFolder
    reference: Judged
    int8: TrainedVariant

    def again(self, reference: Judged) -> TrainedVariant:
        found = train_int8(
            self.dataset, self.folds, self.learner, SETTINGS, shortcuts=(), work=self.work, reference=reference
        )
        assert found is not None
        return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Eight cases a class of two slices each, mostly brighter from class to class, with both views."""
    slices, groups = of_cases({label: [2] * 8 for label in range(3)})
    random = np.random.default_rng(4)
    brightness = 20 * slices.labels + random.normal(40, 15, len(groups))
    plain = np.clip(random.integers(0, 120, (len(groups), 32, 32, 1)) + brightness[:, None, None, None], 0, 255)
    dataset = Dataset(
        **vars(slices),
        images=plain.astype(np.uint8),
        views={
            name: np.clip(plain * gain, 0, 255).astype(np.uint8) for name, gain in ((ACQUIRED, 1.02), (SHOWN, 1.05))
        },
        acquisitions=acquisitions_like(groups, 1),
        kind="slices",
    )
    folds = split_by_case(dataset, Cases(groups, "known"), SETTINGS.folds, seed=1)
    network, blocks = small_features()
    features = extract(to_openvino(network), dataset.seen)
    learner = FrozenFeatures(dataset, groups, head="lda", network=network, blocks=blocks, features=features)
    work = WorkFolder(tmp_path_factory.mktemp("models"), "f" * 64, is_resumed=True)
    reference = fit_and_judge(dataset, folds, learner, SETTINGS, shortcuts=(), work=work)
    int8 = train_int8(dataset, folds, learner, SETTINGS, shortcuts=(), work=work, reference=reference)
    assert int8 is not None
    return Trained(dataset, folds, learner, work, reference, int8)


def test_it_is_judged_on_what_it_serves(trained: Trained) -> None:
    """Its figures, rules and limits are of its own features; the comparison says why it may serve."""
    variant, reference = trained.int8.variant, trained.reference
    assert variant.metrics["n"] == len(trained.dataset)
    assert variant.metrics.keys() == reference.figures.keys()
    temperatures = [one["calibration"]["temperature"] for one in (variant.metrics, reference.figures)]
    assert temperatures[0] != temperatures[1]
    assert variant.chest_gate.max_distance != reference.gate.max_distance
    assert variant.familiarity.texture_unit != reference.familiarity.texture_unit
    assert variant.thresholds.class_names == LUNG_CT_CLASSES.names
    assert variant.golden_tolerance == INT8_TOLERANCE
    assert variant.may_serve == str(variant.comparison["reason"]).startswith("It may serve: ")
    assert {"balanced_accuracy", "accuracy", "sensitivity", "ece", "n_cases"} <= variant.comparison.keys()


def test_a_worse_one_may_not_serve(trained: Trained) -> None:
    """Beside a reference that is always right; the reason says what is worse."""
    right = np.eye(3)[trained.dataset.labels]
    before = trained.reference.held_out
    reference = replace(
        trained.reference, held_out=replace(before, probabilities=right, is_familiar=~before.is_familiar)
    )
    variant = trained.again(reference).variant
    assert not variant.may_serve
    assert "It may not serve: " in str(variant.comparison["reason"])
    assert "familiarity agrees on" in str(variant.comparison["reason"])


def test_its_model_is_heads_on_quantized_features(trained: Trained) -> None:
    """Named outputs for slices in batches of any size, and no attention: the mean over members of what each says."""
    images = trained.dataset.images[:5]
    compiled = ov.Core().compile_model(trained.int8.model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answer = compiled([images])
    assert {name for output in compiled.outputs for name in output.names} >= {OUTPUT_NAME, DISTANCE_NAME}
    quantized = quantize_features(trained.learner.network, trained.dataset.seen, trained.work)
    judged = fit_and_judge(
        trained.dataset, trained.folds, trained.learner.on(quantized.features), SETTINGS, shortcuts=(),
        work=trained.work, kept_as="int8-fold",
    )  # fmt: skip
    rows = np.arange(5)
    features = judged.members[0].features_of(rows)
    expected = np.mean([softmax(member.logits(rows), judged.temperature) for member in judged.members], axis=0)
    np.testing.assert_allclose(answer[OUTPUT_NAME], expected, atol=1e-4)
    for name in (DISTANCE_NAME, FAMILIARITY_NAME):
        far = np.mean([distance.of(features) for distance in judged.distances[name]], axis=0)
        np.testing.assert_allclose(answer[name], far, rtol=1e-3)
    assert len(compiled.outputs) == 3
    assert compiled.input(0).names == {"image"}
    assert compiled.input(0).element_type == ov.Type.u8


def test_a_network_that_tells_nothing_apart_has_none(trained: Trained, caplog: pytest.LogCaptureFixture) -> None:
    """Its features are the same of all slices; the version is published without the variant."""
    network, blocks = small_features()
    network.set_weights([np.zeros_like(value) for value in network.get_weights()])
    nothing = {name: np.zeros((len(trained.dataset), 40), np.float32) for name in trained.dataset.seen}
    learner = FrozenFeatures(
        trained.dataset, trained.folds.cases.groups, head="lda", network=network, blocks=blocks, features=nothing
    )
    work = WorkFolder(trained.work.path.parent, "0" * 64, is_resumed=False)
    found = train_int8(
        trained.dataset, trained.folds, learner, SETTINGS, shortcuts=(), work=work, reference=trained.reference
    )
    assert found is None
    assert "left out, for the quantized network says the same of every slice" in caplog.text


def test_members_on_given_features_ask_no_network(trained: Trained) -> None:
    """A feature that was not given is an error, not what the network in float32 says."""
    network = trained.learner.on({}).network
    assert (network.input_shape, network.output_shape) == ((None, 40), (None, 40))
    nothing = LinearMap(np.zeros((40, 3), np.float32), np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="incompatible with the layer"):
        Member(network, nothing, trained.dataset.seen).features_of(np.arange(2))


def test_a_resumed_run_takes_up_the_quantized_network(trained: Trained, caplog: pytest.LogCaptureFixture) -> None:
    """Bit by bit what was kept, and nothing is quantized again."""
    with caplog.at_level("INFO"):
        first, second = (
            quantize_features(trained.learner.network, trained.dataset.seen, trained.work) for _ in range(2)
        )
    assert "Taken from the run that was cut off: int8.npz" in caplog.text
    assert "Quantizing" not in caplog.text
    assert all(np.array_equal(first.features[name], second.features[name]) for name in trained.dataset.seen)
    asked = extract(second.network, trained.dataset.seen)
    assert all(np.array_equal(asked[name], second.features[name]) for name in trained.dataset.seen)


def test_what_is_no_quantized_network_is_made_again(
    trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged file costs time, and nothing else."""
    work = WorkFolder(tmp_path, "a" * 64, is_resumed=True)
    work.path.mkdir()
    (work.path / "int8.npz").write_bytes(b"no archive")
    made = quantize_features(trained.learner.network, trained.dataset.seen, work)
    assert "cannot be read and is made again" in caplog.text
    assert set(made.features) == set(trained.dataset.seen)
