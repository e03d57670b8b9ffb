"""A running service with a version that brings an int8 variant: what callers and operators see of it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.decision_rules import point, rules
from tests.support.inputs.slices import jpeg_slice
from tests.support.published import publish_untrained
from tests.support.serving import RunningService, serving
from tests.support.variants import add_variant

OF_FLOAT32, OF_INT8 = rules(), rules(operating_points={"high_sensitivity": point(0.35), "specificity_95": point(0.6)})
NAMED = "Quantized."
DIFFERS = "The explanation comes from the float32 model; its probabilities may differ a little from the prediction's."


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory, tiny_network_repository: Path) -> Path:
    """lung-ct/1: a large network, and a small one as its variant, which is faster everywhere and answers otherwise."""
    repository = tmp_path_factory.mktemp("varied")
    publish_untrained(repository, seed=3, network="cnn", has_attention=True, thresholds=OF_FLOAT32)
    add_variant(repository / "lung-ct" / "1", tiny_network_repository / "lung-ct" / "1", thresholds=OF_INT8)
    return repository


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service keeps its lines."""
    return tmp_path_factory.mktemp("ledger")


@pytest.fixture(scope="module")
def running(varied: Path, ledger: Path) -> Iterator[RunningService]:
    """A service of it in the precision that is the default."""
    with serving(varied, ledger_dir=ledger, ood_policy="flag") as service:
        yield service


def _predict(service: RunningService) -> dict[str, Any]:
    return dict(service.client.post("/predict", content=jpeg_slice(1)).json())


def test_answers_name_the_variant_and_follow_its_rules(running: RunningService, varied: Path) -> None:
    """One slice or several: the int8 network answers, by its threshold and with its warnings, not the float32 one."""
    said = _predict(running)
    assert (said["variant"], said["decision"]["threshold"], NAMED in said["warnings"]) == ("int8", 0.35, True)
    batch = running.client.post("/predict/batch", files=[("files", ("a.jpg", jpeg_slice(1)))] * 3)
    for item in batch.json()["results"]:
        assert item["result"]["variant"] == "int8"
        assert item["result"]["all_predictions"] == pytest.approx(said["all_predictions"], abs=1e-5)
    with serving(varied, precision="f32", ood_policy="flag") as other:
        as_before = _predict(other)
        assert (as_before["variant"], as_before["decision"]["threshold"]) == ("f32", 0.2)
        assert NAMED not in as_before["warnings"]
        assert as_before["all_predictions"] != pytest.approx(said["all_predictions"], abs=0.01)
        assert other.model_info()["variant"] == "f32"
        assert [other.metric("lungct_serving_variant", variant=name) for name in ("f32", "int8")] == [1, 0]


def test_operators_see_which_variant_serves(running: RunningService, ledger: Path) -> None:
    """In /model-info with the manifest as it was published, in the metrics, in the ledger and in the log."""
    said, info = _predict(running), running.model_info()
    assert (info["variant"], NAMED in info["warnings"]) == ("int8", True)
    assert info["manifest"]["thresholds"]["operating_points"]["high_sensitivity"]["threshold"] == 0.2
    assert info["manifest"]["variants"]["int8"]["metrics"] == {"accuracy": 0.75}
    assert [running.metric("lungct_serving_variant", variant=name) for name in ("f32", "int8")] == [0, 1]
    lines = [json.loads(line) for path in sorted(ledger.glob("*.jsonl")) for line in path.read_text().splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == said["request_id"]]
    assert (line["model_version"], line["variant"]) == (1, "int8")
    (loaded,) = [line for line in running.log_lines() if line["message"] == "model loaded"]
    assert (loaded["model_version"], loaded["variant"]) == (1, "int8")
    assert running.health()["status"] == "ok"


def test_explanations_are_of_the_float32_model_and_say_so(running: RunningService) -> None:
    """Class, map, probabilities and decision belong together; nothing of the variant is mixed in."""
    answer = running.client.post("/explain", params={"format": "json"}, content=jpeg_slice(1))
    body = answer.json()
    assert (body["prediction"]["variant"], body["prediction"]["decision"]["threshold"]) == ("f32", 0.2)
    assert body["class_name"] == body["prediction"]["prediction"]
    assert body["method"] == "class-activation"
    assert body["warnings"] == body["prediction"]["warnings"]
    assert (body["warnings"][-1], NAMED in body["warnings"]) == (DIFFERS, False)
    drawn = running.client.post("/explain", content=jpeg_slice(1))
    assert drawn.headers["X-Note"] == answer.headers["X-Note"] == f"{body['note']}. {DIFFERS}"
    assert _predict(running)["variant"] == "int8"


def test_a_variant_that_disagrees_here_gives_way_and_the_log_says_why(
    varied: Path, tiny_network_repository: Path, tmp_path: Path
) -> None:
    """The version serves all the same, as float32."""
    version_dir = Path(shutil.copytree(varied / "lung-ct" / "1", tmp_path / "repository" / "lung-ct" / "1"))
    shutil.rmtree(version_dir / "variants")
    add_variant(version_dir, tiny_network_repository / "lung-ct" / "1", lie=0.02)
    with serving(tmp_path / "repository", ood_policy="flag") as service:
        said = _predict(service)
        assert (said["variant"], said["decision"]["threshold"], NAMED in said["warnings"]) == ("f32", 0.2, False)
        assert DIFFERS not in service.client.post("/explain?format=json", content=jpeg_slice(1)).json()["warnings"]
        (line,) = [line for line in service.log_lines() if line["message"] == "variant not served"]
        assert (line["model_version"], line["variant"], line["level"]) == (1, "int8", "WARNING")
        assert line["reason"] == "golden replay differs by 0.02; the manifest allows 0.005"
        assert service.health()["status"] == "ok"
