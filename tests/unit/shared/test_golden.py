"""golden.npz: read without trust, and replayed."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from shared.artifact import GOLDEN_FILE, CorruptArtifact, read_manifest, variant_dir
from shared.golden import MAX_GOLDEN_BYTES, Golden, GoldenMismatch, read_golden, write_golden
from tests.support.version_folder import GOLDEN


def test_golden_reads_back_equal(version: Path) -> None:
    """Images and probabilities survive the file, in their types, and can be written to."""
    golden = read_golden(version, read_manifest(version))
    assert np.array_equal(golden.images, GOLDEN.images)
    assert np.array_equal(golden.probabilities, GOLDEN.probabilities)
    assert (golden.images.dtype, golden.probabilities.dtype) == (np.uint8, np.float32)
    assert golden.images.flags.writeable


def test_a_variant_has_golden_slices_in_its_own_folder(version: Path) -> None:
    """The same slices with other answers; what is wrong with them names the folder."""
    manifest, folder = read_manifest(version), variant_dir("int8")
    with pytest.raises(CorruptArtifact, match=r"variants/int8/golden\.npz is missing"):
        read_golden(version, manifest, folder)
    (version / folder).mkdir(parents=True)
    write_golden(version / folder / GOLDEN_FILE, Golden(images=GOLDEN.images, probabilities=GOLDEN.probabilities / 2))
    assert np.array_equal(read_golden(version, manifest, folder).probabilities, GOLDEN.probabilities / 2)
    assert np.array_equal(read_golden(version, manifest).probabilities, GOLDEN.probabilities)


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
    """Some KB of zeros in ZIP would fill the memory: the directory's sizes are added up before anything unpacks."""
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
