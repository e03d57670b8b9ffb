import io
import json
import os
import shutil
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.artifact import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    MAX_GOLDEN_BYTES,
    MAX_MANIFEST_BYTES,
    CorruptArtifact,
    Golden,
    GoldenMismatch,
    Manifest,
    ManifestError,
    digest_file,
    digest_files,
    read_golden,
    read_manifest,
    verify_files,
    write_golden,
)
from shared.classes import LUNG_CT_CLASSES
from shared.imaging import PreprocessingSpec
from tests.support.decision_rules import NAMES, rules

SPEC = PreprocessingSpec(height=32, width=48)
GOLDEN = Golden(
    images=np.arange(2 * 32 * 48, dtype=np.uint8).reshape(2, 32, 48, 1),
    probabilities=np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]], np.float32),
)


def manifest_of(version_dir: Path, **changes: Any) -> Manifest:
    fields = {
        "model_name": "lung-ct",
        "model_version": int(version_dir.name),
        "created": datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
        "architecture": "tiny",
        "classes": LUNG_CT_CLASSES,
        "preprocessing": SPEC,
        "dataset": {"kind": "phantoms", "counts": {"Normal cases": 3}},
        "split": {"protocol": "none"},
        "metrics": {"accuracy": 0.5, "interval": [0.4, 0.6], "auc": None},
        "warnings": ("Never saw a patient.",),
        "golden_tolerance": 0.001,
        "seed": 7,
        "libraries": {"keras": "3"},
        "duration_s": 1.5,
        "files": digest_files(version_dir),
    }
    return Manifest(**fields | changes)


def rewrite_manifest(version_dir: Path, **changes: Any) -> None:
    """Change manifest.json as somebody with an editor would; a value of ... takes the field out."""
    path = version_dir / MANIFEST_FILE
    fields = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in fields.items() if value is not ...}))


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """<tmp>/lung-ct/3 in the layout of a published version; its network is a few bytes that nothing loads here."""
    folder = tmp_path / "lung-ct" / "3"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph" * 40)
    (folder / "variables" / "variables.index").write_bytes(b"index")
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(bytes(range(256)) * 5_000)
    (folder / "MODEL_CARD.md").write_text("")
    write_golden(folder / GOLDEN_FILE, GOLDEN)
    (folder / MANIFEST_FILE).write_text(manifest_of(folder).model_dump_json(indent=2))
    return folder


# --- manifest ---------------------------------------------------------------------------------------------------------


def test_a_manifest_reads_back_equal(version: Path) -> None:
    """Every field survives JSON, and the files it lists are all but itself."""
    manifest = read_manifest(version)
    assert manifest == manifest_of(version)
    assert sorted(manifest.files) == [
        "MODEL_CARD.md",
        "golden.npz",
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ]
    assert manifest.files["MODEL_CARD.md"].size == 0
    verify_files(version, manifest)


def test_thresholds_read_back_equal_and_may_be_missing(version: Path) -> None:
    """A manifest carries its rules; versions published before there were any have an empty object, or nothing."""
    rewrite_manifest(version, thresholds=rules().model_dump(mode="json"))
    assert read_manifest(version).thresholds == rules()
    rewrite_manifest(version, thresholds={})
    assert read_manifest(version).thresholds is None
    rewrite_manifest(version, thresholds=None)
    assert read_manifest(version).thresholds is None


def test_thresholds_for_other_classes_are_refused(version: Path) -> None:
    """Rules that name other classes than the model, or another target, are no rules for it."""
    for changes in ({"target_class": "Benign cases"}, {"class_names": NAMES[::-1]}):
        rewrite_manifest(version, thresholds=rules(**changes).model_dump(mode="json"))
        with pytest.raises(ManifestError, match="thresholds are for"):
            read_manifest(version)


