"""What is no whole, true, understood version never serves; an older one does, and the service says why."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.inputs.slices import jpeg_slice
from tests.support.model_repository import ModelRepository
from tests.support.serving import DEADLINE_S, RunningService, serving, wait_until

pytestmark = pytest.mark.slow

Breakage = Callable[[ModelRepository, Path], None]

WEIGHTS = "variables/variables.data-00000-of-00001"


def _half_copied(_: ModelRepository, folder: Path) -> None:
    (folder / "manifest.json").unlink()
    shutil.rmtree(folder / "variables")


def _flipped_byte(_: ModelRepository, folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def _truncated_weights(_: ModelRepository, folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def _missing_file(_: ModelRepository, folder: Path) -> None:
    (folder / "saved_model.pb").unlink()


def _unknown_spec(repository: ModelRepository, folder: Path) -> None:
    spec = json.loads((folder / "manifest.json").read_text("utf-8"))["preprocessing"]
    repository.change_manifest(folder, preprocessing=spec | {"schema_version": 4})


def _unknown_step_in_spec(repository: ModelRepository, folder: Path) -> None:
    spec = json.loads((folder / "manifest.json").read_text("utf-8"))["preprocessing"]
    repository.change_manifest(folder, preprocessing=spec | {"clahe": True})


def _unknown_manifest(repository: ModelRepository, folder: Path) -> None:
    repository.change_manifest(folder, schema_version=99)


def _malformed_manifest(_: ModelRepository, folder: Path) -> None:
    (folder / "manifest.json").write_text('{"schema_version": 1, ', "utf-8")


def _wrong_number(repository: ModelRepository, folder: Path) -> None:
    repository.change_manifest(folder, model_version=999)


def _outside_file(repository: ModelRepository, folder: Path) -> None:
    shutil.copyfile(folder / "saved_model.pb", repository.model_dir / "outside")
    files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    repository.change_manifest(folder, files=files | {"../outside": files["saved_model.pb"]})


def _other_weights(repository: ModelRepository, folder: Path) -> None:
    """Weights of another training under true checksums: only the golden replay can tell."""
    other = repository.prepare(1000 + 1 - int(folder.name.removeprefix(".tmp-")) % 2)
    shutil.copyfile(other / WEIGHTS, folder / WEIGHTS)
    shutil.copyfile(other / "variables/variables.index", folder / "variables/variables.index")
    shutil.rmtree(other)
    repository.sign_off(folder)


def _golden_of_other_shape(repository: ModelRepository, folder: Path) -> None:
    np.savez(folder / "golden.npz", images=np.zeros((2, 8, 8, 1), np.uint8), probabilities=np.zeros((2, 3), np.float32))
    repository.sign_off(folder)


def _golden_of_pickles(repository: ModelRepository, folder: Path) -> None:
    np.savez(folder / "golden.npz", images=np.array([{}], object), probabilities=np.array([{}], object))
    repository.sign_off(folder)


def _garbage_graph(repository: ModelRepository, folder: Path) -> None:
    (folder / "saved_model.pb").write_bytes(b"no graph at all")
    repository.sign_off(folder)


def _golden_header(header: bytes) -> Breakage:
    def break_it(repository: ModelRepository, folder: Path) -> None:
        with zipfile.ZipFile(folder / "golden.npz", "w") as archive:
            archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
            archive.writestr("probabilities.npy", b"")
        repository.sign_off(folder)

    return break_it


def _corrupt_lzma(repository: ModelRepository, folder: Path) -> None:
    with zipfile.ZipFile(folder / "golden.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("images.npy", bytes(100_000))
    packed = bytearray((folder / "golden.npz").read_bytes())
    packed[60:90] = b"\x55" * 30
    (folder / "golden.npz").write_bytes(packed)
    repository.sign_off(folder)


def _nested_manifest(_: ModelRepository, folder: Path) -> None:
    (folder / "manifest.json").write_text('{"metrics": ' * 100_000, "utf-8")


def _not_utf8(_: ModelRepository, folder: Path) -> None:
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes().replace(b'"tiny"', b'"t\xffny"'))


def _endless_number(_: ModelRepository, folder: Path) -> None:
    manifest = (folder / "manifest.json").read_text("utf-8")
    (folder / "manifest.json").write_text(manifest.replace('"metrics": {}', '"metrics": {"accuracy": 1e999}'), "utf-8")


def _name_of_megabytes(repository: ModelRepository, folder: Path) -> None:
    repository.change_manifest(folder, files={"a" * 5_000_000: None})


def _name_too_long(repository: ModelRepository, folder: Path) -> None:
    files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    repository.change_manifest(folder, files=files | {"a" * 5_000: files["saved_model.pb"]})


def _ten_terabytes(repository: ModelRepository, folder: Path) -> None:
    files = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    repository.change_manifest(folder, files=files | {"more": {"sha256": "0" * 64, "size": 10**13}})


def _other_input(repository: ModelRepository, folder: Path) -> None:
    """A graph that OpenVINO reads, but whose input has no such name."""
    graph = (folder / "saved_model.pb").read_bytes()
    (folder / "saved_model.pb").write_bytes(graph.replace(b"image", b"imbge"))
    repository.sign_off(folder)


BREAKAGES: dict[str, tuple[Breakage, str]] = {
    "half copied": (_half_copied, "manifest.json is missing"),
    "a flipped byte": (_flipped_byte, f"{WEIGHTS} differs from its checksum"),
    "truncated weights": (_truncated_weights, f"{WEIGHTS} has"),
    "a missing file": (_missing_file, "saved_model.pb is missing"),
    "an unknown preprocessing spec": (_unknown_spec, "preprocessing.schema_version"),
    "an unknown preprocessing step": (_unknown_step_in_spec, "preprocessing.clahe"),
    "a manifest of the future": (_unknown_manifest, "schema_version"),
    "a malformed manifest": (_malformed_manifest, "manifest.json is not understood"),
    "another version's number": (_wrong_number, "is of version 999"),
    "a file outside": (_outside_file, "lies outside the version"),
    "other weights": (_other_weights, "golden replay differs"),
    "a golden file of another shape": (_golden_of_other_shape, "golden.npz does not fit"),
    "a golden file of pickles": (_golden_of_pickles, "golden.npz cannot be read"),
    "a header that nests": (_golden_header(b"-" * 9_000 + b"1"), "golden.npz cannot be read"),
    "a header that breaks off": (_golden_header(b"{'descr': '"), "golden.npz cannot be read"),
    "a golden file of damaged LZMA": (_corrupt_lzma, "golden.npz cannot be read"),
    "a manifest that nests": (_nested_manifest, "recursion limit exceeded"),
    "a manifest that is not UTF-8": (_not_utf8, "invalid unicode"),
    "a number that is not finite": (_endless_number, "a number is not finite"),
    "a name of megabytes": (_name_of_megabytes, "manifest.json is not understood"),
    "a name longer than any": (_name_too_long, "is missing"),
    "ten terabytes": (_ten_terabytes, "larger than"),
    "a graph with another input": (_other_input, "breaks with RuntimeError"),
    "a graph of garbage": (_garbage_graph, "cannot compile"),
}
VERSION_OF = {what: number for number, what in enumerate(BREAKAGES, 2)}


@pytest.fixture(scope="module")
def broken(
    tmp_path_factory: pytest.TempPathFactory, published: tuple[Path, Path]
) -> Iterator[tuple[ModelRepository, RunningService]]:
    """A service started on a repository whose version 1 is good and all newer ones are bad, each in its own way."""
    repository = ModelRepository(tmp_path_factory.mktemp("broken") / "repository", published)
    repository.publish(1)
    for what, (break_it, _) in BREAKAGES.items():
        folder = repository.prepare(VERSION_OF[what])
        break_it(repository, folder)
        folder.rename(repository.version_dir(VERSION_OF[what]))
    with serving(repository.root, is_ready=False) as service:
        wait_until(
            lambda: len(service.model_info()["failures"]) == len(BREAKAGES) and service.health()["model_version"],
            "all versions are tried",
            3 * DEADLINE_S,
        )
        yield repository, service


@pytest.mark.parametrize("what", BREAKAGES)
def test_a_bad_version_is_refused_and_says_why(broken: tuple[ModelRepository, RunningService], what: str) -> None:
    """/model-info names each bad version, why it is bad, and that only new files help; no path of the machine shows."""
    repository, service = broken
    (failure,) = [one for one in service.model_info()["failures"] if one["model_version"] == VERSION_OF[what]]
    assert BREAKAGES[what][1] in failure["reason"]
    assert failure["retried"] is False
    assert len(failure["reason"]) < 600
    assert str(repository.root) not in failure["reason"]


def test_the_newest_valid_version_serves_from_the_start(broken: tuple[ModelRepository, RunningService]) -> None:
    """With every newer version bad, the old one answers, and /health is degraded and says why."""
    _, service = broken
    health = service.client.get("/health")
    newest = max(VERSION_OF.values())
    assert health.status_code == 200
    assert health.json()["status"] == "degraded"
    assert health.json()["model_version"] == 1
    assert f"version {newest} is bad" in health.json()["reasons"][0]
    assert "cannot compile" in health.json()["reasons"][0]
    assert service.client.get("/health/ready").status_code == 200
    answer = service.client.post("/predict", content=jpeg_slice())
    assert (answer.status_code, answer.json()["model_version"]) == (200, 1)
    assert service.model_info()["versions"] == [1, *VERSION_OF.values()]
    assert service.metric("lungct_reloads_total", outcome="bad_content") == len(BREAKAGES)
    assert service.metric("lungct_serving_version") == 1


def test_bad_content_is_not_tried_again(broken: tuple[ModelRepository, RunningService]) -> None:
    """Ten looks at the unchanged repository later no version was tried again."""
    repository, service = broken
    before = service.metric("lungct_reloads_total", outcome="bad_content")
    # a pin to a missing version and back: the complaint proves that the repository was looked at in between
    for _ in range(10):
        repository.pin(777)
        wait_until(lambda: service.model_info()["pinned"] == 777, "the pin is seen")
        repository.pin(None)
        wait_until(lambda: service.model_info()["pinned"] is None, "the pin is gone")
    assert service.metric("lungct_reloads_total", outcome="bad_content") == before


def test_a_mended_version_serves(broken: tuple[ModelRepository, RunningService]) -> None:
    """When the missing files of a version arrive, in place and in any order, it serves; before, it never did."""
    repository, service = broken
    version = VERSION_OF["half copied"]
    for newer in (number for number in VERSION_OF.values() if number != version):
        shutil.rmtree(repository.version_dir(newer))
    whole = repository.prepare(version)
    target = repository.version_dir(version)
    for path in sorted(whole.rglob("*")):  # the manifest comes before the weights
        if path.is_file():
            (target / path.relative_to(whole)).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target / path.relative_to(whole))
            answer = service.client.post("/predict", content=jpeg_slice())
            assert answer.status_code == 200
    shutil.rmtree(whole)
    service.wait_ready(version)
    wait_until(lambda: service.health()["status"] == "ok", "all is well")
    assert service.model_info()["failures"] == []
