"""What can be known to be wrong before TensorFlow is imported, which takes seconds, and before a slice is read."""

import importlib.util
import logging
import os
import re
from pathlib import Path

from shared.signing import UnusableKey, require_library, require_signing_key
from trainer.data.case_table import UnreadableCaseTable, read_rows
from trainer.data.dataset import has_class_folders, require_class_folders
from trainer.errors import TrainerError, WrongArgument
from trainer.settings import FROM_SCRATCH, TrainerSettings

logger = logging.getLogger(__name__)

_DEMO = {"network": "tiny", "epochs": 16, "folds": 3}


class DemoHasNoSuchClasses(TrainerError):
    """Phantoms are drawn for the lung classes only."""

    def __init__(self) -> None:
        super().__init__("Other classes than the lung set need data: give a folder with one folder per class.")


class NoQuantizer(TrainerError):
    """NNCF is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "The variant int8 needs NNCF, which is not installed: install the trainer's requirements, or give "
            "--variants none."
        )


class CannotWriteInto(TrainerError):
    """Results could not be written where they are to go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} cannot be written to.")


def without_empty_data(settings: TrainerSettings) -> TrainerSettings:
    """The settings, without data where its folder holds no class folder: a mounted one may be there and empty.

    For a folder that the environment names; one that was typed is meant, and is an error when it holds no class.
    """
    if settings.data is None or has_class_folders(settings.data, settings.class_set):
        return settings
    logger.warning("%s holds no folder that is named like a class", settings.data)
    return settings.model_copy(update={"data": None})


def demo_settings(settings: TrainerSettings) -> TrainerSettings:
    """A small network, few epochs and folds, unless somebody asked for others."""
    return settings.model_copy(
        update={field: value for field, value in _DEMO.items() if field not in settings.model_fields_set}
    )


def check_training(settings: TrainerSettings) -> None:
    """For settings as they will be used. Raises WrongArgument, DatasetError or DemoHasNoSuchClasses."""
    if settings.data is not None:
        require_class_folders(settings.data, settings.class_set)
    elif settings.classes is not None:
        raise DemoHasNoSuchClasses
    check_case_table(settings.cases)
    if settings.network not in FROM_SCRATCH:
        _check_network(settings)
    if settings.log_dir is not None:
        if settings.is_frozen:
            raise WrongArgument(
                "log_dir",
                "heads on frozen features have no epochs, so there are no curves to write; expected it with "
                f"--learning fine-tuning, or with --network {' or '.join(FROM_SCRATCH)}",
            )
        require_folder("log_dir", settings.log_dir)


def check_variants(settings: TrainerSettings) -> None:
    """Whether those that are asked for can be made. Raises WrongArgument, or NoQuantizer where NNCF is missing."""
    if settings.makes_int8:
        if importlib.util.find_spec("nncf") is None:
            raise NoQuantizer
    elif settings.variants == "int8" and "variants" in settings.model_fields_set:
        raise WrongArgument(
            "variants",
            "int8 is made of heads on frozen features that are judged on whole cases; expected it with a pretrained "
            "network, --learning frozen and --split case",
        )


def check_case_table(table: Path | None) -> None:
    """Whether the file that was given can be read as one; its content is compared later. Raises WrongArgument."""
    if table is not None:
        try:
            read_rows(table)
        except UnreadableCaseTable as error:
            raise WrongArgument("cases", str(error).rstrip(".")) from error


def check_signing_key(key: Path | None) -> None:
    """Whether it can sign. Raises WrongArgument, or UnusableKey where the library for signing is missing."""
    if key is None:
        return
    require_library()
    try:
        require_signing_key(key)
    except UnusableKey as error:
        cause = error.__cause__
        came = f"cannot be read: {cause.strerror}" if isinstance(cause, OSError) else "is no such key"
        raise WrongArgument(
            "signing_key",
            f"{key} {'is a folder' if key.is_dir() else came}; expected a PEM file of an elliptic curve's private key "
            "without a passphrase",
        ) from error


def require_folder(name: str, folder: Path) -> None:
    """Whether a folder is there, or can be made: found out before hours of work, not after.

    Raises WrongArgument where there is something else, CannotWriteInto where it may not be written to.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise WrongArgument(name, f"{there} is no folder; expected one, or a name that is free")
    if not os.access(there, os.W_OK | os.X_OK):
        raise CannotWriteInto(there)


def require_file(name: str, path: Path) -> None:
    """Whether a file can be written there, over one that is there or in a folder that can be made.

    Raises WrongArgument where it is a folder or lies below a file, CannotWriteInto where it may not be written to.
    """
    if path.is_dir():
        raise WrongArgument(name, f"{path} is a folder; expected the name of a file")
    require_folder(name, path.parent)


def _check_network(settings: TrainerSettings) -> None:
    name = settings.network.removeprefix("keras:")
    if name != settings.network and (known := _keras_networks()) and name not in known:
        raise WrongArgument("network", f"there is no network keras:{name}; expected one of {', '.join(known)}")
    if settings.weights not in ("imagenet", "none") and not Path(settings.weights).is_file():
        raise WrongArgument(
            "weights", f"{settings.weights} is no file; expected imagenet, none, or a weights file of Keras"
        )


def _keras_networks() -> list[str]:
    """Read from Keras's list of them, without importing it; empty where that cannot be read."""
    keras = importlib.util.find_spec("keras")
    listed = Path(keras.origin or "").parent / "applications" / "__init__.py" if keras else Path()
    return sorted(re.findall(r" import ([A-Z]\w+) as ", listed.read_text("utf-8"))) if listed.is_file() else []
