"""What a publisher writes: the manifest and the files it lists, golden.npz, policy.json."""

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from service.model.documents import document_names
from shared.artifact import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    SAVED_MODEL_FILE,
    ArtifactError,
    FileDigest,
    Manifest,
    read_manifest,
    verify_files,
)
from shared.classes import LUNG_CT_CLASSES
from shared.golden import read_golden
from shared.imaging import PreprocessingSpec
from shared.versions import POLICY_FILE, PolicyError, read_policy
from tests.fuzz.target import Target, scratch
from tests.support.decision_rules import rules

_FILE = FileDigest(sha256="0" * 64, size=3)
_MANIFEST = Manifest(
    model_name="lung-ct", model_version=1, created=datetime(2024, 2, 29, tzinfo=UTC), architecture="tiny",
    classes=LUNG_CT_CLASSES, preprocessing=PreprocessingSpec(height=32, width=32), dataset={"n": 1}, split={},
    metrics={"auc": None}, golden_tolerance=0.001, seed=7, libraries={"keras": "3"}, duration_s=1.5,
    files={SAVED_MODEL_FILE: _FILE, GOLDEN_FILE: _FILE, "figures/a.png": _FILE, "MODEL_CARD.md": _FILE},
)  # fmt: skip


def _version_dir() -> Path:
    folder = scratch() / "1"
    folder.mkdir(exist_ok=True)
    return folder


def _read_manifest(body: bytes) -> None:
    folder = _version_dir()
    (folder / MANIFEST_FILE).write_bytes(body)
    (folder / SAVED_MODEL_FILE).write_bytes(b"abc")
    try:
        manifest = read_manifest(folder)
        document_names(manifest)
        manifest.trained_on("dicom")
        verify_files(folder, manifest)
    except ArtifactError as error:
        assert "\n" not in str(error)


def _read_golden(body: bytes) -> None:
    """The first byte says whether the rest is the archive, or its two arrays, between which stands a line."""
    mode, rest = body[:1], body[1:]
    if mode != b"\0":
        images, _, probabilities = rest.partition(_BETWEEN)
        rest = _archive(images, probabilities, zipfile.ZIP_DEFLATED if mode == b"\2" else zipfile.ZIP_STORED)
    folder = _version_dir()
    (folder / GOLDEN_FILE).write_bytes(rest)
    try:
        golden = read_golden(folder, _MANIFEST)
    except ArtifactError:
        return
    assert golden.images.shape[1:] == (32, 32, 1)
    assert golden.probabilities.shape == (len(golden.images), 3)


def _read_policy(body: bytes) -> None:
    folder = _version_dir()
    (folder / POLICY_FILE).write_bytes(body)
    try:
        policy = read_policy(folder)
    except PolicyError:
        return
    assert policy.pin is None or policy.pin >= 1


_BETWEEN = b"\n--next--\n"


def _archive(images: bytes, probabilities: bytes, compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression, compresslevel=1) as archive:
        for name, content in (("images.npy", images), ("probabilities.npy", probabilities)):
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


def _manifest_seeds() -> list[bytes]:
    whole = json.loads(_MANIFEST.model_dump_json())
    named = ("../x", "/etc/passwd", "a\0b", "x" * 300, "\ud800", "variables/a", "", ".", "saved_model.pb/x", "é" * 200)
    changes: list[dict[str, Any]] = [
        {}, {"thresholds": rules().model_dump(mode="json")}, {"thresholds": {}}, {"schema_version": 2},
        {"model_version": 10**400}, {"created": "9999-12-31T23:59:59.999999999Z"}, {"created": 1e300}, {"seed": 1e999},
        {"golden_tolerance": float("nan")}, {"dataset": {"formats": {"dicom": 1}}}, {"classes": []}, {"files": {}},
        {"metrics": "x"}, {"preprocessing": {"schema_version": 3}}, {"duration_s": -1},
        *({"files": {**whole["files"], name: _FILE.model_dump()}} for name in named),
        *({"files": {name: _FILE.model_dump(), **whole["files"]}} for name in named),
    ]  # fmt: skip
    bodies = [json.dumps(whole | change).encode() for change in changes]
    return [*bodies, b"", b"{", b"[]", b"null", b"[" * 60_000, b'{"a":' * 10_000, b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0"]


def _golden_seeds() -> list[bytes]:
    images, probabilities = np.zeros((2, 32, 32, 1), np.uint8), np.full((2, 3), 1 / 3, np.float32)

    def saved(array: np.ndarray, version: tuple[int, int] | None = (1, 0)) -> bytes:
        file = io.BytesIO()
        np.lib.format.write_array(file, array, version)
        return file.getvalue()

    def header(text: str, magic: bytes = b"\x93NUMPY\1\0") -> bytes:
        return magic + len(text).to_bytes(2, "little") + text.encode("latin-1")

    whole = saved(images), saved(probabilities)
    texts = [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 32, 32, 1), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2, -32, -32, 1), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (), }",
        "{'descr': [('a', '<f4')], 'fortran_order': 1, 'shape': 2}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999, 1), }", "(" * 5000, "{" * 300,
        "[" * 9999,
        "9" * 9000, "-" * 9000, "{'descr': '|V0', 'fortran_order': False, 'shape': (0,), }", "\0", "{b'x': 1, 2}",
        "{'descr': ('|u1', (2**9,)), 'fortran_order': False, 'shape': (1,), }", "1+1j", "{[]: 1}",
        "{'descr': '<M8[99999999999s]'}",
    ]  # fmt: skip
    archives = [
        _archive(*whole, kind)
        for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
    ]
    return [
        *(b"\0" + one for one in archives), b"\0", b"\0PK\5\6" + bytes(18),
        *(mode + whole[0] + _BETWEEN + whole[1] for mode in (b"\1", b"\2")),
        b"\1" + saved(images, (2, 0)) + _BETWEEN + whole[1],
        b"\1" + saved(images[:0]) + _BETWEEN + saved(probabilities[:0]),
        b"\1" + saved(images.T) + _BETWEEN + saved(probabilities * np.nan),
        b"\1" + saved(np.array(7)) + _BETWEEN + whole[1],
        *(b"\1" + header(text) + bytes(2048) + _BETWEEN + whole[1] for text in texts),
    ]  # fmt: skip


_JSON_WORDS = (
    b"null", b"true", b"1e999", b"-1", b"NaN", b"[", b"{", b"}", b'""', b'"\\ud800"', b"9" * 5000, b'"files":',
    b'"size":',
    b'"sha256":', b'"model_version":', b'"created":', b'"thresholds":', b'"chest_gate":', b'"classes":',
    b'"preprocessing":',
    b'"schema_version":', b'"../', b"\\u0000", b'"pin":',
)  # fmt: skip
_GOLDEN_WORDS = (
    b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"images.npy", b"probabilities.npy", b"\x93NUMPY\1\0",
    b"\x93NUMPY\3\0",
    b"'descr': ", b"'fortran_order': True", b"'shape': (", b"'|O'", b"'<f4'", b"[('a', 'O')]", b"-1", b"(", b"{",
    b"9" * 5000, b"\\x00",
    b"\x0c\0", b"\x0e\0", b"\x5d\0", b"\1\0", _BETWEEN,
)  # fmt: skip

TARGETS = (
    Target("manifest", _read_manifest, _manifest_seeds, _JSON_WORDS),
    Target("golden", _read_golden, _golden_seeds, _GOLDEN_WORDS),
    Target("policy", _read_policy, lambda: [b'{"pin": 3}', b'{"pin": null}', b"{}", b'{"pin": 1e999}'], _JSON_WORDS),
)
