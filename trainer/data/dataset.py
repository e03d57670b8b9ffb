"""Labelled slices: what a folder holds, and the slices once they are read."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from shared.classes import ClassSet
from shared.familiarity import Acquisition
from shared.raster.decode import ImageType
from trainer.data.balance import Indices, Labels
from trainer.data.similarity import Thumbnails
from trainer.errors import TrainerError
from trainer.terminal import printable

PHANTOM_MARKER = "PHANTOMS.txt"
"""A file of this name beside the class folders says that the slices are drawn, not scanned."""

AS_IS = "as it is"
"""Beside the names of views: the slice itself."""

DatasetKind = Literal["slices", "phantoms"]

_MAX_RECORDED_SKIPS = 200


class DatasetError(TrainerError):
    """The folder cannot be trained on."""


class NoSuchFolder(DatasetError):
    """The folder is not there, or is a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} is no folder; expected a folder with one folder of slices per class.")


class ClassWithoutSlices(DatasetError):
    """A class has no folder, or nothing readable in it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"The class {name!r} has no slices: {reason}.")


@dataclass(frozen=True)
class LabelledFile:
    """A file in a class folder; not opened yet."""

    path: Path
    label: int


@dataclass(frozen=True)
class FolderIndex:
    """Every file of every class folder, in the order class, then path."""

    folder: Path
    classes: ClassSet
    files: tuple[LabelledFile, ...]
    ignored_folders: tuple[str, ...]
    kind: DatasetKind


@dataclass(frozen=True)
class SkippedFile:
    """A file in a class folder that is no whole slice; sha256 is None where it could not be read at all."""

    path: Path
    label: int
    reason: str
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Labelled slices as a set, entry i of every field but the last two being one slice; without what a network sees.

    labels: int64 [n]; digests: SHA-256 of each slice's file; files: its name as file_name() gives it, which may hold a
    patient's name and so never leaves this machine; thumbnails: uint8 [n, 64, 64], the whole frame, for comparing
    slices; patients: digests by a key that nobody knows, so that they tell which slices are of one patient and no
    more, None where a file does not say; measures: float64 [n, 12], columns as in trainer.data.image_measures.MEASURES,
    none where nobody measured; skipped: files that are no whole slice.
    """

    labels: Labels
    digests: tuple[str, ...]
    files: tuple[str, ...]
    thumbnails: Thumbnails
    patients: tuple[str | None, ...] = ()
    measures: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    classes: ClassSet
    skipped: tuple[SkippedFile, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> dict[str, int]:
        """How many slices each class has, by its name."""
        return {name: int(np.sum(self.labels == index)) for index, name in enumerate(self.classes.names)}


@dataclass(frozen=True, kw_only=True)
class Dataset(Slices):
    """Slices in memory. images: uint8 [n, height, width, 1], prepared; kinds: types of the files, one a slice.

    acquisitions: how each was acquired and shown, one a slice. views: of every slice as many more, by the name that
    trainer.data.views.VIEWS has for them.
    """

    images: NDArray[np.uint8]
    acquisitions: tuple[Acquisition, ...] = ()
    views: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    kinds: tuple[ImageType, ...] = ()
    kind: DatasetKind

    def only(self, rows: Indices) -> "Dataset":
        """The dataset of these rows, int64 [m], in their order; what was skipped stays listed."""

        def picked(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[row] for row in rows) if column else ()

        return replace(
            self,
            images=self.images[rows],
            acquisitions=picked(self.acquisitions),
            views={name: images[rows] for name, images in self.views.items()},
            labels=self.labels[rows],
            digests=picked(self.digests),
            files=picked(self.files),
            thumbnails=self.thumbnails[rows],
            patients=picked(self.patients),
            measures=self.measures[rows] if len(self.measures) else self.measures,
            kinds=picked(self.kinds),
        )

    @property
    def seen(self) -> dict[str, NDArray[np.uint8]]:
        """All that a network may be shown of the slices: as they are, and their views."""
        return {AS_IS: self.images, **self.views}

    def digest(self) -> str:
        """SHA-256 over the class and file digest of every slice, whatever its file is called and where it lies."""
        lines = sorted(f"{label} {digest}\n" for label, digest in zip(self.labels, self.digests, strict=True))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def twins(self, training: Indices, validation: Indices) -> int:
        """How many held-out slices are byte for byte one of the training slices."""
        seen = {self.digests[index] for index in training}
        return sum(self.digests[index] in seen for index in validation)

    def describe(self) -> dict[str, JsonValue]:
        """What the manifest says of the data: counts, reasons and digests, no file name."""
        reasons = Counter(skipped.reason for skipped in self.skipped)
        skips: list[JsonValue] = [
            {"class": self.classes.names[skipped.label], "reason": skipped.reason, "sha256": skipped.sha256}
            for skipped in self.skipped[:_MAX_RECORDED_SKIPS]
        ]
        return {
            "kind": self.kind,
            "n": len(self),
            "counts": dict(self.counts()),
            "formats": dict(Counter(self.kinds)),
            "digest": self.digest(),
            "duplicate_files": len(self.digests) - len(set(self.digests)),
            "skipped": {"n": len(self.skipped), "reasons": dict(reasons.most_common(50)), "files": skips},
        }


def has_class_folders(folder: Path, classes: ClassSet) -> bool:
    """Whether at least one folder in it is named like a class; False where it is no folder."""
    return folder.is_dir() and any(classes.index_of_folder(child.name) is not None for child in _folders(folder))


def file_name(path: Path, folder: Path) -> str:
    """What a file below the folder is called wherever a person or a program reads it: POSIX, relative, printable."""
    return printable(path.relative_to(folder).as_posix())


def require_class_folders(folder: Path, classes: ClassSet, *, needs_every_class: bool = True) -> list[list[Path]]:
    """The folders that are named like each class, in class order, without a look into them.

    Raises NoSuchFolder, or ClassWithoutSlices naming the class and the folders that were seen: for any class without
    a folder, or, where not every class is needed, if there is none at all.
    """
    if not folder.is_dir():
        raise NoSuchFolder(folder)
    folders = _folders(folder)
    of_classes = [[child for child in folders if classes.index_of_folder(child.name) == label]
                  for label in range(len(classes.names))]  # fmt: skip
    if needs_every_class or not any(of_classes):
        for name, of_class in zip(classes.names, of_classes, strict=True):
            if not of_class:
                seen = ", ".join(repr(child.name) for child in folders) or "no folder at all"
                raise ClassWithoutSlices(name, f"no folder of that name in {folder}, which holds {seen}")
    return of_classes


def index_folder(folder: Path, classes: ClassSet, *, needs_every_class: bool = True) -> FolderIndex:
    """Find every file below the folders that are named like a class; several folders may be of one class.

    Raises NoSuchFolder or ClassWithoutSlices, as require_class_folders() does, and for a class without a file.
    """
    files: list[LabelledFile] = []
    of_classes = require_class_folders(folder, classes, needs_every_class=needs_every_class)
    for label, (name, of_class) in enumerate(zip(classes.names, of_classes, strict=True)):
        if not of_class:
            continue
        paths = [path for child in of_class for path in sorted(child.rglob("*")) if path.is_file()]
        if not paths:
            raise ClassWithoutSlices(name, f"{' and '.join(repr(child.name) for child in of_class)} holds no file")
        files += [LabelledFile(path, label) for path in paths]
    return FolderIndex(
        folder=folder,
        classes=classes,
        files=tuple(files),
        ignored_folders=tuple(
            printable(child.name) for child in _folders(folder) if classes.index_of_folder(child.name) is None
        ),
        kind="phantoms" if (folder / PHANTOM_MARKER).is_file() else "slices",
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
