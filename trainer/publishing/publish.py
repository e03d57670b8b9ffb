"""A trained network → the next numbered version of the model repository, whole or not at all.

Everything is written into a staging folder beside the versions, read back, flushed to the disk, listed in the
manifest, signed where there is a key, and renamed to the next integer. The rename is the publication: before it no
reader sees the version, and from it on every byte is there.
"""

import errno
import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import keras
import openvino as ov
import tensorflow as tf

from shared.artifact import (
    CLASS_NAMES_FILE,
    FIGURES_DIR,
    GOLDEN_FILE,
    MANIFEST_FILE,
    MODEL_CARD_FILE,
    FileDigest,
    Manifest,
    digest_files,
    variant_dir,
)
from shared.golden import GoldenMismatch, write_golden
from shared.signing import sign_version
from shared.variant import VariantName
from shared.versions import published_versions
from trainer.errors import TrainerError
from trainer.evaluation.out_of_fold import OUT_OF_FOLD_FILE, OutOfFold
from trainer.export.openvino_ir import export_ir, load_and_predict_ir, make_variant_golden
from trainer.export.saved_model import export, load_and_predict, make_golden
from trainer.library_versions import library_versions
from trainer.publishing.fsync import fsync_file, fsync_tree
from trainer.publishing.model_card import model_card
from trainer.publishing.model_record import ModelRecord
from trainer.publishing.staging import locked, remove_dead_staging, staging_folder

logger = logging.getLogger(__name__)

GOLDEN_TOLERANCE = 0.01
"""What a service may differ from Keras: an engine in bf16 does by up to a few thousandths, in float32 by about 1e-6. A
wrong weight, class order or scaling differs by far more.
"""

_EXPORT_TOLERANCE = 1e-3
"""What an exported model may differ from the trained one here, where both run in the same library."""

_NUMBER_IS_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
_SYSTEM_SAYS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
"""Why a disk takes nothing more."""


class PublishingFailed(TrainerError):
    """The version could not be written; what was in the repository is as it was."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Publishing failed, and the repository is as it was: {reason}.")


def publish(
    model: keras.Model,
    record: ModelRecord,
    model_dir: Path,
    plots: dict[str, bytes] | None = None,
    out_of_fold: OutOfFold | None = None,
    *,
    variants: Mapping[VariantName, ov.Model] | None = None,
    signing_key: Path | None = None,
) -> int:
    """Write the next version of model_dir (made if missing) and return its number.

    model: uint8 [B, H, W, 1] → float32 [B, classes]. plots: PNG bytes by file name. out_of_fold: what later versions
    are compared with. variants: models of those that the record names, image → named outputs. signing_key: PEM file
    of a private key, see shared/signing.py. Raises PublishingFailed where the disk is full or not writable, where the
    key cannot be used, or where the SavedModel or a variant, read back, answers otherwise than the model.
    """
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        if removed := remove_dead_staging(model_dir):
            logger.info("Removed %d unfinished version(s) that a killed run had left", removed)
        with staging_folder(model_dir) as folder:
            _write_content(model, record, folder, plots or {})
            for name, variant in (variants or {}).items():
                _write_variant(variant, record, folder / variant_dir(name))
            if out_of_fold is not None:
                (folder / OUT_OF_FOLD_FILE).write_text(out_of_fold.model_dump_json() + "\n", "utf-8")
            return _rename_to_next(folder, record, model_dir, signing_key)
    except OSError as error:
        raise PublishingFailed(error.strerror or str(error)) from error
    except tf.errors.OpError as error:
        raise PublishingFailed(_reason(error)) from error
    except GoldenMismatch as error:
        raise PublishingFailed(f"the exported model is not the trained one, {error}") from error


def _write_content(model: keras.Model, record: ModelRecord, folder: Path, plots: dict[str, bytes]) -> None:
    """Everything but the manifest. Raises GoldenMismatch where what was written does not answer as the model does."""
    export(model, record.preprocessing, folder)
    golden = make_golden(model, record.preprocessing)
    golden.compare(load_and_predict(folder, golden.images), _EXPORT_TOLERANCE)
    write_golden(folder / GOLDEN_FILE, golden)
    (folder / CLASS_NAMES_FILE).write_text(json.dumps(record.classes.names, indent=2) + "\n", "utf-8")
    (folder / MODEL_CARD_FILE).write_text(model_card(record), "utf-8")
    if plots:
        (folder / FIGURES_DIR).mkdir()
    for name, content in plots.items():
        (folder / FIGURES_DIR / name).write_bytes(content)


def _write_variant(model: ov.Model, record: ModelRecord, folder: Path) -> None:
    """Its model and golden slices. Raises GoldenMismatch where what was written does not answer as the model does."""
    folder.mkdir(parents=True)
    export_ir(model, folder)
    golden = make_variant_golden(model, record.preprocessing)
    golden.compare(load_and_predict_ir(folder, golden.images), _EXPORT_TOLERANCE)
    write_golden(folder / GOLDEN_FILE, golden)


def _rename_to_next(folder: Path, record: ModelRecord, model_dir: Path, signing_key: Path | None) -> int:
    """Flush, write manifest and signature last, and take the lowest free number above every published one."""
    files = digest_files(folder)
    fsync_tree(folder)
    with locked(model_dir):
        number = max(published_versions(model_dir), default=0) + 1
        while True:
            _write_manifest(folder, record, files, model_dir.name, number)
            if signing_key is not None:
                fsync_file(sign_version(folder, signing_key))
                fsync_file(folder)
            try:
                folder.rename(model_dir / str(number))
            except OSError as error:
                # the number went to someone the lock does not reach: another machine, or a copy made by hand
                if error.errno not in _NUMBER_IS_TAKEN:
                    raise
                number += 1
            else:
                fsync_file(model_dir)
                return number


def _write_manifest(
    folder: Path, record: ModelRecord, files: dict[str, FileDigest], model_name: str, number: int
) -> None:
    manifest = Manifest(
        **dict(record),
        model_name=model_name,
        model_version=number,
        created=datetime.now(UTC),
        golden_tolerance=GOLDEN_TOLERANCE,
        libraries={**library_versions(), "tensorflow": tf.__version__},
        files=files,
    )
    path = folder / MANIFEST_FILE
    path.write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
    fsync_file(path)
    fsync_file(folder)


def _reason(error: tf.errors.OpError) -> str:
    """What the system said, where it said something; TensorFlow wraps it in names of its own files and operations."""
    message = str(error.message).splitlines()[0].rstrip(".")
    said = (os.strerror(number) for number in _SYSTEM_SAYS)
    return next((text for text in said if text in message), f"TensorFlow could not write or read the model ({message})")
