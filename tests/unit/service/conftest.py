"""What several rooms' tests of child processes share."""

from pathlib import Path

import pytest


@pytest.fixture
def children_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file: Python code in it is run by every child process before anything else."""
    deed = tmp_path / "deed.py"
    (tmp_path / "sitecustomize.py").write_text(f"exec(open({str(deed)!r}).read())")
    monkeypatch.syspath_prepend(str(tmp_path))  # handed on to the child, where it comes first
    return deed
