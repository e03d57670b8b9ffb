"""The card and the figures of the version that serves: exactly what was published, and nothing else of the folder."""

from pathlib import Path

import pytest

from service.model.documents import MAX_DOCUMENT_BYTES, copy_documents, document_names, read_documents
from shared.artifact import CorruptArtifact, digest_files, read_manifest
from tests.support.model_repository import ModelRepository
from tests.support.published import publish_untrained
from tests.support.serving import serving

PNG = b"\x89PNG\r\n\x1a\n and so on"


@pytest.fixture(scope="module")
def with_figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository whose version has a figure."""
    repository = tmp_path_factory.mktemp("figures")
    publish_untrained(repository, seed=1, figures={"confusion_matrix.png": PNG})
    return repository


def test_card_and_figures_are_served_as_published(with_figures: Path) -> None:
    """/model-info lists them; each is what lies in the version, once; nothing else of the folder is reached."""
    version_dir = with_figures / "lung-ct" / "1"
    with serving(with_figures) as service:
        assert service.model_info()["documents"] == ["model-info/card", "model-info/figures/confusion_matrix.png"]
        card = service.client.get("/model-info/card")
        assert card.headers["content-type"] == "text/markdown; charset=utf-8"
        assert card.content == (version_dir / "MODEL_CARD.md").read_bytes()
        figure = service.client.get("/model-info/figures/confusion_matrix.png")
        assert (figure.headers["content-type"], figure.content) == ("image/png", PNG)
        again = service.client.get(
            "/model-info/figures/confusion_matrix.png", headers={"If-None-Match": figure.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
        for name in ("other.png", "..%2fmanifest.json", "%2e%2e/manifest.json", "../golden.npz", "x" * 5000):
            assert service.client.get(f"/model-info/figures/{name}").status_code == 404, name
        answer = service.client.get("/model-info/figures/other.png").json()
        assert answer["type"] == "urn:lungct:problem:no-such-document"
        # read once: a volume that is gone later is asked for nothing
        (version_dir / "MODEL_CARD.md").rename(version_dir / "moved")
        assert service.client.get("/model-info/card").content == card.content
        (version_dir / "moved").rename(version_dir / "MODEL_CARD.md")


def test_without_a_model_there_is_no_card(tmp_path: Path) -> None:
    """503 with Retry-After, as for a prediction."""
    with serving(tmp_path, is_ready=False) as empty:
        answer = empty.client.get("/model-info/card")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:lungct:problem:no-model")
        assert answer.headers["retry-after"]


def test_a_document_that_changed_is_not_shown(with_figures: Path, tmp_path: Path) -> None:
    """Bytes that differ from the manifest are an error, a file that is too large is left out."""
    version_dir = with_figures / "lung-ct" / "1"
    manifest = read_manifest(version_dir)
    copy_documents(version_dir, manifest, tmp_path)
    assert list(read_documents(tmp_path, manifest)) == ["MODEL_CARD.md", "figures/confusion_matrix.png"]
    (tmp_path / "figures" / "confusion_matrix.png").write_bytes(PNG + b"!")
    with pytest.raises(CorruptArtifact, match=r"figures/confusion_matrix\.png differs"):
        read_documents(tmp_path, manifest)
    (tmp_path / "figures" / "confusion_matrix.png").write_bytes(bytes(MAX_DOCUMENT_BYTES + 1))
    (tmp_path / "figures" / "notes.txt").write_bytes(b"no figure")
    larger = manifest.model_copy(update={"files": digest_files(tmp_path)})
    assert document_names(larger) == ["MODEL_CARD.md"]


def test_a_version_without_documents_serves(repository: ModelRepository) -> None:
    """Its list is empty."""
    folder = repository.prepare(1)
    (folder / "MODEL_CARD.md").unlink()
    repository.sign_off(folder)
    folder.rename(repository.version_dir(1))
    with serving(repository.root) as service:
        assert service.model_info()["documents"] == []
        assert service.client.get("/model-info/card").status_code == 404
