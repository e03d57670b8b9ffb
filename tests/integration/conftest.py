"""Published versions and running services that several integration tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.model_repository import ModelRepository
from tests.support.published import publish_untrained
from tests.support.serving import RunningService, serving


@pytest.fixture(scope="session")
def published(tiny_network_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two version folders of different weights, for even and odd versions: copy them, never change them."""
    other = tmp_path_factory.mktemp("other")
    publish_untrained(other, seed=2)
    return other / "lung-ct" / "1", tiny_network_repository / "lung-ct" / "1"


@pytest.fixture
def repository(tmp_path: Path, published: tuple[Path, Path]) -> ModelRepository:
    """An empty model repository of this test alone."""
    return ModelRepository(tmp_path / "repository", published)


@pytest.fixture(scope="session")
def service(tiny_network_repository: Path) -> Iterator[RunningService]:
    """One service for all tests that only ask: version 1, default limits. Leave nothing running in it."""
    with serving(tiny_network_repository, precision="f32") as running:
        yield running
