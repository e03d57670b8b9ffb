"""Files → uint8 slices in memory. Needs no TensorFlow; trainer.data.batches makes batches of them.

Decoding runs on as many threads as there are cores: reading, simplejpeg and OpenCV release the interpreter's lock. The
prepared slices stay in memory as uint8 (50 kB each at 224 x 224), so an epoch decodes nothing.
"""

import hashlib
import secrets
import zlib
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.dicom.errors import DecoderUnavailable
from shared.familiarity import Acquisition, acquisition_of
from shared.imaging import PreprocessingSpec, SliceTensor, place, to_tensor
from shared.raster.decode import GreySlice, ImageType, SliceError
from shared.slices import DecodedSlice, SliceDecoder
from shared.window import LUNG_WINDOW, Window
from trainer.data.dataset import AS_IS, ClassWithoutSlices, Dataset, FolderIndex, LabelledFile, SkippedFile, file_name
from trainer.data.image_measures import measure
from trainer.data.similarity import thumbnail
from trainer.data.views import VIEWS
from trainer.progress import in_threads, with_progress
from trainer.terminal import counted

MAX_FILE_BYTES = 256 * 1024 * 1024

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class ReadFile(Generic[Seen]):
    """One whole slice: its file, the file's SHA-256, its type, its thumbnail uint8 [64, 64], and what was made of it.

    patient: the same for slices of one patient, as far as DICOM files say it, and of no meaning outside of this run.
    """

    file: LabelledFile
    digest: str
    kind: ImageType
    patient: str | None
    thumbnail: GreySlice
    seen: Seen


@dataclass(frozen=True)
class ReadFolder(Generic[Seen]):
    """What came of the files of an index: whole slices and skipped files, each in the order of the index."""

    index: FolderIndex
    whole: list[ReadFile[Seen]]
    skipped: tuple[SkippedFile, ...]

    def fields(self) -> dict[str, Any]:
        """The fields of trainer.data.dataset.Slices by name, one entry a whole slice."""
        return {
            "labels": np.array([one.file.label for one in self.whole], np.int64),
            "digests": tuple(one.digest for one in self.whole),
            "files": tuple(file_name(one.file.path, self.index.folder) for one in self.whole),
            "thumbnails": np.stack([one.thumbnail for one in self.whole]),
            "patients": tuple(one.patient for one in self.whole),
            "classes": self.index.classes,
            "skipped": self.skipped,
        }


def read_dataset(
    index: FolderIndex,
    spec: PreprocessingSpec,
    threads: int | None = None,
    views: Collection[str] = (),
    *,
    is_measured: bool = False,
) -> Dataset:
    """Decode and prepare every indexed file, one thread per core unless told otherwise; shows progress.

    views: names of trainer.data.views.VIEWS that are wanted of each slice; equal on every call. is_measured: whether
    Slices.measures are wanted, too.

    A file that is no whole JPEG, PNG or DICOM slice is listed in the result's `skipped` and left out. Raises
    ClassWithoutSlices, naming the class, where nothing is left of one.
    """

    def look(slice_: DecodedSlice) -> tuple[Acquisition, NDArray[np.float64], dict[str, SliceTensor]]:
        grey, air = slice_.grey, slice_.air_grey
        placed, seed = place(grey, spec, air), zlib.crc32(grey.tobytes())
        seen = {AS_IS: placed.tensor}
        for number, name in enumerate(views):
            seen[name] = to_tensor(VIEWS[name](grey, np.random.default_rng((seed, number))), spec)
        acquisition = acquisition_of(grey, placed, air, slice_.tags)
        return acquisition, measure(grey, acquisition) if is_measured else np.empty(0), seen

    read = read_files(index, look, threads, spec.window)
    acquisitions, measures, seen = zip(*(one.seen for one in read.whole), strict=True)
    return Dataset(
        **read.fields(),
        measures=np.stack(measures),
        images=np.stack([one[AS_IS] for one in seen]),
        acquisitions=acquisitions,
        views={name: np.stack([one[name] for one in seen]) for name in views},
        kinds=tuple(one.kind for one in read.whole),
        kind=index.kind,
    )


def read_files(
    index: FolderIndex,
    look: Callable[[DecodedSlice], Seen],
    threads: int | None = None,
    hounsfield_window: Window = LUNG_WINDOW,
) -> ReadFolder[Seen]:
    """Decode every indexed file once, and keep what look() makes of it; shows progress.

    look runs on the decoding threads. hounsfield_window: what DICOM is seen in. Raises ClassWithoutSlices where
    nothing is left of a class.
    """
    whole: list[ReadFile[Seen]] = []
    skipped: list[SkippedFile] = []
    # the key is forgotten at the end: no digest can be traced back
    with closing(SliceDecoder(patient_key=secrets.token_bytes(32))) as decoder:
        outcomes = in_threads(lambda file: _read(file, decoder, hounsfield_window, look), index.files, threads)
        for outcome in with_progress(outcomes, len(index.files), "Reading slices"):
            if isinstance(outcome, SkippedFile):
                skipped.append(outcome)
            else:
                whole.append(outcome)
    if empty := {file.label for file in index.files} - {one.file.label for one in whole}:
        of_class = [file for file in skipped if file.label == min(empty)]
        first, count = of_class[0], counted(len(of_class), "file")
        reason = f"none of its {count} can be used ({first.path.name}: {first.reason.rstrip('.')})"
        raise ClassWithoutSlices(index.classes.names[min(empty)], reason)
    return ReadFolder(index, whole, tuple(skipped))


def _read(
    file: LabelledFile, decoder: SliceDecoder, hounsfield_window: Window, look: Callable[[DecodedSlice], Seen]
) -> ReadFile[Seen] | SkippedFile:
    skipped = partial(SkippedFile, file.path, file.label)
    try:
        if (size := file.path.stat().st_size) > MAX_FILE_BYTES:
            return skipped(f"The file has {size} bytes; at most {MAX_FILE_BYTES} are read.")
        body = file.path.read_bytes()
    except OSError as error:
        return skipped(f"The file cannot be read: {error.strerror}.")
    if not body:
        return skipped("The file is empty.")
    digest = hashlib.sha256(body).hexdigest()
    try:
        decoded = decoder.decode(body, hounsfield_window)
    except (SliceError, DecoderUnavailable) as error:
        return skipped(str(error), digest)
    if decoded.frames > 1:
        return skipped(f"The file has {decoded.frames} frames; expected one slice a file.", digest)
    return ReadFile(file, digest, decoded.kind, decoded.patient, thumbnail(decoded.grey), look(decoded))