def test_a_newer_trainer_may_add_what_people_read(version: Path) -> None:
    """Fields that this code does not know, at the top or within the metrics, do not keep a version from serving."""
    rewrite_manifest(version, calibration={"temperature": 1.2}, metrics={"sensitivity_at": [0.9, {"fpr": 0.1}]})
    assert read_manifest(version).metrics == {"sensitivity_at": [0.9, {"fpr": 0.1}]}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"model_version": 4}, "is of version 4, the folder is 3"),
        ({"model_version": 0}, "model_version"),
        ({"classes": ...}, "classes: Field required"),
        ({"classes": {"names": ["a", "b"], "target": "c"}}, "classes: .*not one of"),
        ({"preprocessing": {"schema_version": 3}}, "preprocessing.schema_version"),
        ({"preprocessing": {"clahe": True}}, "preprocessing.clahe: Extra inputs"),
        ({"preprocessing": {"crop": "lungs"}}, "preprocessing.crop"),
        ({"preprocessing": {"height": 100_000}}, "preprocessing.height"),
        ({"golden_tolerance": 0}, "golden_tolerance"),
        ({"golden_tolerance": 0.5}, "golden_tolerance"),
        ({"golden_tolerance": float("nan")}, "golden_tolerance"),
        ({"created": "yesterday"}, "created"),
        ({"duration_s": float("inf")}, "a number is not finite"),
        ({"metrics": {"accuracy": [float("nan")]}}, "a number is not finite"),
        ({"files": {"saved_model.pb": {"sha256": "0" * 64, "size": 1}}}, "does not list golden.npz"),
        ({"files": {"golden.npz": {"sha256": "0" * 64, "size": 1}}}, "does not list saved_model.pb"),
        ({"files": {"saved_model.pb": {"sha256": "A" * 64, "size": 1}}}, "files.saved_model.pb.sha256"),
        ({"files": {"saved_model.pb": {"sha256": "0" * 64, "size": -1}}}, "files.saved_model.pb.size"),
    ],
)
def test_a_manifest_that_is_not_understood_is_refused(version: Path, changes: dict[str, Any], reason: str) -> None:
    """An unknown schema or preprocessing, another version's number and nonsense are refused, and the field is named."""
    rewrite_manifest(version, **changes)
    with pytest.raises(ManifestError, match=reason):
        read_manifest(version)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{", b"\x80", b"[" * 100_000, b'{"a":' * 100_000])
def test_a_manifest_that_is_no_json_object_is_refused(version: Path, content: bytes) -> None:
    """Half a file, other bytes and absurd nesting are a ManifestError like any other."""
    (version / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(ManifestError, match="not understood"):
        read_manifest(version)


def test_every_prefix_of_a_manifest_is_refused(version: Path) -> None:
    """However short a copy was cut, no part of a manifest is a manifest."""
    whole = (version / MANIFEST_FILE).read_bytes()
    for cut in range(0, len(whole), 37):
        (version / MANIFEST_FILE).write_bytes(whole[:cut])
        with pytest.raises(ManifestError):
            read_manifest(version)


def test_a_missing_manifest_is_refused(version: Path) -> None:
    """A version is not there before its manifest is."""
    (version / MANIFEST_FILE).unlink()
    with pytest.raises(ManifestError, match=r"manifest\.json is missing"):
        read_manifest(version)


def test_an_endless_manifest_is_not_read_to_its_end(version: Path) -> None:
    """Reading stops at the limit, whatever the size of the file: this one claims 1 TB."""
    with (version / MANIFEST_FILE).open("r+b") as file:
        file.truncate(10**12)
    with pytest.raises(ManifestError, match=f"larger than {MAX_MANIFEST_BYTES} bytes"):
        read_manifest(version)


def test_errors_tell_no_paths(version: Path) -> None:
    """What /health shows of a bad version names no folder of the machine."""
    (version / MANIFEST_FILE).unlink()
    with pytest.raises(ManifestError) as missing_manifest:
        read_manifest(version)
    with pytest.raises(CorruptArtifact) as missing_file:
        verify_files(version, manifest_of(version, files={"../../x": {"sha256": "0" * 64, "size": 0}}))
    for error in (missing_manifest, missing_file):
        assert str(version.parent.parent) not in str(error.value)


# --- files ------------------------------------------------------------------------------------------------------------


def delete(path: Path) -> None:
    path.unlink()


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def turn_into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_in_a_circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def turn_into_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["saved_model.pb", "golden.npz", "variables/variables.data-00000-of-00001"])
@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (delete, "is missing"),
        (lengthen, "bytes, not"),
        (shorten, "bytes, not"),
        (empty, "has 0 bytes, not"),
        (flip_a_bit, "differs from its checksum"),
        (turn_into_folder, "is missing"),
        (link_in_a_circle, "is missing"),
        (turn_into_pipe, "is missing"),
    ],
)
def test_a_harmed_file_is_found_and_named(version: Path, name: str, harm: Callable[[Path], None], reason: str) -> None:
    """Whatever happens to a listed file, verification refuses the version, names the file, and does not hang."""
    manifest = read_manifest(version)
    harm(version / name)
    with pytest.raises(CorruptArtifact, match=f"{name} .*{reason}|{name} {reason}"):
        verify_files(version, manifest)


