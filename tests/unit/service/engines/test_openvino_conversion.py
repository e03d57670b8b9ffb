"""What the engine compiles is the published model, with smaller weights where precision is free."""

import subprocess
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as operations

from service.engines.openvino_conversion import (
    ALONE_FILE,
    BATCH_FILE,
    EXPLAIN_FILE,
    compress_large_weights,
    convert,
    quantized,
)
from shared.artifact import ArtifactError
from tests.support.published import publish_untrained

_RANDOM = np.random.default_rng(7)


@pytest.fixture(scope="module")
def version_dir(tiny_network_repository: Path) -> Path:
    """A published version, untrained."""
    return tiny_network_repository / "lung-ct" / "1"


def _dense(inputs: int, outputs: int, *, transposed: bool) -> tuple[openvino.Model, np.ndarray]:
    """A model of one dense layer over a batch of 2, and its weights [outputs, inputs]."""
    weights = _RANDOM.normal(size=(outputs, inputs)).astype(np.float32)
    entry = operations.parameter([2, inputs], np.float32)
    constant = operations.constant(weights if transposed else np.ascontiguousarray(weights.T))
    return openvino.Model([operations.matmul(entry, constant, False, transposed)], [entry]), weights


@pytest.mark.parametrize("transposed", [True, False])
def test_a_large_layer_answers_nearly_the_same_with_a_quarter_of_the_weights(*, transposed: bool) -> None:
    """Whichever way its matrix lies, a large dense layer is compiled from 8-bit weights, within their rounding."""
    model, weights = _dense(4096, 512, transposed=transposed)
    compress_large_weights(model)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = {op.get_output_element_type(0).get_type_name() for op in model.get_ops() if op.get_output_size()}
    assert "i8" in kinds
    entries = _RANDOM.normal(size=(2, 4096)).astype(np.float32)
    answers = compiled(entries)[0]
    # half a step of each of 4096 weights, as independent errors
    step = np.abs(weights).max() / 127
    assert np.abs(answers - entries @ weights.T).max() < 6 * step / np.sqrt(12) * np.sqrt(4096)
    assert np.abs(answers - entries @ weights.T).max() > 0


def test_layers_of_several_models_keep_their_own_weights() -> None:
    """Clones get the same levels, and no layer those of another one of its shape."""
    entry = operations.parameter([2, 1024], np.float32)
    matrices = [_RANDOM.normal(scale=0.03, size=(1024, 1024)).astype(np.float32) for _ in range(2)]
    inner = operations.matmul(entry, operations.constant(matrices[0]), False, True)
    model = openvino.Model([operations.matmul(inner, operations.constant(matrices[1]), False, True)], [entry])
    clone = model.clone()
    compress_large_weights(model, clone)
    entries = _RANDOM.normal(size=(2, 1024)).astype(np.float32)
    expected = entries @ matrices[0].T @ matrices[1].T
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    answers = [openvino.Core().compile_model(one, "CPU", hints)(entries)[0] for one in (model, clone)]
    np.testing.assert_array_equal(*answers)
    assert np.corrcoef(answers[0].ravel(), expected.ravel())[0, 1] > 0.999


def test_compressed_weights_stay_small_in_the_compiled_model() -> None:
    """The engine keeps the 8-bit weights and does not multiply them out: the compiled graph holds them as they are."""
    model, _ = _dense(4096, 512, transposed=True)
    compress_large_weights(model)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    held = [op for op in compiled.get_runtime_model().get_ops() if list(op.output(0).shape) == [512, 4096]]
    assert {op.get_output_element_type(0).get_type_name() for op in held} == {"i8"}


def test_a_small_layer_stays_as_it_is() -> None:
    """Below a million weights nothing is gained, and nothing is changed."""
    model, _ = _dense(512, 256, transposed=True)
    before = [op.get_type_name() for op in model.get_ordered_ops()]
    compress_large_weights(model)
    assert [op.get_type_name() for op in model.get_ordered_ops()] == before


def test_levels_are_within_half_a_step() -> None:
    """Every weight is found again within half a step of its output, and an output of zeros stays zeros."""
    weights = _RANDOM.normal(size=(5, 100)).astype(np.float32)
    weights[3] = 0
    levels, scales = quantized(weights)
    assert levels.dtype == np.int8
    assert np.all(np.abs(levels * scales - weights) <= scales * 0.5001)
    assert not np.any(levels[3])


def test_fixed_precision_keeps_every_weight(version_dir: Path, tmp_path: Path) -> None:
    """What must compute as Keras does has the published weights: the files hold float32 for them."""
    convert(version_dir, tmp_path, 4, (224, 224), "f32")
    for name, size in ((ALONE_FILE, 1), (BATCH_FILE, 4)):
        model = openvino.Core().read_model(tmp_path / name)
        assert list(model.input(0).shape) == [size, 224, 224, 1]
        kinds = {op.get_output_element_type(0).get_type_name() for op in model.get_ops() if op.get_output_size()}
        assert not kinds & {"i8", "f16"}


@pytest.mark.slow
def test_only_explanations_are_given_attention(tmp_path: Path) -> None:
    """What predicts is compiled without it; what explains has it, for any batch, and as small weights."""
    publish_untrained(tmp_path, 1, network="cnn", has_attention=True)
    convert(tmp_path / "lung-ct" / "1", tmp_path, 4, (224, 224), None)
    for name, has_attention in ((ALONE_FILE, False), (BATCH_FILE, False), (EXPLAIN_FILE, True)):
        model = openvino.Core().read_model(tmp_path / name)
        names = {name for output in model.outputs for name in output.get_names()}
        assert "probabilities" in names
        assert ("attention" in names) == has_attention
        assert "i8" in {op.get_output_element_type(0).get_type_name() for op in model.get_ops() if op.get_output_size()}
    assert model.input(0).partial_shape.to_string() == "[?,224,224,1]"


def test_what_is_no_model_is_said_to_be_bad(tmp_path: Path) -> None:
    """Garbage in place of a SavedModel is bad content, and not trouble of this machine."""
    (tmp_path / "saved_model.pb").write_bytes(b"garbage")
    with pytest.raises(ArtifactError, match="OpenVINO cannot compile"):
        convert(tmp_path, tmp_path, 4, (224, 224), "f32")


def test_a_full_disk_is_trouble_of_this_machine(version_dir: Path, tmp_path: Path) -> None:
    """Where the converted model has no room, that is said, and the content is not called bad."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=False)
    if mounted.returncode:
        pytest.skip("needs to be allowed to mount a small disk")
    try:
        with pytest.raises(OSError, match="No space left"):
            convert(version_dir, tmp_path, 4, (224, 224), None)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
