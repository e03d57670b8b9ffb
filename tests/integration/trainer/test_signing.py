"""The trainer signs what it publishes, and what is there already, with the key that it was given."""

import json
import shutil
from pathlib import Path

import pytest

from shared.signing import copy_trusted
from tests.support.published import publish_untrained
from tests.support.signing_keys import make_key_pair
from trainer.__main__ import main


@pytest.mark.slow
def test_what_is_published_with_a_key_is_signed(tmp_path: Path) -> None:
    """The signature comes after the manifest and before the version appears; it holds for the number that was taken."""
    keys = make_key_pair(tmp_path / "keys")
    for number in (1, 2):
        assert publish_untrained(tmp_path, seed=number, signing_key=keys.private) == number
        version_dir = tmp_path / "lung-ct" / str(number)
        assert copy_trusted(version_dir, keys.public, tmp_path / "copy" / str(number)).model_version == number


def test_a_version_is_signed_later(
    tiny_network_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`sign` signs a version that is there, and again with a new key; `versions` shows which have a signature."""
    repository, keys = tmp_path / "models", make_key_pair(tmp_path / "keys")
    shutil.copytree(tiny_network_repository, repository)
    where = ("--model-repository", str(repository))
    for _ in range(2):
        assert main(["sign", "1", *where, "--signing-key", str(keys.private)]) == 0
    assert copy_trusted(repository / "lung-ct" / "1", keys.public, tmp_path / "copy" / "1").model_version == 1
    assert [path.name for path in (repository / "lung-ct").iterdir()] == ["1"]
    capsys.readouterr()
    assert main(["versions", *where]) == 0
    assert capsys.readouterr().out.endswith("signed, valid\n")
    assert main(["versions", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)[0]["has_signature"] is True


def test_a_damaged_version_is_not_signed(
    tiny_network_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody vouches by accident for what is not what was published."""
    repository, keys = tmp_path / "models", make_key_pair(tmp_path / "keys")
    shutil.copytree(tiny_network_repository, repository)
    (repository / "lung-ct" / "1" / "saved_model.pb").write_bytes(b"other")
    sign = ("sign", "1", "--model-repository", str(repository), "--signing-key", str(keys.private))
    assert main(sign) == 1
    assert "Version 1 is not valid: saved_model.pb" in capsys.readouterr().err
    assert not (repository / "lung-ct" / "1" / "model.sig").exists()


def test_a_key_that_is_none_ends_a_run_before_it_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is 2 and the sentence names the key; nothing was drawn, trained or written."""
    run = ("run", "--model-repository", str(tmp_path / "models"), "--signing-key", str(tmp_path / "none.pem"))
    assert main(run) == 2
    assert "none.pem cannot be read: No such file or directory; expected a PEM file" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_sign_without_a_key_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2; the sentence names both ways to give the key."""
    monkeypatch.delenv("LUNGCT_SIGNING_KEY", raising=False)
    assert main(["sign", "1", "--model-repository", str(tmp_path)]) == 2
    assert "--signing-key FILE or LUNGCT_SIGNING_KEY" in capsys.readouterr().err
