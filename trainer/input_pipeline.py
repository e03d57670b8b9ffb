"""Files → uint8 slices in memory. Needs no TensorFlow; trainer.batches makes batches of them.

Decoding runs on as many threads as there are cores: reading, simplejpeg and OpenCV release the interpreter's lock. The
prepared slices stay in memory as uint8 (50 kB each at 224 x 224), so an epoch decodes nothing.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np

from shared.imaging import PreprocessingSpec, SliceTensor, read_slice
from shared.raster import SliceError
from trainer.dataset import ClassWithoutSlices, Dataset, FolderIndex, LabelledFile, SkippedFile
from trainer.progress import with_progress

MAX_FILE_BYTES = 256 * 1024 * 1024
_FILES_AHEAD = 8  # per thread: keeps all of them busy, and bounds what waits in memory


def read_dataset(index: FolderIndex, spec: PreprocessingSpec, threads: int | None = None) -> Dataset:
    """Decode and prepare every indexed file, one thread per core unless told otherwise; shows progress.

    A file that is no whole JPEG or PNG slice is listed in the result's `skipped` and left out. Raises
    ClassWithoutSlices, naming the class, where nothing is left of one.
    """
    images = np.empty((len(index.files), spec.height, spec.width, 1), np.uint8)
    kept: list[tuple[LabelledFile, str]] = []
    skipped: list[SkippedFile] = []
    prepared = _prepare_all(index.files, spec, threads or os.cpu_count() or 1)
    for file, (digest, outcome) in with_progress(prepared, len(index.files), "Reading slices"):
        if isinstance(outcome, str):
            skipped.append(SkippedFile(file.path, file.label, outcome, digest or None))
        else:
            images[len(kept)] = outcome
            kept.append((file, digest))
    labels = np.array([file.label for file, _ in kept], np.int64)
    for label in sorted({file.label for file in index.files}):
        if not np.any(labels == label):
            _refuse_empty(index.classes.names[label], [file for file in skipped if file.label == label])
    return Dataset(
        images=images[: len(kept)],
        labels=labels,
        digests=tuple(digest for _, digest in kept),
        files=tuple(file.path.relative_to(index.folder).as_posix() for file, _ in kept),
        skipped=tuple(skipped),
        classes=index.classes,
        kind=index.kind,
    )


def _refuse_empty(name: str, skipped: list[SkippedFile]) -> NoReturn:
    first = skipped[0]
    reason = f"none of its {len(skipped)} files can be used ({first.path.name}: {first.reason.rstrip('.')})"
    raise ClassWithoutSlices(name, reason)


_Prepared = tuple[str, SliceTensor | str]
"""SHA-256 of the file ("" where it cannot be read), and the slice or the reason why there is none."""


def _prepare_all(
    files: tuple[LabelledFile, ...], spec: PreprocessingSpec, threads: int
) -> Iterator[tuple[LabelledFile, _Prepared]]:
    """In the order of the files, whatever thread was first."""
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        for start in range(0, len(files), threads * _FILES_AHEAD):
            chunk = files[start : start + threads * _FILES_AHEAD]
            yield from zip(chunk, pool.map(lambda file: _prepare(file.path, spec), chunk), strict=True)


def _prepare(path: Path, spec: PreprocessingSpec) -> _Prepared:
    try:
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            return "", f"The file has {size} bytes; at most {MAX_FILE_BYTES} are read."
        body = path.read_bytes()
    except OSError as error:
        return "", f"The file cannot be read: {error.strerror}."
    if not body:
        return "", "The file is empty."
    try:
        return hashlib.sha256(body).hexdigest(), read_slice(body, spec)
    except SliceError as error:
        return hashlib.sha256(body).hexdigest(), str(error)