def test_a_missing_folder_is_found(version: Path) -> None:
    """So is a folder that a copy left out, or that is a file now."""
    manifest = read_manifest(version)
    shutil.rmtree(version / "variables")
    with pytest.raises(CorruptArtifact, match=r"variables/variables\..* is missing"):
        verify_files(version, manifest)
    (version / "variables").write_text("")
    with pytest.raises(CorruptArtifact, match=r"variables/variables\..* is missing"):
        verify_files(version, manifest)


def test_each_single_flipped_byte_is_found(version: Path) -> None:
    """No byte of the network is exempt from its checksum."""
    manifest = read_manifest(version)
    graph = version / "saved_model.pb"
    whole = graph.read_bytes()
    for at in range(len(whole)):
        graph.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(CorruptArtifact, match="checksum"):
            verify_files(version, manifest)


@pytest.mark.parametrize("name", ["../secret", "variables/../../secret", "../../secret", "../3-copy/secret"])
def test_a_name_cannot_lead_out_of_the_version(version: Path, name: str) -> None:
    """A manifest cannot make the service read elsewhere, though the file there is just what it says."""
    secret = version / name
    (version.parent / "3-copy").mkdir()
    secret.write_text("secret")
    manifest = manifest_of(version, files=digest_files(version) | {name: digest_file(secret)})
    with pytest.raises(CorruptArtifact, match="lies outside the version"):
        verify_files(version, manifest)
    absolute = manifest_of(version, files={str(secret.resolve()): digest_file(secret)})
    with pytest.raises(CorruptArtifact, match="lies outside the version"):
        verify_files(version, absolute)


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_link_cannot_lead_out_of_the_version(version: Path, is_folder: bool) -> None:
    """The same holds for symbolic links, to a file and to the folder it lies in."""
    name = "variables/variables.index"
    manifest = read_manifest(version)
    inside = version / "variables" if is_folder else version / name
    outside = version.parent / "elsewhere"
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(CorruptArtifact, match=r"variables.* lies outside the version"):
        verify_files(version, manifest)


@pytest.mark.parametrize("name", ["", ".", "variables", "a\0b", "no such file", "saved_model.pb/x", "a" * 300])
def test_a_name_that_no_file_has_is_a_missing_file(version: Path, name: str) -> None:
    """Odd names are refused as such and do not stop the service's poll with an unexpected exception."""
    manifest = manifest_of(version, files={name: {"sha256": "0" * 64, "size": 0}})
    with pytest.raises(CorruptArtifact, match="is missing"):
        verify_files(version, manifest)


