"""Files → uint8 slices in memory. Needs no TensorFlow; trainer.data.batches makes batches of them.

Decoding runs on as many threads as there are cores: reading, simplejpeg and OpenCV release the interpreter's lock. The
prepared slices stay in memory as uint8 (50 kB each at 224 x 224), so an epoch decodes nothing.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

import numpy as np

from shared.dicom.errors import DecoderUnavailable
from shared.imaging import PreprocessingSpec, SliceTensor, to_tensor
from shared.raster.decode import GreySlice, ImageType, SliceError
from shared.slices import DecodedSlice, SliceDecoder
from shared.window import LUNG_WINDOW, Window
from trainer.data.dataset import ClassWithoutSlices, Dataset, FolderIndex, LabelledFile, SkippedFile, file_name
from trainer.data.similarity import THUMBNAIL_SIDE, thumbnail
from trainer.progress import with_progress
from trainer.wording import counted

MAX_FILE_BYTES = 256 * 1024 * 1024
_FILES_AHEAD = 8  # per thread: keeps all of them busy, and bounds what waits in memory


Seen = TypeVar("Seen")


@dataclass(frozen=True)
class ReadFile(Generic[Seen]):
    """One whole slice: its file, the file's SHA-256, its type, and what was made of its pixels.

    patient: the same for slices of one patient, as far as DICOM files say it, and of no meaning outside of this run.
    """

    file: LabelledFile
    digest: str
    kind: ImageType
    patient: str | None
    seen: Seen


def read_dataset(index: FolderIndex, spec: PreprocessingSpec, threads: int | None = None) -> Dataset:
    """Decode and prepare every indexed file, one thread per core unless told otherwise; shows progress.

    A file that is no whole JPEG, PNG or DICOM slice is listed in the result's `skipped` and left out. Raises
    ClassWithoutSlices, naming the class, where nothing is left of one.
    """
    images = np.empty((len(index.files), spec.height, spec.width, 1), np.uint8)
    thumbnails = np.empty((len(index.files), THUMBNAIL_SIDE, THUMBNAIL_SIDE), np.uint8)
    kept: list[ReadFile[tuple[SliceTensor, GreySlice]]] = []
    skipped: list[SkippedFile] = []

    def look(decoded: DecodedSlice) -> tuple[SliceTensor, GreySlice]:
        return to_tensor(decoded.grey, spec, decoded.air_grey), thumbnail(decoded.grey)

    for outcome in read_files(index, look, threads, spec.window):
        if isinstance(outcome, SkippedFile):
            skipped.append(outcome)
        else:
            images[len(kept)], thumbnails[len(kept)] = outcome.seen
            kept.append(outcome)
    return Dataset(
        images=images[: len(kept)],
        labels=np.array([one.file.label for one in kept], np.int64),
        digests=tuple(one.digest for one in kept),
        files=tuple(file_name(one.file.path, index.folder) for one in kept),
        skipped=tuple(skipped),
        classes=index.classes,
        kind=index.kind,
        thumbnails=thumbnails[: len(kept)],
        kinds=tuple(one.kind for one in kept),
        patients=tuple(one.patient for one in kept),
    )


def read_files(
    index: FolderIndex,
    look: Callable[[DecodedSlice], Seen],
    threads: int | None = None,
    hounsfield_window: Window = LUNG_WINDOW,
) -> Iterator[ReadFile[Seen] | SkippedFile]:
    """Decode every indexed file once, in the order of the index, and keep what look() makes of it; shows progress.

    look runs on the decoding threads. hounsfield_window: what DICOM is seen in. Raises ClassWithoutSlices after the
    last file where nothing is left of a class.
    """
    skipped: list[SkippedFile] = []
    labels = {file.label for file in index.files}
    decoder = SliceDecoder(patient_key=secrets.token_bytes(32))  # forgotten at the end: no digest can be traced back
    outcomes = _read_all(
        index.files, lambda file: _read(file, decoder, hounsfield_window, look), threads or os.cpu_count() or 1
    )
    try:
        for outcome in with_progress(outcomes, len(index.files), "Reading slices"):
            if isinstance(outcome, SkippedFile):
                skipped.append(outcome)
            else:
                labels.discard(outcome.file.label)
            yield outcome
    finally:
        decoder.close()
    for label in sorted(labels):
        _refuse_empty(index.classes.names[label], [file for file in skipped if file.label == label])


def _refuse_empty(name: str, skipped: list[SkippedFile]) -> NoReturn:
    first = skipped[0]
    reason = f"none of its {counted(len(skipped), 'file')} can be used ({first.path.name}: {first.reason.rstrip('.')})"
    raise ClassWithoutSlices(name, reason)


def _read_all(
    files: tuple[LabelledFile, ...], read: Callable[[LabelledFile], ReadFile[Seen] | SkippedFile], threads: int
) -> Iterator[ReadFile[Seen] | SkippedFile]:
    """In the order of the files, whatever thread was first."""
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        for start in range(0, len(files), threads * _FILES_AHEAD):
            chunk = files[start : start + threads * _FILES_AHEAD]
            yield from pool.map(read, chunk)


def _read(
    file: LabelledFile, decoder: SliceDecoder, hounsfield_window: Window, look: Callable[[DecodedSlice], Seen]
) -> ReadFile[Seen] | SkippedFile:
    try:
        if (size := file.path.stat().st_size) > MAX_FILE_BYTES:
            return _skip(file, f"The file has {size} bytes; at most {MAX_FILE_BYTES} are read.")
        body = file.path.read_bytes()
    except OSError as error:
        return _skip(file, f"The file cannot be read: {error.strerror}.")
    if not body:
        return _skip(file, "The file is empty.")
    digest = hashlib.sha256(body).hexdigest()
    try:
        decoded = decoder.decode(body, hounsfield_window)
    except (SliceError, DecoderUnavailable) as error:
        return _skip(file, str(error), digest)
    if decoded.frames > 1:
        return _skip(file, f"The file has {decoded.frames} frames; expected one slice a file.", digest)
    return ReadFile(file, digest, decoded.kind, decoded.patient, look(decoded))


def _skip(file: LabelledFile, reason: str, digest: str | None = None) -> SkippedFile:
    return SkippedFile(file.path, file.label, reason, digest)
