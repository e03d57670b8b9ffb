"""Publishing: the next number, whole or not at all."""

from shared.artifact import read_golden, read_manifest, verify_files


def test_a_published_version_is_valid(tiny_network_repository):
    """What publish() writes is read, verified and replayable by what the service uses."""
    version = tiny_network_repository / "lung-ct" / "1"
    manifest = read_manifest(version)
    verify_files(version, manifest)
    assert read_golden(version, manifest).probabilities.shape == (8, 3)