def test_files_larger_than_any_version_are_not_read(version: Path) -> None:
    """A sparse file of 10 TB costs its publisher nothing, and would be read for days."""
    manifest = manifest_of(version, files={"more": {"sha256": "0" * 64, "size": 10**13}})
    with (version / "more").open("wb") as file:
        file.truncate(10**13)
    with pytest.raises(CorruptArtifact, match="larger than"):
        verify_files(version, manifest)


def test_a_link_within_the_repository_volume_is_no_obstacle(version: Path, tmp_path: Path) -> None:
    """The repository itself may be reached over a link, as mounted volumes are."""
    (tmp_path / "mounted").symlink_to(version.parent)
    mounted = tmp_path / "mounted" / "3"
    verify_files(mounted, read_manifest(mounted))


def test_a_digest_is_of_all_bytes(tmp_path: Path) -> None:
    """SHA-256 and size of a file longer than one read, and of an empty one."""
    path = tmp_path / "file"
    path.write_bytes(b"a" * 1_000_000)  # the million a's of FIPS 180
    assert digest_file(path).sha256 == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    path.write_bytes(b"x" * 3 * 1024 * 1024)
    assert digest_file(path).size == 3 * 1024 * 1024
    path.write_bytes(b"")
    assert digest_file(path).sha256.startswith("e3b0c44298fc1c14")


# --- golden -----------------------------------------------------------------------------------------------------------


def test_golden_reads_back_equal(version: Path) -> None:
    """Images and probabilities survive the file, in their types, and can be written to."""
    golden = read_golden(version, read_manifest(version))
    assert np.array_equal(golden.images, GOLDEN.images)
    assert np.array_equal(golden.probabilities, GOLDEN.probabilities)
    assert (golden.images.dtype, golden.probabilities.dtype) == (np.uint8, np.float32)
    assert golden.images.flags.writeable


def test_a_replay_may_differ_within_the_tolerance() -> None:
    """Another engine rounds otherwise: up to the manifest's tolerance it passes, on either side."""
    GOLDEN.compare(GOLDEN.probabilities, tolerance=1e-9)
    GOLDEN.compare(GOLDEN.probabilities + np.float32(0.0009), tolerance=0.001)
    GOLDEN.compare(GOLDEN.probabilities - np.float32(0.0009), tolerance=0.001)


@pytest.mark.parametrize("value", [0.2011, 0.1989, -1, np.inf, -np.inf, np.nan])
def test_one_wrong_probability_fails_the_replay(value: float) -> None:
    """A single value beyond the tolerance is enough; NaN and infinity are no exception."""
    answer = GOLDEN.probabilities.copy()
    answer[0, 1] = value
    with pytest.raises(GoldenMismatch, match=r"golden replay differs by .*; the manifest allows 0\.001"):
        GOLDEN.compare(answer, tolerance=0.001)


@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (2, 3, 1), (3,), (6,), (3, 2), (0, 3)])
def test_a_replay_of_another_shape_fails(shape: tuple[int, ...]) -> None:
    """A shape that numpy would broadcast is not taken for an answer."""
    with pytest.raises(GoldenMismatch, match="golden replay gave shape"):
        GOLDEN.compare(np.full(shape, 0.2, np.float32), tolerance=0.1)


