"""What the tests of versions share."""

from pathlib import Path

import pytest

from tests.support.version_folder import write_version


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """<tmp>/lung-ct/3 in the layout of a published version; its network is some bytes that nothing loads here."""
    folder = tmp_path / "lung-ct" / "3"
    write_version(folder)
    return folder
