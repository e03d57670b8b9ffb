"""What the settings of both programs have in common: which LUNGCT_ variables mean something, and options from fields.

Neither program looks at the other's settings, yet both see the same environment: the names stand here.
"""

import argparse
import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

PREFIX = "LUNGCT_"

OF_PROGRAMS = frozenset(
    """
    API_KEYS API_KEYS_FILE AUGMENTATION BALANCE BATCH_SIZE CASES CASE_COUNTS CLASSES CORS_ORIGINS CROP DATA
    DECODE_THREADS DRAIN_DELAY_S ENGINE ENGINE_THREADS EPOCHS FOLDS GRACE_PERIOD_S HEAD HOST IMAGE_SIDE
    LEARNING LEARNING_RATE LEDGER_DIR LEDGER_KEY_FILE LEDGER_MAX_FILE_BYTES LEDGER_POLICY LEDGER_SYNC_INTERVAL_S
    LEDGER_TIMEOUT_S LOAD_TIMEOUT_S LOG_DIR LOG_FORMAT LOG_LEVEL MAX_BATCH_SIZE MAX_EXPLAIN_QUEUE MAX_FILES
    MAX_INFLIGHT_BYTES MAX_PIXELS MAX_QUEUE MAX_UPLOAD_BYTES MODEL_NAME MODEL_REPOSITORY NETWORK ON_LABEL_CONFLICT
    OOD_POLICY PATIENCE POLL_INTERVAL_S PORT PRECISION PUBLIC REQUEST_TIMEOUT_S ROOT_PATH SEED SELF_CHECK_INTERVAL_S
    SIGNING_KEY SPLIT SPLIT_SEED TARGET TRUSTED_KEY UNFAMILIAR_POLICY UNFROZEN VALIDATION_SHARE VARIANTS WEIGHTS
    WINDOW_LEVEL WINDOW_WIDTH
    """.split()  # noqa: SIM905 - a list would take seventy lines
)
"""Settings of the service and of the trainer, without the prefix."""

OF_SURROUNDINGS = frozenset(["CI_COMPLETE", "FAULT_SECONDS", "KEYS", "KILLS", "PUBLISHED_PORT", "TEST_DATA"])
"""What compose files, CI and tests read, without the prefix."""

REMOVED = {
    "loss": "was removed in 0.2.0: fine-tuning always makes cross-entropy small; leave it out",
    "label_smoothing": "was removed in 0.2.0: fine-tuning takes labels as they are; leave it out",
}
"""What is told to whoever still uses a setting, in the environment or as an option, that is no more."""

# Kubernetes puts them into every Pod beside a Service named lungct or lungct-…, unless the Pod forbids it
_SERVICE_LINK = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_LINKED_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def is_service_link(value: object) -> bool:
    """Whether a variable has such an address as Kubernetes gives to LUNGCT_PORT where a Service is named lungct."""
    return isinstance(value, str) and _LINKED_ADDRESS.match(value) is not None


def unknown_settings(environment: Mapping[str, str], own: Iterable[str]) -> list[str]:
    """A sentence for each LUNGCT_ name that nothing reads, with the known name that is nearest. No value is told.

    own: names of the fields of the program that asks. Large and small letters are the same, as for pydantic.
    """
    known = OF_PROGRAMS | OF_SURROUNDINGS | {name.upper() for name in own}
    told = []
    for name, value in environment.items():
        if not name.upper().startswith(PREFIX):
            continue
        bare = name.upper().removeprefix(PREFIX)
        is_link = _SERVICE_LINK.fullmatch(bare) or (bare.endswith("PORT") and is_service_link(value))
        if bare in known or is_link:
            continue
        if bare.lower() in REMOVED:
            told.append(f"{name}: {REMOVED[bare.lower()]}")
            continue
        near = difflib.get_close_matches(bare, sorted(known), n=1)
        told.append(f"{name}: no such setting" + (f"; did you mean {PREFIX}{near[0]}?" if near else ""))
    return told


def add_options(group: "argparse._ArgumentGroup", fields: Mapping[str, FieldInfo]) -> None:
    """An option for each field: its name, choices, sentence, variable and default.

    One that is not given is absent from the result, so that the environment or the default decides; pydantic checks the
    values.
    """
    for name, field in fields.items():
        choices = _choices(field.annotation)
        group.add_argument(
            option(name),
            dest=name,
            choices=choices,
            default=argparse.SUPPRESS,
            metavar=None if choices else _placeholder(field.annotation),
            help=described(name, field).replace("%", "%%"),
        )


def add_removed(parser: argparse.ArgumentParser, *names: str) -> None:
    """Options that help does not show and that say what became of them."""
    for name in names:
        parser.add_argument(option(name), dest=name, nargs="?", action=_Removed, default=argparse.SUPPRESS,
                            help=argparse.SUPPRESS)  # fmt: skip


class _Removed(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.error(f"{option(self.dest)} {REMOVED[self.dest]}")


def option(name: str) -> str:
    """What is typed for a field: --max-queue."""
    return "--" + name.replace("_", "-")


def described(name: str, field: FieldInfo) -> str:
    """A field's sentence, its variable, and its default where it has one."""
    default = field.default
    if isinstance(default, frozenset | tuple):
        default = ",".join(sorted(default))
    told = "" if default in (None, "") else f"; default: {default}"
    return f"{field.description} ({PREFIX}{name.upper()}{told})"


def _choices(annotation: object) -> tuple[str, ...] | None:
    """The values of a Literal, also of an optional one; None for any other type."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    is_optional = get_origin(annotation) in (Union, UnionType)
    return next((found for part in get_args(annotation) if (found := _choices(part))), None) if is_optional else None


def _placeholder(annotation: object) -> str:
    """What stands for the value in the help."""
    types = (annotation, *get_args(annotation))
    return next((word for kind, word in ((Path, "PATH"), (int, "N"), (float, "X")) if kind in types), "TEXT")