@pytest.mark.parametrize(
    ("images", "probabilities"),
    [
        (GOLDEN.images[:, :, :, 0], GOLDEN.probabilities),
        (GOLDEN.images.transpose(0, 2, 1, 3), GOLDEN.probabilities),
        (GOLDEN.images.astype(np.float32), GOLDEN.probabilities),
        (GOLDEN.images.astype(np.int8), GOLDEN.probabilities),
        (GOLDEN.images[:0], GOLDEN.probabilities[:0]),
        (GOLDEN.images[:1], GOLDEN.probabilities),
        (np.uint8(3), GOLDEN.probabilities),
        (GOLDEN.images, GOLDEN.probabilities[:, :2]),
        (GOLDEN.images, GOLDEN.probabilities[0]),
        (GOLDEN.images, GOLDEN.probabilities.astype(np.float64)),
        (GOLDEN.images, GOLDEN.probabilities.astype(np.complex64)),
        (GOLDEN.images, GOLDEN.probabilities.astype("U8")),
        (GOLDEN.images, np.full_like(GOLDEN.probabilities, np.nan)),
        (GOLDEN.images, np.full_like(GOLDEN.probabilities, np.inf)),
    ],
)
def test_a_golden_file_must_fit_the_manifest(version: Path, images: np.ndarray, probabilities: np.ndarray) -> None:
    """Other shapes, types, counts and classes than the manifest's, none at all, and NaN are refused."""
    np.savez(version / GOLDEN_FILE, images=images, probabilities=probabilities)
    with pytest.raises(CorruptArtifact, match="does not fit"):
        read_golden(version, read_manifest(version))


def npz(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(array: np.ndarray | None = None, header: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    if array is not None:
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        return file.getvalue()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header


GOOD = {"images.npy": npy(GOLDEN.images), "probabilities.npy": npy(GOLDEN.probabilities)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\3\4",
        npy(GOLDEN.images),
        npz({}),
        npz({"images.npy": GOOD["images.npy"]}),
        npz({name.removesuffix(".npy"): content for name, content in GOOD.items()}),
        npz(GOOD | {"images.npy": b""}),
        npz(GOOD | {"images.npy": b"no array"}),
        npz(GOOD | {"images.npy": GOOD["images.npy"][:-1]}),
        npz(GOOD | {"images.npy": npy(np.array([{"a": 1}], dtype=object))}),
        npz(GOOD | {"images.npy": npy(header=b"__import__('os').abort()")}),
        npz(GOOD | {"images.npy": npy(header=b"{", version=b"\x03\x00")}),
        npz(GOOD)[:-30],
        npz(GOOD)[:300] + b"damage" + npz(GOOD)[306:],
    ],
)
def test_a_golden_file_that_is_none_is_refused(version: Path, content: bytes) -> None:
    """Damage, other formats, missing arrays and pickled objects are refused; nothing in the file is executed."""
    (version / GOLDEN_FILE).write_bytes(content)
    with pytest.raises(CorruptArtifact, match=r"golden\.npz cannot be read"):
        read_golden(version, read_manifest(version))


def test_a_missing_golden_file_is_refused(version: Path) -> None:
    """It is named."""
    (version / GOLDEN_FILE).unlink()
    with pytest.raises(CorruptArtifact, match=r"golden\.npz is missing"):
        read_golden(version, read_manifest(version))


def test_a_golden_file_that_unpacks_to_too_much_is_refused_unread(version: Path) -> None:
    """A few KB of zeros in ZIP would fill the memory: the directory's sizes are added up before anything unpacks."""
    bomb = npz(GOOD | {"images.npy": bytes(MAX_GOLDEN_BYTES + 1)})
    assert len(bomb) < MAX_GOLDEN_BYTES // 500
    (version / GOLDEN_FILE).write_bytes(bomb)
    with pytest.raises(CorruptArtifact, match="unpacks to more than"):
        read_golden(version, read_manifest(version))


def test_a_golden_directory_that_lies_about_its_sizes_is_refused(version: Path) -> None:
    """No more is unpacked than the directory admitted to."""
    honest = npz(GOOD | {"images.npy": bytes(10_000_000)})
    lying = honest.replace(struct.pack("<I", 10_000_000), struct.pack("<I", 100))
    assert lying != honest
    (version / GOLDEN_FILE).write_bytes(lying)
    with pytest.raises(CorruptArtifact, match="cannot be read"):
        read_golden(version, read_manifest(version))


@pytest.mark.parametrize("shape", [(10**15,), (2, 10**9, 48, 1), (-1,), (2**63,), (2**31, 2**31, 2**31)])
def test_an_array_header_cannot_reserve_memory(version: Path, shape: tuple[int, ...]) -> None:
    """A header may claim a petabyte: what is allocated is what the file holds."""
    header = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).encode().ljust(200) + b"\n"
    (version / GOLDEN_FILE).write_bytes(npz(GOOD | {"images.npy": npy(header=header)}))
    with pytest.raises(CorruptArtifact):
        read_golden(version, read_manifest(version))


