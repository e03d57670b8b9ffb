"""A service that trusts a key: what is unsigned or wrongly signed never serves, and /health says so."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.signing import sign_version
from tests.support.inputs.slices import jpeg_slice
from tests.support.model_repository import ModelRepository
from tests.support.serving import serving, wait_until
from tests.support.signing_keys import make_key_pair
from trainer.__main__ import main as trainer

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", pytest.param("tensorflow", marks=pytest.mark.slow)])
def test_only_signed_versions_serve(repository: ModelRepository, tmp_path: Path, engine: str) -> None:
    """Unsigned and wrongly signed versions are refused while a signed one serves; signing one makes it serve."""
    ours, theirs = make_key_pair(tmp_path / "ours"), make_key_pair(tmp_path / "theirs")
    sign_version(repository.publish(1), ours.private)
    sign_version(repository.publish(2), theirs.private)
    repository.publish(3)
    settings: dict[str, Any] = {"trusted_key": ours.public, "engine": engine, "engine_threads": 1, "max_batch_size": 2}
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {"TMPDIR": str(scratch)}
    with serving(repository.root, is_ready=False, environment=environment, **settings) as service:
        service.wait_ready(1)
        wait_until(lambda: len(service.model_info()["failures"]) == 2, "both others are tried")
        reasons = {one["model_version"]: one["reason"] for one in service.model_info()["failures"]}
        assert reasons[2] == "model.sig is no signature of a trusted key over these files"
        assert reasons[3] == "model.sig is missing: only signed versions may serve here"
        health = service.health()
        assert health["status"] == "degraded"
        assert service.metric("lungct_degraded") == 1
        assert health["reasons"] == [f"version 3 is bad: {reasons[3]}"]
        assert service.client.post("/predict", content=jpeg_slice()).json()["model_version"] == 1
        sign = ("sign", "3", "--model-repository", str(repository.root), "--signing-key", str(ours.private))
        assert trainer(sign) == 0
        service.wait_ready(3)
        assert service.client.post("/predict", content=jpeg_slice()).json()["model_version"] == 3
        assert list(scratch.iterdir()) == []  # the copies that were checked are gone


def test_with_nothing_signed_nothing_serves(repository: ModelRepository, tmp_path: Path) -> None:
    """A service that never had a trusted version is unavailable, says why, and answers 503."""
    repository.publish(1)
    with serving(repository.root, is_ready=False, trusted_key=make_key_pair(tmp_path / "keys").public) as service:
        wait_until(lambda: service.model_info()["failures"], "the version is tried")
        wait_until(lambda: len(service.health()["reasons"]) == 2, "and given up")
        assert service.health()["status"] == "unavailable"
        assert service.health()["reasons"][1].startswith("version 1 is bad: model.sig is missing")
        assert service.client.post("/predict", content=jpeg_slice()).status_code == 503


def test_a_trusted_key_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    """A service that could trust nobody does not start: exit code 2, one sentence, the setting's name."""
    environment = {**os.environ, "LUNGCT_TRUSTED_KEY": str(tmp_path / "none.pem")}
    ended = subprocess.run(
        [sys.executable, "-m", "service"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr == "LUNGCT_TRUSTED_KEY: the trusted key cannot be read: No such file or directory\n"
