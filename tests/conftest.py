"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

# before TensorFlow is first imported: its C++ log says nothing that a test's reader wants
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.support.published import publish_untrained
from trainer.phantoms.phantom import write_phantoms


@pytest.fixture(scope="session")
def tiny_network_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository holding lung-ct/1, an untrained small network. Read it; publish into a copy."""
    repository = tmp_path_factory.mktemp("repository")
    publish_untrained(repository, seed=1)
    return repository


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of drawn slices: three classes, four cases each, two slices a case."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, cases_per_class=4, slices_per_case=2, seed=7)
    return folder


@pytest.fixture(scope="session")
def real_slices() -> Path:
    """The folder of labelled CT slices that LUNGCT_TEST_DATA names; the test is skipped without one."""
    named = os.environ.get("LUNGCT_TEST_DATA")
    if not named:
        pytest.skip("needs labelled CT slices: set LUNGCT_TEST_DATA to a folder of class folders")
    return Path(named)


@pytest.fixture
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No LUNGCT_ variable of whoever runs the tests, and a repository that is empty."""
    for name in list(os.environ):
        if name.startswith("LUNGCT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LUNGCT_MODEL_REPOSITORY", str(tmp_path / "models"))