@pytest.mark.parametrize(
    "header",
    [
        b"-" * 9_000 + b"1",
        b"(" * 9_000,
        b"{'descr': '",
        b"\xff\xfe\0",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1",
    ]
    + [b"{'descr': %s, 'fortran_order': False, 'shape': (2,), }" % kind for kind in (b"'|O'", b"[('a', '|u1')]", b"1")],
)
def test_an_array_header_is_not_read_by_pythons_parser(version: Path, header: bytes) -> None:
    """Nesting alone drives that to a MemoryError, as if this machine had too little, and such a version was retried."""
    (version / GOLDEN_FILE).write_bytes(npz(GOOD | {"images.npy": npy(header=header)}))
    with pytest.raises(CorruptArtifact, match="cannot be read"):
        read_golden(version, read_manifest(version))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_member_unpacks_to_no_more_than_the_directory_says(version: Path, method: int) -> None:
    """A directory that says 1,000 bytes of 150 MB: refused without unpacking them, whatever packed them."""
    honest = npz(GOOD | {"images.npy": bytes(150_000_000)}, method)
    (version / GOLDEN_FILE).write_bytes(honest.replace(struct.pack("<I", 150_000_000), struct.pack("<I", 1_000)))
    manifest = read_manifest(version)
    tracemalloc.start()
    with pytest.raises(CorruptArtifact, match="cannot be read"):
        read_golden(version, manifest)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000_000


def test_damage_within_lzma_is_bad_content(version: Path) -> None:
    """Its decoder has an exception of its own, which is no OSError and no ValueError."""
    packed = bytearray(npz(GOOD, zipfile.ZIP_LZMA))
    packed[80:120] = b"\x55" * 40
    (version / GOLDEN_FILE).write_bytes(packed)
    with pytest.raises(CorruptArtifact, match="cannot be read"):
        read_golden(version, read_manifest(version))


def test_a_directory_of_a_million_members_is_not_walked(version: Path) -> None:
    """Each would be an object of half a KB and take its time: 60 MB took 45 s."""
    one = npz({"images.npy": b""})
    start, end = one.find(b"PK\1\2"), one.find(b"PK\5\6")
    many = one[:start] + one[start:end] * 1_000_000
    directory = struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, len(many) - start, start, 0)
    (version / GOLDEN_FILE).write_bytes(many + b"PK\5\6" + directory)
    with pytest.raises(CorruptArtifact, match="more than 16 members"):
        read_golden(version, read_manifest(version))


def test_damaged_golden_files_raise_nothing_else(version: Path) -> None:
    """500 seeded damages to the archive end in CorruptArtifact, or in an archive that still says the same."""
    random, manifest = np.random.default_rng(5), read_manifest(version)
    whole = (version / GOLDEN_FILE).read_bytes()
    refused = 0
    for _ in range(500):
        content = bytearray(whole)
        for at in random.integers(0, len(content), random.integers(1, 6)):
            content[at] = random.integers(256)
        (version / GOLDEN_FILE).write_bytes(content[: random.integers(len(content) // 2, 2 * len(content))])
        try:
            golden = read_golden(version, manifest)
        except CorruptArtifact:
            refused += 1
        else:
            assert np.array_equal(golden.images, GOLDEN.images)
            assert np.array_equal(golden.probabilities, GOLDEN.probabilities)
    assert refused > 300
